"""M-SAM: sharpness-aware for the dominant modality's part of the loss, plain for the rest."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor

from msam.attribution import Shapley
from msam.methods.base import Method, in_range, one_of
from msam.objective import Objective, Part, Pass
from msam.perturbation import Perturbation, TwoPass, asam_perturbation, first_pass, sam_perturbation
from msam.remembering import Remembering
from msam.types import Contributions, Inputs, Outcome

Scope = Literal["loss", "encoder", "encoder+head", "shapley"]


class MSAM(Remembering, Method):
    """Modality-Aware Sharpness-Aware Minimization (arXiv 2510.24919, Algorithm 1).

    For each batch, with Shapley weights `v` that sum to one and `d` the modality with the largest Shapley value:

        L_d = v_d l,  L_s = (1 - v_d) l                       the loss in two parts
        epsilon = rho grad L_d / |grad L_d|
        u = grad L_d(theta + epsilon) + grad L_s(theta)

    `scope="loss"` is this algorithm to the letter. Since `v_d` is a constant of the batch, `epsilon` is SAM's and
    `u = v_d g(theta + epsilon) + (1 - v_d) g(theta)`: which modality is dominant enters only through the number `v_d`.
    Computed in that form, with one backward at theta instead of two, and no gradient copied.

    The other scopes let the identity of the dominant modality matter:

    - `encoder`: epsilon and the mixture are confined to the dominant modality's encoder. The other features are reused,
      so the second pass runs one encoder and the fusion.
    - `encoder+head`: the same with the modality's head rows (late fusion); with one modality, everything.
    - `shapley`: the gradient, not the loss, is split: `g = sum_m g_m`, `g_m` the gradient through modality m's Shapley
      logits, `u = g + g_d(theta + epsilon_d) - g_d(theta)`. The split takes the place of `v_d`.

    Limits: one modality is SAM (of its encoder, for `encoder`); `weight=1` in `loss` scope is SAM; `rho=0` or
    `weight=0` is joint training.

    Passes a batch: 2 forwards, 2 backwards, and one fusion pass of all coalitions; in `encoder` scopes the second pass
    is one encoder and the fusion; `shapley` takes 3 of each and a fusion pass with gradient for each coalition.
    Cheaper: `every=k` makes the second pass on one batch in k; `part` makes it on some of the samples, which count as
    that part of a pass; `low_precision` makes it in bfloat16, which is cheaper where the processor has it.
    The paper gives no rho, no seeds and no code; what had to be decided is on the documentation's mathematics page.

    Args:
        rho: radius of the ball, at least 0.
        scope: what the perturbation acts on.
        dominant: `dynamic` (the paper), or a control: a modality's name, `random`, or `weakest`.
        attribution: how contributions are measured; `Shapley()` if None.
        weight: share of the perturbed gradient: `share` (the dominant modality's weight v_d; all of g_d in `shapley`
            scope) or a number in [0, 1].
        adaptive: ASAM's scale-invariant ball instead of SAM's.
        every: make the second pass on every so many batches, plain gradients in between.
        sync_perturbation: in data-parallel training, climb by the gradient of all ranks' samples instead of each by its
            own; one more reduction of gradients a batch (two in `shapley` scope).
        part: of the samples that the second pass sees, the first ones of the batch, above 0 and at most 1. Batches
            must be shuffled. Normalisation sees those samples only, and dropout masks are drawn for them anew.
        low_precision: run the second forward pass in bfloat16 autocast; slower by far where the processor has none.

    Raises:
        ValueError: if an argument is out of its range.
    """

    name, family = "msam", "sharpness"
    paper = "arXiv 2510.24919"
    # rho: not published; as SAM
    search = {"rho": [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]}
    variants = {
        "msam-encoder": {"scope": "encoder"},
        "msam-encoder+head": {"scope": "encoder+head"},
        "msam-shapley": {"scope": "shapley"},
        "msam-random": {"dominant": "random"},
        "msam-weakest": {"dominant": "weakest"},
    }
    controls = frozenset({"msam-random", "msam-weakest"})
    remedies = {"msam": "flatness", "msam-encoder": "flatness"}

    remembers = ("batches",)

    def __init__(
        self,
        rho: float = 0.05,
        scope: Scope = "loss",
        dominant: str = "dynamic",
        attribution: Shapley | None = None,
        weight: Literal["share"] | float = "share",
        adaptive: bool = False,
        every: int = 1,
        sync_perturbation: bool = False,
        part: float = 1.0,
        low_precision: bool = False,
    ) -> None:
        super().__init__()
        self.rho, self.scope = in_range("rho", rho, 0), one_of("scope", scope, get_args(Scope))
        self.dominant, self.adaptive = dominant, adaptive
        self.weight: Literal["share"] | float = "share" if weight == "share" else in_range("weight", weight, 0, 1)
        self.every, self.sync_perturbation = int(in_range("every", every, 1)), sync_perturbation
        self.part, self.low_precision = in_range("part", part, 1e-6, 1), low_precision
        self.attribution = attribution or Shapley()
        self.needs = frozenset(_NEEDS[scope])
        self._batches = 0

    def check(self, objective: Objective) -> None:
        """Refuses a model without the fixed dominant modality."""
        super().check(objective)
        names = ["dynamic", "random", "weakest", *objective.encoders]
        if objective.encoders and self.dominant not in names:
            raise ValueError(f"dominant must be one of {names}, found {self.dominant!r}.")

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient of Algorithm 1, in its scope."""
        self._batches += 1
        if self.rho == 0 or self.weight == 0 or (self._batches - 1) % self.every:
            return objective.accumulate_gradient(inputs, target, observed=False).outcome()
        arguments = (objective, inputs, target, self.sync_perturbation)
        with first_pass(*arguments, part=self.part, low_precision=self.low_precision) as step:
            contributions: Contributions = self.attribution(objective, inputs, target, step.first.features)
            if self.dominant != "dynamic":
                contributions = replace(contributions, index=self._controlled(contributions))
            share, weight = self._share(step, contributions)
            sharpness = step.rise(_SECOND_PASS[self.scope](self, step, contributions, weight))
        return step.first.outcome(contributions=contributions, share=share, sharpness=sharpness)

    def loss_scope(self, step: TwoPass, contributions: Contributions, weight: float | Tensor) -> Pass:
        """`u = v_d g(theta + epsilon) + (1 - v_d) g(theta)`, all parameters."""
        return step.second_pass(self._ascend, weight)

    def encoder_scope(self, step: TwoPass, contributions: Contributions, weight: float | Tensor) -> Pass:
        """The same mixture inside the dominant modality's block, `g(theta)` elsewhere."""
        modality = contributions.dominant
        block = step.objective.parameters(modality, head=self.scope == "encoder+head")
        return step.second_pass_of_encoder(modality, block, self._ascend, weight)

    def shapley_scope(self, step: TwoPass, contributions: Contributions, weight: float | Tensor) -> Pass:
        """`u = g(theta) - g_d(theta) + g_d(theta + epsilon_d)`, the split taking the place of the share."""
        design = self.attribution.design(step.objective, len(contributions.modalities))
        part = Part(design.masks, design.weights[int(contributions.index)], self.attribution.absent)
        return step.second_pass_of_part(part, self._ascend, 1.0 if self.weight == "share" else self.weight)

    def _share(self, step: TwoPass, contributions: Contributions) -> tuple[Tensor, float | Tensor]:
        """The dominant modality's weight v_d, and the perturbed gradient's."""
        share = contributions.shares[contributions.index]
        return share, share if self.weight == "share" else self.weight

    def _ascend(self, weights: list[Tensor], gradients: list[Tensor]) -> Perturbation:
        return (
            asam_perturbation(weights, gradients, self.rho, 0.01)
            if self.adaptive
            else sam_perturbation(gradients, self.rho)
        )

    def _controlled(self, contributions: Contributions) -> Tensor:
        """Position of the modality that is taken as dominant instead of the leading one."""
        if self.dominant == "weakest":
            return contributions.shapley.argmin()
        index = random.Random(self._batches).randrange(len(contributions.modalities))
        if self.dominant != "random":
            index = contributions.modalities.index(one_of("dominant", self.dominant, contributions.modalities))
        return torch.as_tensor(index, device=contributions.shapley.device)


_SECOND_PASS: dict[str, Callable[[MSAM, TwoPass, Contributions, float | Tensor], Pass]] = {
    "loss": MSAM.loss_scope,
    "encoder": MSAM.encoder_scope,
    "encoder+head": MSAM.encoder_scope,
    "shapley": MSAM.shapley_scope,
}
_NEEDS = {"loss": (), "encoder": ("encoders",), "encoder+head": ("encoders", "heads"), "shapley": ("encoders", "fuse")}

"""M-SAM: sharpness-aware for the dominant modality's part of the loss, plain for the rest."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from msam.attribution import Shapley
from msam.balls import Balls, Radius, classifiers, modality_blocks, radii
from msam.composition import AscentMethod, RhoSchedule
from msam.gaps import Gaps
from msam.loss_part import PartTwoPass
from msam.losses import LossMethod, LossPart
from msam.method import Method, in_range, one_of
from msam.objective import Objective, Part, Pass
from msam.perturbation import Perturbation, TwoPass, asam_perturbation, first_pass, sam_perturbation
from msam.remembering import Remembering
from msam.types import Batches, Contributions, Inputs, Note, Outcome

Scope = Literal["loss", "encoder", "encoder+head", "modalities", "shapley"]


class MSAM(Remembering, AscentMethod):
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
    - `modalities`: every modality has a ball of its own, `epsilon_m = r_m g_m / |g_m|` in its encoder and its part of
      the fusion, and `u = g(theta + epsilon)`. `radius` says what `r_m = rho M w_m / sum_k w_k` are proportional to:
      `equal`, `shapley` (the share), `inverse` (1 / share) or `gap`: by how much the modality alone generalises worse
      than it fits (`msam.gaps`), measured after each epoch. What belongs to no modality stays at theta, unless
      `move_fusion`.
    - `shapley`: the gradient, not the loss, is split: `g = sum_m g_m`, `g_m` the gradient through modality m's Shapley
      logits, `u = g + g_d(theta + epsilon_d) - g_d(theta)`. The split takes the place of `v_d`.

    `dominant="overfit"` takes the modality with the largest gap instead of the one that contributes most; gaps then
    take the place of Shapley values, and until the first epoch has ended nothing is perturbed.

    With `of`, all gradients are those of another method, and a modality's classifier in it belongs to the modality.
    `of_part` perturbs a part of its loss alone: `fused` or `own` (those of single modalities), the rest at theta.

    Limits: one modality is SAM (of its encoder, for `encoder`); `weight=1` in `loss` scope is SAM; `rho=0` or
    `weight=0` is joint training, or the method `of`.

    Passes a batch: 2 forwards, 2 backwards, and one fusion pass of all coalitions; in `encoder` scopes the second pass
    is one encoder and the fusion; `modalities` measures contributions only for radii that need them; `shapley` takes 3
    of each and a fusion pass with gradient for each coalition. With `of`, its passes twice, in `encoder` scopes only if
    it is a loss method as cheap; `of_part` takes one more backward. Gaps take one forward of both sets an epoch.
    Cheaper: `every=k` makes the second pass on one batch in k; `part` makes it on some of the samples, which count as
    that part of a pass; `low_precision` makes it in bfloat16, which is cheaper where the processor has it.
    The paper gives no rho, no seeds and no code; what had to be decided is on the documentation's mathematics page.

    Args:
        rho: radius of the ball, at least 0.
        scope: what the perturbation acts on.
        dominant: `dynamic` (the paper); `overfit`, see above; or a control: a modality's name, `random`, or `weakest`.
        attribution: how contributions are measured; `Shapley()` if None.
        weight: share of the perturbed gradient: `share` (the dominant modality's weight v_d; all of g_d in `shapley`
            scope, all of the gradient in `modalities`) or a number in [0, 1].
        adaptive: ASAM's scale-invariant ball instead of SAM's.
        every: make the second pass on every so many batches, plain gradients in between.
        sync_perturbation: in data-parallel training, climb by the gradient of all ranks' samples instead of each by its
            own; one more reduction of gradients a batch (two in `shapley` scope).
        part: of the samples that the second pass sees, the first ones of the batch, above 0 and at most 1. Batches
            must be shuffled. Normalisation sees those samples only, and dropout masks are drawn for them anew.
        low_precision: run the second forward pass in bfloat16 autocast; slower by far where the processor has none.
        radius: what the radii of `scope="modalities"` are proportional to.
        move_fusion: in `scope="modalities"`, give what belongs to no modality a ball of radius rho, too.
        of: the method whose gradient is taken, such as `MBSD(...)`; the plain one if None.
        of_part: the part of its loss that is perturbed: `all`, `fused` or `own`.
        start: share of the training before which it does not climb; see `Backward.progress`.
        rho_schedule: `constant`, or `lr`: the radius follows the learning rate, see `Backward.progress`.

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
        radius: Radius = "equal",
        move_fusion: bool = False,
        of: Method | None = None,
        of_part: LossPart = "all",
        start: float = 0.0,
        rho_schedule: RhoSchedule = "constant",
    ) -> None:
        super().__init__(of, start, rho_schedule)
        self.rho, self.scope = in_range("rho", rho, 0), one_of("scope", scope, get_args(Scope))
        self.dominant, self.adaptive = dominant, adaptive
        self.weight: Literal["share"] | float = "share" if weight == "share" else in_range("weight", weight, 0, 1)
        self.every, self.sync_perturbation = int(in_range("every", every, 1)), sync_perturbation
        self.part, self.low_precision = in_range("part", part, 1e-6, 1), low_precision
        self.attribution = attribution or Shapley()
        self.radius, self.move_fusion = one_of("radius", radius, get_args(Radius)), move_fusion
        self.of_part = one_of("of_part", of_part, get_args(LossPart))
        self._refuse()
        self.needs = self.needs | set(_NEEDS[scope])
        self.gaps: Gaps | None = None
        if radius == "gap" or dominant == "overfit":
            self.gaps, self.learns_from = Gaps(self.attribution.absent), self.learns_from | {"train", "valid"}
            self.needs = self.needs | {"encoders"}
        self._batches = 0

    def _refuse(self) -> None:
        """Refuses arguments that have no meaning together."""
        modalities, name = self.scope == "modalities", "None" if self.of is None else type(self.of).__name__
        if not modalities and (self.radius != "equal" or self.move_fusion):
            raise ValueError(f"radius and move_fusion are for scope='modalities', found scope={self.scope!r}.")
        if modalities and self.dominant != "dynamic":
            raise ValueError(
                f"scope='modalities' perturbs every modality, found dominant={self.dominant!r}; leave it out or choose "
                "scope='encoder'."
            )
        if self.scope == "shapley" and self.of is not None:
            raise ValueError(f"scope='shapley' splits the gradient of the fused loss, found of={name}; choose another.")
        if self.of_part != "all" and not isinstance(self.of, LossMethod):
            raise ValueError(
                f"of_part={self.of_part!r} names a part of a method's loss, found of={name}; give of= a method that "
                "minimises a loss, such as MBSD or Auxiliary."
            )

    def check(self, objective: Objective) -> None:
        """Refuses a model without the fixed dominant modality."""
        super().check(objective)
        names = ["dynamic", "overfit", "random", "weakest", *objective.encoders]
        if objective.encoders and self.dominant not in names:
            raise ValueError(f"dominant must be one of {names}, found {self.dominant!r}.")

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient of Algorithm 1, in its scope."""
        self._batches += 1
        waiting = self.dominant == "overfit" and self.gaps is not None and not self.gaps.known
        waiting = waiting or (self.scheduled and self.waits())
        if self.rho == 0 or self.weight == 0 or (self._batches - 1) % self.every or waiting:
            return self.plain_gradient(objective, inputs, target)
        arguments = (objective, inputs, target, self.sync_perturbation)
        make = None if self.of_part == "all" else partial(PartTwoPass, self.of_part)
        cheaper: dict[str, Any] = {"part": self.part, "low_precision": self.low_precision}
        with first_pass(*arguments, **cheaper, of=self.of, make=make) as step:
            if self.scope == "modalities":
                return self.modalities_scope(step)
            if self.gaps is not None:
                contributions, name = self.gaps.contributions(objective), "gaps"
            else:
                contributions, name = self.attribution(objective, inputs, target, step.first.features), "contributions"
            if self.dominant not in ("dynamic", "overfit"):
                contributions = replace(contributions, index=self._controlled(contributions))
            share, weight = self._share(step, contributions)
            sharpness = step.rise(_SECOND_PASS[self.scope](self, step, contributions, weight))
        return step.first.outcome(**{name: contributions}, share=share, sharpness=sharpness)

    def loss_scope(self, step: TwoPass, contributions: Contributions, weight: float | Tensor) -> Pass:
        """`u = v_d g(theta + epsilon) + (1 - v_d) g(theta)`, all parameters."""
        return step.second_pass(self._ascend, weight)

    def encoder_scope(self, step: TwoPass, contributions: Contributions, weight: float | Tensor) -> Pass:
        """The same mixture inside the dominant modality's block, `g(theta)` elsewhere."""
        modality = contributions.dominant
        block = step.objective.parameters(modality, head=self.scope == "encoder+head")
        if (heads := classifiers(self.of)) is not None:
            block = [*block, *heads[modality].parameters()]
        return step.second_pass_of_encoder(modality, block, self._ascend, weight)

    def modalities_scope(self, step: TwoPass) -> Outcome:
        """`g(theta + epsilon)`, with a ball a modality."""
        objective, record = step.objective, dict[str, Note]()
        contributions: Contributions | None = None
        if self.gaps is not None:
            record["gaps"] = contributions = self.gaps.contributions(objective)
        elif self.radius != "equal":
            contributions = self.attribution(objective, step.inputs, step.target, step.first.features)
            record["contributions"] = contributions
        lengths = self._lengths(contributions, len(objective.encoders))
        record |= {f"radius/{name}": length for name, length in zip(objective.encoders, lengths, strict=True)}
        balls = Balls(self._blocks(objective), [*lengths, self.rho])
        weight = 1.0 if self.weight == "share" else self.weight
        second = step.second_pass(partial(balls.perturbation, self._ascend), weight, balls.weights)
        return step.first.outcome(**record, sharpness=step.rise(second))

    def _lengths(self, contributions: Contributions | None, count: int) -> list[float | Tensor]:
        """The radius of each modality."""
        return radii(self.radius, self.rho, contributions, count)

    def _blocks(self, objective: Objective) -> list[list[Tensor]]:
        """What belongs to each modality, and to none if that moves."""
        blocks = modality_blocks(objective, self.of)
        taken = {weight for block in blocks for weight in block}
        return [*blocks, [weight for weight in objective.parameters() if weight not in taken and self.move_fusion]]

    def shapley_scope(self, step: TwoPass, contributions: Contributions, weight: float | Tensor) -> Pass:
        """`u = g(theta) - g_d(theta) + g_d(theta + epsilon_d)`, the split taking the place of the share."""
        design = self.attribution.design(step.objective, len(contributions.modalities))
        part = Part(design.masks, design.weights[int(contributions.index)], self.attribution.absent)
        return step.second_pass_of_part(part, self._ascend, 1.0 if self.weight == "share" else self.weight)

    def _share(self, step: TwoPass, contributions: Contributions) -> tuple[Tensor, float | Tensor]:
        """The dominant modality's weight v_d, and the perturbed gradient's."""
        share = contributions.shares[contributions.index]
        return share, share if self.weight == "share" else self.weight

    def _ascend(
        self, weights: list[Tensor], gradients: list[Tensor], radius: float | Tensor | None = None
    ) -> Perturbation:
        rho = self._rate * (self.rho if radius is None else radius)
        return asam_perturbation(weights, gradients, rho, 0.01) if self.adaptive else sam_perturbation(gradients, rho)

    def _controlled(self, contributions: Contributions) -> Tensor:
        """Position of the modality that is taken as dominant instead of the leading one."""
        if self.dominant == "weakest":
            return contributions.shapley.argmin()
        index = random.Random(self._batches).randrange(len(contributions.modalities))
        if self.dominant != "random":
            index = contributions.modalities.index(one_of("dominant", self.dominant, contributions.modalities))
        return torch.as_tensor(index, device=contributions.shapley.device)

    def next_epoch(self, objective: Objective, train: Batches | None = None, valid: Batches | None = None) -> None:
        """Measures the gaps, where they are asked for."""
        super().next_epoch(objective, train, valid)
        if self.gaps is not None:
            assert train is not None
            assert valid is not None
            self.gaps.measure(objective, train, valid, classifiers(self.of))


_SECOND_PASS: dict[str, Callable[[MSAM, TwoPass, Contributions, float | Tensor], Pass]] = {
    "loss": MSAM.loss_scope,
    "encoder": MSAM.encoder_scope,
    "encoder+head": MSAM.encoder_scope,
    "shapley": MSAM.shapley_scope,
}
_NEEDS = {
    "loss": (),
    "encoder": ("encoders",),
    "encoder+head": ("encoders", "heads"),
    "modalities": ("separate_encoders",),
    "shapley": ("encoders", "fuse"),
}

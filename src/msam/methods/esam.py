"""ESAM: SAM that perturbs a random subset of the weights and keeps the samples whose loss rises most."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from msam.method import Method, in_range
from msam.model_state import perturbed
from msam.nested import rows_of
from msam.objective import Objective, Pass
from msam.perturbation import sam_perturbation
from msam.remembering import Remembering
from msam.types import Inputs, Outcome
from msam.weight_hooks import hooked


class ESAM(Remembering, Method):
    """Efficient SAM (Du et al. 2022, arXiv 2110.03141).

    Stochastic weight perturbation: each tensor of weights is perturbed with probability beta, and by 1/beta as much;
    sharpness-sensitive data selection: the gradient up there is that of the part gamma of the batch whose loss rises
    most.

        W       = some tensors, each with probability beta
        epsilon = rho g_W / (beta |g_W|)
        B+      = the gamma |B| samples with the largest l_i(theta + epsilon) - l_i(theta)
        u       = grad l_{B+}(theta + epsilon)

    The paper draws single weights; the authors' code draws whole tensors, which is what saves a part of the first
    backward pass, and takes the norm over those drawn; so does this class. Every weight is updated, there as here.
    (There, a tensor is drawn after the step for the next one, and in the first step all are.) The code keeps the
    samples above the smallest of the `int(gamma |B|)` largest rises, which is one fewer; this class keeps
    `round(gamma |B|)`, as the paper has it. The losses of single samples
    are the criterion's of one row at a time, so the criterion must be a mean over the batch. `B+` runs through the
    model as a batch of its own, as in the authors' code: normalisation sees those samples only, and dropout masks are
    drawn for them anew.

    Tensors are drawn from a stream of the method's own, made from `seed` and the number of the batch: the model's
    random stream is not advanced, a resumed run draws the same, and so do all ranks of data-parallel training, each of
    which selects among its own samples.

    Passes a batch: 2 forwards, 2 backwards, the first backward into some tensors only and the second pass on the part
    gamma of the batch; for `gamma < 1` one more forward without gradient.

    Limits: `beta=1` and `gamma=1` is SAM; `rho=0` with `gamma=1` is joint training.

    Args:
        rho: radius of the ball, at least 0.
        beta: probability that a tensor is perturbed, above 0 and at most 1; 0.5 to 0.6 in the paper.
        gamma: part of the samples, above 0 and at most 1; 0.5 in the paper.
        seed: of the draws.

    Raises:
        ValueError: if an argument is out of its range.
    """

    kind = "ascent"
    name, family = "esam", "sharpness"
    paper = "Du et al. 2022, arXiv 2110.03141"
    # rho: as SAM; beta and gamma keep the paper's values
    search = {"rho": [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]}

    remembers = ("batches",)

    def __init__(self, rho: float = 0.05, beta: float = 0.6, gamma: float = 0.5, seed: int = 0) -> None:
        super().__init__()
        self.rho = in_range("rho", rho, 0)
        self.beta, self.gamma = in_range("beta", beta, 1e-6, 1), in_range("gamma", gamma, 1e-6, 1)
        self.seed, self._batches = seed, 0

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient of the samples that mind the most, at theta + epsilon."""
        self._batches += 1
        if self.rho == 0 and self.gamma == 1:
            return objective.accumulate_gradient(inputs, target).outcome()
        live = objective.forward(inputs, target)
        gradients = hooked(objective.compute_gradients(live.loss, self.drawn(objective.parameters())))
        climb = sam_perturbation(list(gradients.values()), self.rho)
        with perturbed(list(gradients), climb.direction, climb.length / self.beta):
            rows = self.minding(objective, live.detached(), inputs, target)
            some = (
                inputs if rows is None else {name: rows_of(value, rows, len(target)) for name, value in inputs.items()}
            )
            picked = target if rows is None else target[rows]
            with objective.runtime.on_part(len(picked) / len(target)):
                second = objective.second.forward_like(live.detached(), some, picked)
                perturbed_gradients = objective.compute_gradients(second.loss, objective.parameters())
        objective.add_gradients(perturbed_gradients)
        plain = live.loss if rows is None else objective.loss(live.logits[rows], target[rows])
        return live.outcome(sharpness=second.loss.detach() - plain.detach())

    def drawn(self, weights: list[Tensor]) -> list[Tensor]:
        """The tensors that are perturbed."""
        stream = random.Random(self.seed * 1_000_003 + self._batches)
        return [weight for weight in weights if stream.random() < self.beta]

    def minding(self, objective: Objective, first: Pass, inputs: Inputs, target: Tensor) -> Tensor | None:
        """The rows whose loss has risen most, in their order; None for all of them."""
        count = max(1, round(self.gamma * len(target)))
        if count >= len(target):
            return None
        objective.evaluation.assumptions.require_rows_apart(inputs, len(target), f"ESAM with gamma={self.gamma:g}")
        with torch.no_grad():
            up = objective.second.forward_like(first, inputs, target)
            rises = _by_row(objective, up.logits, target) - _by_row(objective, first.logits, target)
        return rises.nan_to_num(-torch.inf).topk(count).indices.sort().values  # a row that is ignored has no loss


def _by_row(objective: Objective, logits: Tensor, target: Tensor) -> Tensor:
    """The loss of each sample, `[batch]`."""
    return torch.stack([objective.loss(row[None], label[None]) for row, label in zip(logits, target, strict=True)])

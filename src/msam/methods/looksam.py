"""LookSAM: SAM on every k-th batch; in between, the part of its gradient that leads to flat places is used again."""

from __future__ import annotations

import torch
from torch import Tensor

from msam.blocks import orthogonal
from msam.memory import mean_of_ranks, recall, remember
from msam.method import Method, in_range
from msam.model_state import perturbed
from msam.objective import Objective, Pass
from msam.perturbation import ball, sam_perturbation
from msam.remembering import Remembering
from msam.types import Gradients, Inputs, Outcome
from msam.weight_hooks import hooked


class LookSAM(Remembering, Method):
    """LookSAM (Liu et al. 2022, arXiv 2203.02714, Algorithm 1).

    What SAM's gradient adds to the plain one turns slowly, so it is found on one batch in k only:

        every k-th batch     s   = grad l(theta + rho g / |g|)
                             g_v = s - (s.g / |g|^2) g             what is orthogonal to g
                             u   = s
        the others           u   = g + alpha |g| / |g_v| g_v

    Products and norms are over all weights together, as in the paper; widely used code takes them tensor by tensor. The
    paper's layer-wise variant for large batches is not included. In gradient accumulation each micro-batch is a batch.

    `g_v` is used for its direction only, so gradient scaling may change between steps; an overflow leaves it alone. In
    data-parallel training each rank climbs and projects by its own gradient, and `g_v` is the mean of all ranks', one
    more reduction on every k-th batch.

    Passes a batch: 1 forward, 1 backward; on every k-th batch 2 of each. It keeps one copy of the gradient.

    Limits: `every=1` is SAM; `rho=0` is joint training; `alpha=0` is SAM on every k-th batch and joint in between.

    Args:
        rho: radius of the ball, at least 0.
        every: k, at least 1; 5 and 10 in the paper.
        alpha: length of the part used again, in multiples of the gradient's, at least 0.

    Raises:
        ValueError: if an argument is out of its range.
    """

    kind = "ascent"
    name, family = "looksam", "sharpness"
    paper = "Liu et al. 2022, arXiv 2203.02714"
    # rho: as SAM; every 5 batches, as in the paper
    search = {"rho": [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]}

    remembers = ("batches", "sideways")

    def __init__(self, rho: float = 0.05, every: int = 5, alpha: float = 0.7) -> None:
        super().__init__()
        self.rho, self.every = in_range("rho", rho, 0), int(in_range("every", every, 1))
        self.alpha = in_range("alpha", alpha, 0)
        self._batches = 0
        self._sideways: dict[str, Tensor] = {}

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds SAM's gradient, or the plain one with the remembered part."""
        self._batches += 1
        if self.rho == 0:
            return objective.accumulate_gradient(inputs, target).outcome()
        live = objective.forward(inputs, target)
        gradients = objective.compute_gradients(live.loss, objective.parameters())
        if (self._batches - 1) % self.every:
            objective.add_gradients(self.looked_ahead(objective, gradients))
            return live.outcome()
        second = self.climb(objective, live, inputs, target, gradients)
        return live.outcome(sharpness=second - live.loss.detach())

    def climb(self, objective: Objective, live: Pass, inputs: Inputs, target: Tensor, gradients: Gradients) -> Tensor:
        """Deposits SAM's gradient and remembers its part orthogonal to g; returns the loss up there."""
        weights, plain = list(gradients), list(gradients.values())
        with perturbed(weights, *sam_perturbation(list(hooked(gradients).values()), self.rho)):
            second = objective.second.forward_like(live.detached(), inputs, target)
            sharp = objective.compute_gradients(second.loss, weights)
        sideways = orthogonal([sharp[weight] for weight in weights], plain)
        sideways = mean_of_ranks(objective, sideways, len(target))
        self._sideways = remember(objective, self._sideways, weights, sideways)
        objective.add_gradients(sharp)
        return second.loss.detach()

    def looked_ahead(self, objective: Objective, gradients: Gradients) -> Gradients:
        """`g + alpha |g| / |g_v| g_v`."""
        sideways = recall(objective, self._sideways, list(gradients))
        length = torch.nn.utils.get_total_norm(list(gradients.values()))
        steps = ball(sideways, 1.0)
        return {w: g + self.alpha * length.to(g) * step for (w, g), step in zip(gradients.items(), steps, strict=True)}

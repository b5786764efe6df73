"""Descent under the conditions of the convergence theorem: does the mean squared gradient norm fall as it says?"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from msam import Method, Objective, Outcome, Shapley
from msam.perturbation import first_pass, sam_perturbation
from msam.remembering import Remembering
from msam.types import Inputs


class Decaying(Remembering, Method):
    """Descent with `rho_t = rho / sqrt(t)`, t counting batches, that notes the squared norm of each gradient.

    `u = v g(theta + epsilon) + (1 - v) g(theta)`, v a number or the Shapley share of the dominant modality.
    With a learning rate that falls like 1 / sqrt(t) these are the conditions of the convergence theorem (M-SAM, section
    3.6): the mean squared gradient norm after T steps is O(log T / sqrt T). The note `squared_gradient` is
    |g(theta_t)|^2, of the batch: of the whole loss, if the batch is the whole training set.

    Args:
        rho: radius of the first step.
        weight: "share", or a number: 0 is joint training, 1 is SAM.
    """

    remembers = ("batches",)

    needs = frozenset({"encoders"})

    def __init__(self, rho: float = 0.05, weight: str | float = "share") -> None:
        super().__init__()
        self.rho, self.weight = rho, weight
        self.attribution = Shapley()
        self._batches = 0

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient."""
        self._batches += 1
        with first_pass(objective, inputs, target) as step:
            squared = sum((g.double().square().sum() for g in step.gradients()), torch.zeros((), dtype=torch.float64))
            weight: float | Tensor = 0.0 if self.weight == "share" else float(self.weight)
            if self.weight == "share":
                contributions = self.attribution(objective, inputs, target, step.first.features)
                weight = contributions.shares[contributions.index]
            rho = self.rho / sqrt(self._batches)
            step.second_pass(lambda _, gradients: sam_perturbation(gradients, rho), weight)
        return step.first.outcome(squared_gradient=squared)

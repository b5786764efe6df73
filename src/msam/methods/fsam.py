"""Friendly SAM: climbs along what is particular to the batch, not along what all batches have in common."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from msam.composition import AscentMethod
from msam.memory import mean_of_ranks, recall, remember
from msam.method import Method, in_range, one_of
from msam.objective import Objective
from msam.perturbation import TwoPass, first_pass, sam_perturbation
from msam.remembering import Remembering
from msam.types import Inputs, Outcome


class FSAM(Remembering, AscentMethod):
    """Friendly SAM (Li et al. 2024, arXiv 2403.12350): the full gradient is taken out of SAM's perturbation.

    With `m_t` a running mean of the gradients, an estimate of the gradient of all data:

        m_t     = momentum m_(t-1) + (1 - momentum) g_t
        d_t     = g_t - sigma m_t          faithful="paper", with m_(-1) = 0
                  g_t - sigma m_(t-1)      faithful="code", with m_0 = g_0 and d_0 = g_0
        epsilon = rho d_t / |d_t|
        u       = grad l(theta + epsilon)

    For `sigma=1` both climb in the direction of `g_t - m_(t-1)` and differ in how the mean begins. `paper` is the
    default.

    The mean is in the loss's own units, so gradient scaling may change between steps; gradients that have overflowed
    leave it alone. In data-parallel training each rank climbs by its own gradient, as in SAM, less the mean of all
    ranks, which takes one more reduction of a gradient a step.

    Passes a batch: 2 forwards, 2 backwards. It keeps one copy of the gradient.

    Limits: `sigma=0` is SAM; `rho=0` is joint training.

    Args:
        rho: radius of the ball, at least 0.
        sigma: how much of the mean is taken out, at least 0; 1 in the paper.
        momentum: of the running mean, in [0, 1]; 0.6 to 0.95 in the authors' runs, 0.9 in their code.
        faithful: see above.
        of: the method whose gradient is taken, such as `MBSD(...)`; the plain one if None.

    Raises:
        ValueError: if an argument is out of its range.
    """

    name, family = "f-sam", "sharpness"
    paper = "Li et al. 2024, arXiv 2403.12350"
    # rho: as SAM; sigma 1 and momentum 0.9, as in the authors' code
    search = {"rho": [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]}

    remembers = ("mean",)

    def __init__(
        self,
        rho: float = 0.05,
        sigma: float = 1.0,
        momentum: float = 0.9,
        faithful: Literal["paper", "code"] = "paper",
        of: Method | None = None,
    ) -> None:
        super().__init__(of)
        self.rho, self.sigma = in_range("rho", rho, 0), in_range("sigma", sigma, 0)
        self.momentum = in_range("momentum", momentum, 0, 1)
        self.faithful = one_of("faithful", faithful, ("paper", "code"))
        self._mean: dict[str, Tensor] = {}

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient at theta + epsilon."""
        if self.rho == 0:
            return self.plain_gradient(objective, inputs, target)
        with first_pass(objective, inputs, target, of=self.of) as step:
            second = step.second_pass(lambda *_: sam_perturbation(self.noise(step), self.rho), weight=1.0)
        return step.first.outcome(sharpness=second.loss - step.first.loss)

    def noise(self, step: TwoPass) -> list[Tensor]:
        """`d_t`, one tensor for each weight that has a gradient; takes this batch into the mean."""
        weights = step.weights()
        gradients = list(torch._foreach_div(step.gradients(), step.objective.gradients.scale()))
        shared = mean_of_ranks(step.objective, gradients, len(step.target))
        begun, before = bool(self._mean), recall(step.objective, self._mean, weights, self.of)
        after = torch._foreach_lerp(shared, before, self.momentum) if begun or self.faithful == "paper" else shared
        self._mean = remember(step.objective, self._mean, weights, after, self.of)
        taken_out = after if self.faithful == "paper" else before
        return list(torch._foreach_sub(gradients, torch._foreach_mul(taken_out, self.sigma)))

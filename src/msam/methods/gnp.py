"""Gradient norm penalty: a constant mixture of the plain and the sharpness-aware gradient."""

from __future__ import annotations

from torch import Tensor

from msam.composition import AscentMethod, RhoSchedule
from msam.method import Method, in_range
from msam.objective import Objective
from msam.perturbation import first_pass, sam_perturbation
from msam.types import Inputs, Outcome


class GNP(AscentMethod):
    """`u = (1 - alpha) g(theta) + alpha g(theta + rho g / |g|)` (Zhao et al. 2022, arXiv 2202.03599, Algorithm 1).

    M-SAM in its loss scope is this with alpha set by the batch, so GNP with the mean of that alpha is the control that
    a claim about modality awareness needs.

    Passes a batch: 2 forwards, 2 backwards; with `of`, its passes twice.

    Limits: `alpha=1` is SAM; `alpha=0` or `rho=0` is joint training, or the method `of`.

    Args:
        alpha: share of the perturbed gradient, in [0, 1].
        rho: radius of the ball, at least 0.
        sync_perturbation: climb by the gradient of all ranks' samples; one more reduction of gradients a batch.
        of: the method whose gradient is taken, such as `MBSD(...)`; the plain one if None.
        start: share of the training before which it does not climb; see `Backward.progress`.
        rho_schedule: `constant`, or `lr`: the radius follows the learning rate, see `Backward.progress`.
    """

    name, family = "gnp", "sharpness"
    paper = "Zhao et al. 2022, arXiv 2202.03599"
    # rho: as SAM
    search = {"rho": [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]}

    def __init__(
        self,
        alpha: float = 0.5,
        rho: float = 0.05,
        sync_perturbation: bool = False,
        of: Method | None = None,
        start: float = 0.0,
        rho_schedule: RhoSchedule = "constant",
    ) -> None:
        super().__init__(of, start, rho_schedule)
        self.alpha, self.rho = in_range("alpha", alpha, 0, 1), in_range("rho", rho, 0)
        self.sync_perturbation = sync_perturbation

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the mixture."""
        if self.rho == 0 or self.alpha == 0 or (self.scheduled and self.waits()):
            return self.plain_gradient(objective, inputs, target)
        with first_pass(objective, inputs, target, self.sync_perturbation, of=self.of) as step:
            rho = self.rho * self._rate
            second = step.second_pass(lambda _, gradients: sam_perturbation(gradients, rho), self.alpha)
        return step.first.outcome(sharpness=second.loss - step.first.loss)

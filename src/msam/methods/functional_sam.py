"""Functional SAM: the model is perturbed, the loss's derivative is not."""

from __future__ import annotations

from torch import Tensor

from msam.method import Method, in_range
from msam.model_state import perturbed
from msam.objective import Objective
from msam.perturbation import sam_perturbation
from msam.types import Inputs, Outcome


class FunctionalSAM(Method):
    """SAM through the functional part of sharpness only (Singh et al. 2025, ICML).

    With `z(theta)` the logits and `dl/dz` the loss's derivative by them:

        SAM              u = J_z(theta + epsilon)^T dl/dz(theta + epsilon)
        Functional SAM   u = J_z(theta + epsilon)^T dl/dz(theta)

    SAM also lowers sharpness by making predictions more certain, which moves `dl/dz`; keeping it at theta leaves the
    part that flattens the function. Weights that only the criterion has follow their plain gradient.

    Passes a batch: 2 forwards, 2 backwards.

    Limits: `rho=0` is joint training; where the loss is linear in the logits, it is SAM.

    Args:
        rho: radius of the ball, at least 0.

    Raises:
        ValueError: if an argument is out of its range.
    """

    kind = "ascent"
    name, family = "functional-sam", "sharpness"
    paper = "Singh et al. 2025, ICML"
    # rho: as SAM
    search = {"rho": [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]}

    def __init__(self, rho: float = 0.05) -> None:
        super().__init__()
        self.rho = in_range("rho", rho, 0)

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient of the perturbed model along the derivative at theta."""
        if self.rho == 0:
            return objective.accumulate_gradient(inputs, target).outcome()
        live = objective.forward(inputs, target)
        plain = objective.compute_gradients(live.loss, [live.logits, *objective.parameters()])
        slope = plain.pop(live.logits)
        with perturbed(list(plain), *sam_perturbation(list(plain.values()), self.rho)):
            second = objective.second.forward_like(live.detached(), inputs, target)
            sharp = objective.compute_gradients((second.logits * slope).sum(), list(plain))
        objective.add_gradients(plain | sharp)
        return live.outcome(sharpness=second.loss.detach() - live.loss.detach())

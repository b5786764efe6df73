"""Momentum-SAM: the gradient at weights that are perturbed along the momentum, in one pass."""

from __future__ import annotations

from torch import Tensor

from msam.memory import mean_of_ranks, recall, remember
from msam.method import Method, in_range
from msam.model_state import perturbed
from msam.objective import Objective
from msam.perturbation import sam_perturbation
from msam.remembering import Remembering
from msam.types import Inputs, Outcome


class MomentumSAM(Remembering, Method):
    """Momentum-SAM (Becker et al. 2024, arXiv 2401.12033), which its authors call MSAM; not M-SAM.

        u = grad l(theta - rho v / |v|)
        v <- momentum v + u

    The authors read v off the optimizer; a method does not see the optimizer, so it keeps a running gradient of its
    own. Their rho is larger than SAM's by a factor of about ten. The loss and logits of an outcome are those at the
    perturbed weights, as no other pass is made. In gradient accumulation each micro-batch is a batch; in data-parallel
    training v is the mean of all ranks', one more reduction a batch.

    Passes a batch: 1 forward, 1 backward. It keeps one copy of the gradient.

    Limits: `rho=0` is joint training; so is the first batch.

    Args:
        rho: distance moved against the momentum, at least 0.
        momentum: of the running gradient, in [0, 1); that of the optimizer is meant.

    Raises:
        ValueError: if an argument is out of its range.
    """

    kind = "ascent"
    name, family = "momentum-sam", "sharpness"
    paper = "Becker et al. 2024, arXiv 2401.12033"
    # rho: ten times SAM's
    search = {"rho": [0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0]}

    remembers = ("velocity",)

    def __init__(self, rho: float = 0.5, momentum: float = 0.9) -> None:
        super().__init__()
        self.rho, self.momentum = in_range("rho", rho, 0), in_range("momentum", momentum, 0, 1)
        self._velocity: dict[str, Tensor] = {}

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient at the perturbed weights."""
        if self.rho == 0:
            return objective.accumulate_gradient(inputs, target).outcome()
        weights = objective.parameters()
        with perturbed(weights, *sam_perturbation(recall(objective, self._velocity, weights), -self.rho)):
            live = objective.forward(inputs, target)
            gradients = objective.compute_gradients(live.loss, weights)
        objective.add_gradients(gradients)
        self._follow(objective, gradients, len(target))
        return live.outcome()

    def _follow(self, objective: Objective, gradients: dict[Tensor, Tensor], samples: int) -> None:
        """Takes a gradient into the running one."""
        weights = list(gradients)
        shared = mean_of_ranks(objective, list(gradients.values()), samples)
        pairs = zip(recall(objective, self._velocity, weights), shared, strict=True)
        self._velocity = remember(objective, self._velocity, weights, [self.momentum * v + g for v, g in pairs])

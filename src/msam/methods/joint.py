"""Joint training: the plain gradient of the fused loss, what every method is measured against."""

from __future__ import annotations

from torch import Tensor

from msam.methods.base import Method
from msam.objective import Objective
from msam.types import Inputs, Outcome


class Joint(Method):
    """`g = grad l(theta)`: exactly `loss.backward()`.

    Passes a batch: 1 forward, 1 backward.
    """

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the plain gradient."""
        return objective.accumulate_gradient(inputs, target, observed=False).outcome()

"""Joint training: the plain gradient of the fused loss, what every method is measured against."""

from __future__ import annotations

from torch import Tensor

from msam.losses import Losses, LossMethod
from msam.objective import Objective, Pass
from msam.types import Inputs, Outcome


class Joint(LossMethod):
    """`g = grad l(theta)`: exactly `loss.backward()`.

    Passes a batch: 1 forward, 1 backward.
    """

    name, family = "joint", "reference"
    paper = ""
    # nothing to set: the learning rate. What is best here is the learning rate of all methods that list another
    # setting
    search = {"lr": [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]}
    plain = True

    def losses(self, objective: Objective, live: Pass, inputs: Inputs, target: Tensor) -> Losses:
        """The fused loss alone."""
        return Losses(live.loss)

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the plain gradient."""
        return objective.accumulate_gradient(inputs, target, observed=False).outcome()

"""AE-SAM: SAM where the gradient is large against those before, plain descent elsewhere."""

from __future__ import annotations

from math import isfinite, sqrt

import torch
from torch import Tensor

from msam.composition import AscentMethod
from msam.method import Method, in_range
from msam.objective import Objective
from msam.perturbation import TwoPass, first_pass, sam_perturbation
from msam.remembering import Remembering
from msam.types import Batches, Inputs, Outcome


class AESAM(Remembering, AscentMethod):
    """Adaptive policy to employ SAM (Jiang et al. 2023, arXiv 2304.14647).

    The squared norm of a batch's gradient tells how sharp the place is. With its running mean and variance:

        mean     <- decay mean + (1 - decay) |g|^2
        variance <- decay variance + (1 - decay) (|g|^2 - mean)^2
        u         = grad l(theta + rho g / |g|)      if |g|^2 >= mean + c sqrt(variance)
                    g                                else

    `c` goes in a straight line from `first` to `last`, so that SAM is employed more often towards the end. The paper
    moves it with every iteration of a training of known length; here it moves with the epochs that have ended
    (`next_epoch`) and stays after `epochs`. Mean and variance begin at zero (decided here), so the first batch climbs.
    The equations are the paper's; the values of `first`, `last` and `decay` could not be compared with the authors'
    runs.

    The norms are in the loss's own units, so gradient scaling may change between steps; a gradient that has overflowed
    is not counted and does not climb. In data-parallel training the squared norm is the mean of the ranks', so that all
    decide alike. The decision waits for the device.

    Passes a batch: 1 forward, 1 backward; where it climbs, 2 of each.

    Limits: `first = last = -inf` is SAM; `first = last = inf`, or `rho=0`, is joint training.

    Args:
        rho: radius of the ball, at least 0.
        first: c at the beginning (lambda_2 in the paper).
        last: c at the end (lambda_1).
        epochs: number of epochs from first to last, at least 1: those of the training.
        decay: of mean and variance (delta), in [0, 1].
        of: the method whose gradient is taken, such as `MBSD(...)`; the plain one if None.

    Raises:
        ValueError: if an argument is out of its range.
    """

    name, family = "ae-sam", "sharpness"
    paper = "Jiang et al. 2023, arXiv 2304.14647"
    # rho: as SAM
    search = {"rho": [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]}

    remembers = ("epoch", "mean", "variance")

    def __init__(
        self,
        rho: float = 0.05,
        first: float = 1.0,
        last: float = -1.0,
        epochs: int = 100,
        decay: float = 0.9,
        of: Method | None = None,
    ) -> None:
        super().__init__(of)
        self.rho, self.decay = in_range("rho", rho, 0), in_range("decay", decay, 0, 1)
        self.first, self.last = in_range("first", first, -float("inf")), in_range("last", last, -float("inf"))
        self.epochs = int(in_range("epochs", epochs, 1))
        self._epoch, self._mean, self._variance = 0, 0.0, 0.0

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds SAM's gradient or the plain one."""
        if self.rho == 0:
            return self.plain_gradient(objective, inputs, target)
        with first_pass(objective, inputs, target, of=self.of) as step:
            climbs = self.sharp(step)
            if climbs:
                second = step.second_pass(lambda _, gradients: sam_perturbation(gradients, self.rho), weight=1.0)
            else:
                step.finish()
        record = {"sharpness": second.loss - step.first.loss} if climbs else {}
        return step.first.outcome(climbs=float(climbs), **record)

    def sharp(self, step: TwoPass) -> bool:
        """Whether this batch's gradient is large; takes it into mean and variance."""
        norm = torch.nn.utils.get_total_norm(step.gradients()) / step.objective.gradients.scale()
        return self.employs(float(step.objective.average(norm.square(), len(step.target))))

    def employs(self, square: float) -> bool:
        """Whether SAM is employed at a squared norm; takes it into mean and variance."""
        if not isfinite(square):
            return False
        self._mean = self.decay * self._mean + (1 - self.decay) * square
        self._variance = self.decay * self._variance + (1 - self.decay) * (square - self._mean) ** 2
        return square >= self._mean + self.threshold * sqrt(self._variance)

    @property
    def threshold(self) -> float:
        """`c`, in standard deviations."""
        done = min(self._epoch / self.epochs, 1.0)
        return self.first if self.first == self.last else self.first + done * (self.last - self.first)

    def next_epoch(self, objective: Objective, train: Batches | None = None, valid: Batches | None = None) -> None:
        """Moves the threshold."""
        super().next_epoch(objective, train, valid)
        self._epoch += 1

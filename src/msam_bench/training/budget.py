"""The end of a training: after a number of epochs, or after as many gradients as joint training makes in them.

passes = PassCount(backward.objective)
budget = Budget("gradients", epochs=40, batches=7, passes=passes)
for epoch in loop.epochs(budget.over):             # and inside an epoch, after each batch, `budget.spent` ends it
    ...
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from msam_bench.training.schedules import make_scheduler, rate_factor

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from msam_bench.training.passes import PassCount


class Budget:
    """The limit of a training.

    Args:
        kind: what is limited.
        epochs: passes over the training set, of joint training for a budget of gradients.
        batches: of an epoch; joint training makes one gradient each.
        passes: what has been spent.
    """

    def __init__(self, kind: Literal["epochs", "gradients"], epochs: int, batches: int, passes: PassCount) -> None:
        self.kind, self.epochs, self.passes = kind, epochs, passes
        self.gradients = epochs * batches
        self.longest = epochs * max(1, len(passes.objective.encoders))

    @property
    def spent(self) -> bool:
        """Whether no gradient is left, for a budget of gradients."""
        return self.kind == "gradients" and self.passes.gradients >= self.gradients

    def over(self, epoch: int) -> bool:
        """Whether to stop after so many epochs.

        A method that trains one encoder at a time spends the gradients in as many times the epochs as there are
        encoders; one that has not spent them by then no longer trains.
        """
        return self.spent or epoch >= (self.epochs if self.kind == "epochs" else self.longest)

    def progress(self) -> float:
        """The share of the gradients that is spent, at most 1."""
        return min(1.0, self.passes.gradients / self.gradients)

    def done(self, epoch: int) -> float:
        """The share of the training that is over after so many epochs, in [0, 1]."""
        return min(1.0, epoch / self.epochs) if self.kind == "epochs" else self.progress()

    def epochs_done(self, epoch: int) -> int:
        """The progress after so many epochs, in epochs of the budget."""
        return epoch if self.kind == "epochs" else int(self.progress() * self.epochs)

    def scheduler(self, name: str, optimizer: Optimizer, step_epochs: int) -> LRScheduler:
        """The schedule of that name over the budget, stepped once an epoch; see `make_scheduler`."""
        if self.kind == "epochs":
            return make_scheduler(name, optimizer, self.epochs, step_epochs)
        factor = partial(rate_factor, name, epochs=self.epochs, step_epochs=step_epochs)
        return LambdaLR(optimizer, lambda epoch: factor(progress=self.progress()))

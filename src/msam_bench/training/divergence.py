"""The error of a training whose loss is no longer finite."""

from __future__ import annotations


class Diverged(ValueError):
    """A loss that is no longer finite: the settings are too bold for the data, which is a result as well.

    Args:
        loss: infinite or not a number.
        epoch: of the training, from 1.
        name: of the run, if it has one.
    """

    def __init__(self, loss: float, epoch: int, name: str = "") -> None:
        super().__init__(loss, epoch, name)
        self.loss, self.epoch, self.name = loss, epoch, name

    def __str__(self) -> str:
        of_run = f" of {self.name}" if self.name else ""
        return f"The training loss became {self.loss} in epoch {self.epoch}{of_run}; lower lr or rho."

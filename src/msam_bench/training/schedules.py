"""Learning-rate schedules by name: over epochs as a torch scheduler, over a share of a budget as a factor.

    make_scheduler("cosine", optimizer, epochs=40)
    rate_factor("cosine", progress=0.5, epochs=40)     # 0.5

Both are the same curve. torch's schedulers step from rate to rate, which rounds differently from the closed form, so
training over epochs keeps them: its numbers stay those of earlier runs, and earlier checkpoints load.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LambdaLR, LRScheduler, StepLR

if TYPE_CHECKING:
    from torch.optim import Optimizer

Maker = Callable[["Optimizer", int, int], LRScheduler]
Curve = Callable[[float, int, int], float]

SCHEDULES: dict[str, tuple[Maker, Curve]] = {
    "constant": (
        lambda optimizer, epochs, every: ConstantLR(optimizer, 1.0),
        lambda epoch, epochs, every: 1.0,
    ),
    "cosine": (
        lambda optimizer, epochs, every: CosineAnnealingLR(optimizer, epochs),
        lambda epoch, epochs, every: (1 + math.cos(math.pi * epoch / epochs)) / 2,
    ),
    "step": (
        lambda optimizer, epochs, every: StepLR(optimizer, every),
        lambda epoch, epochs, every: float(0.1 ** (epoch // every)),
    ),
    "inverse-sqrt": (
        lambda optimizer, epochs, every: LambdaLR(optimizer, lambda epoch: (epoch + 1) ** -0.5),
        lambda epoch, epochs, every: float((1 + epoch) ** -0.5),
    ),
}
"""Name -> the scheduler of `(optimizer, epochs, epochs between steps)`, and its curve at a fractional epoch."""


def make_scheduler(name: str, optimizer: Optimizer, epochs: int, step_epochs: int = 70) -> LRScheduler:
    """The scheduler of that name, stepped once an epoch.

    Args:
        name: one of `SCHEDULES`.
        optimizer: its learning rates are scheduled.
        epochs: of the whole training.
        step_epochs: epochs between two steps of the step schedule.
    """
    return SCHEDULES[name][0](optimizer, epochs, step_epochs)


def rate_factor(name: str, progress: float, epochs: int, step_epochs: int = 70) -> float:
    """The factor of the learning rate at a share of the training.

    Args:
        name: one of `SCHEDULES`.
        progress: share of the training that is over, from 0 to 1.
        epochs: of the whole training.
        step_epochs: epochs between two steps of the step schedule.
    """
    return SCHEDULES[name][1](progress * epochs, epochs, step_epochs)

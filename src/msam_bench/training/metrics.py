"""Scores of runs on a data set: accuracy where samples have classes, R2 where they have values to regress.

    score = scoring(dataset)
    score.criterion(outputs, target)                       # cross-entropy, or mean squared error
    worth = score.worth(dataset.splits["test"].target)     # of each sample of that split: [..., batch]
    worth(outputs, target).sum() / samples                 # the score of the split, batch by batch

Both scores are means over samples, so batches, ranks and Shapley values may be averaged: R2 is the mean of
`1 - |y - f(x)|^2 / v`, where v is the mean of `|y - mean y|^2` over the whole split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from msam.metrics import hits
from msam.types import Criterion

if TYPE_CHECKING:
    from msam_bench.data import Dataset

Worth = Callable[[Tensor, Tensor], Tensor]
"""(outputs [..., batch, outputs], target [batch, ...]) -> what each sample adds to the score, [..., batch]."""


@dataclass(frozen=True)
class Score:
    """A way to score.

    Args:
        name: What it is called in tables.
        criterion: The loss that goes with it.
        value: The value function of that kind for contributions on a batch, as `msam.Shapley` names it.
        worth: Targets of a split -> the worth of its samples.
    """

    name: str
    criterion: Criterion
    value: str
    worth: Callable[[Tensor], Worth]


def scoring(dataset: Dataset) -> Score:
    """The score of a data set."""
    score = ACCURACY if dataset.classes else R2
    return replace(score, criterion=dataset.criterion) if dataset.criterion else score


def squared_error(outputs: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of outputs `[batch, outputs]`; targets may be `[batch]` where there is one output."""
    return F.mse_loss(outputs, target.reshape(len(target), -1))


def explained(target: Tensor) -> Worth:
    """Each sample's part of R2 over a split with these targets; where all are the same, their variance counts as 1."""
    flat = target.double().reshape(len(target), -1)
    spread = float((flat - flat.mean(0)).square().sum(1).mean()) or 1.0

    def worth(outputs: Tensor, target: Tensor) -> Tensor:
        error = (outputs.double() - target.reshape(len(target), -1)).square().sum(-1)
        return 1 - error / spread

    return worth


ACCURACY = Score("accuracy", F.cross_entropy, "accuracy", lambda target: hits)
R2 = Score("R2", squared_error, "r2", explained)

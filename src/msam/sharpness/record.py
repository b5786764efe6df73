"""What a measurement says beside its number: where it was made, what it cost, how sure it is. Checks of arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from msam.coalition import Absent

Progress = Callable[[int, int], None] | None
"""Called with (done, total) after each piece of a long measurement."""


@dataclass(frozen=True)
class Cost:
    """What a measurement took, each counted in passes over all the data.

    Args:
        losses: evaluations of the loss (a forward pass each).
        gradients: gradients (a forward and a backward pass each).
        products: Hessian-vector products (a gradient that is differentiated again).
    """

    losses: float = 0
    gradients: float = 0
    products: float = 0

    @property
    def total(self) -> float:
        """In gradient evaluations: a loss is a third of one, a Hessian-vector product three."""
        return self.losses / 3 + self.gradients + 3 * self.products

    def plus(self, other: Cost, times: int = 1, of: int = 1) -> Cost:
        """The sum of this cost and `times / of` of another."""
        return Cost(
            self.losses + times * other.losses / of,
            self.gradients + times * other.gradients / of,
            self.products + times * other.products / of,
        )


@dataclass(frozen=True)
class Site:
    """What was measured, for the record.

    Args:
        block: `all`, a modality (its encoder) or `fusion`.
        coalition: the modalities that were present.
        absent: what the others looked like.
        samples: how many samples the loss is a mean of.
        parameters: how many numbers the block has.
        seed: of everything random in the measurement.
    """

    block: str
    coalition: tuple[str, ...]
    absent: Absent
    samples: int
    parameters: int
    seed: int


def mean_and_error(values: Sequence[float], weights: Sequence[float] | None = None) -> tuple[float, float]:
    """Mean and its standard error; NaN for the error of a single value.

    Args:
        values: the draws.
        weights: how much each counts, equal if None.
    """
    draws = torch.tensor(values, dtype=torch.float64)
    shares = torch.ones_like(draws) if weights is None else torch.tensor(weights, dtype=torch.float64)
    shares = shares / shares.sum()
    mean = shares @ draws
    spread = shares.square() @ (draws - mean).square()
    count = len(values)
    return mean.item(), math.sqrt(spread.item() * count / (count - 1)) if count > 1 else math.nan


def tell(progress: Progress, done: int, total: int) -> None:
    """Calls `progress`, if there is one."""
    if progress is not None:
        progress(done, total)

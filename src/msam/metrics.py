"""What is measured of a trained model: free functions, and small accumulators over batches.

An example.

    counter = CoalitionAccuracy(modalities, lattice(2))
    for inputs, target in loader:
        counter.update(objective.coalition_logits(inputs, counter.masks, "zero-input"), target)
    counter.compute()                               # {"audio": 0.61, "image": 0.74, "audio+image": 0.83}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor


def hits(logits: Tensor, target: Tensor) -> Tensor:
    """Whether each sample's largest logit is the target's: `[..., batch, classes]`, `[batch]` -> `[..., batch]`."""
    return logits.argmax(-1) == target


def correct(logits: Tensor, target: Tensor) -> Tensor:
    """Number of samples whose largest logit is the target's: `[..., batch, classes]`, `[batch]` -> `[...]`."""
    return hits(logits, target).sum(-1)


def overfitting_gap(train_accuracy: float, test_accuracy: float) -> float:
    """The normalised gap tau = |train - test| / test (M-SAM, arXiv 2510.24919, Eq. 1).

    Infinite where the test score is not positive: zero accuracy, or an R2 below that of the mean.

    Args:
        train_accuracy: at most 1, in evaluation mode.
        test_accuracy: at most 1.
    """
    if test_accuracy <= 0:
        return 0.0 if train_accuracy == test_accuracy else float("inf")
    return abs(train_accuracy - test_accuracy) / test_accuracy


def switching_rate(dominant: Sequence[str]) -> float:
    """Share of consecutive batches whose dominant modality differs, in [0, 1]; zero for fewer than two batches."""
    pairs = list(pairwise(dominant))
    return sum(before != after for before, after in pairs) / len(pairs) if pairs else 0.0


class CoalitionAccuracy:
    """Accuracy of every coalition over many batches, each sample counted once.

    Args:
        modalities: names in canonical order.
        masks: coalitions, booleans `[coalitions, modalities]`.
        worth: what a sample counts, `[coalitions, batch]` of logits and target; whether it is right if not given.
    """

    def __init__(
        self, modalities: Sequence[str], masks: Tensor, worth: Callable[[Tensor, Tensor], Tensor] = hits
    ) -> None:
        self.names = [
            "+".join(m for m, present in zip(modalities, mask, strict=True) if present) for mask in masks.tolist()
        ]
        self.masks = masks
        self.worth = worth
        self.hits: Tensor | int = 0
        self.samples = 0

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Counts one batch: logits `[coalitions, batch, classes]`, target `[batch]`."""
        self.hits = self.hits + self.worth(logits, target).sum(-1)
        self.samples += len(target)

    def compute(self) -> dict[str, float]:
        """Coalition (names joined by `+`) -> accuracy in [0, 1] (or mean worth).

        Raises:
            ValueError: if nothing has been counted.
        """
        if not self.samples:
            raise ValueError("CoalitionAccuracy has seen no batch; call update first.")
        accuracies = (torch.as_tensor(self.hits).double() / self.samples).tolist()
        return dict(zip(self.names, accuracies, strict=True))

"""What a model reaches on a split: its score and loss, the score of coalitions, the Shapley values of that score.

    measures = Measures(dataset, backward, scoring(dataset), Ranks())
    accuracy, loss = measures.evaluate("valid")
    measures.coalitions("test", lattice(2))                # {"audio": 0.6, "video": 0.5, "audio+video": 0.8}

Nothing is trained and no random number drawn; samples are taken in order, some thousands at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from msam import shapley
from msam.batches import moved
from msam.coalition import extremes, lattice
from msam.metrics import CoalitionAccuracy
from msam.types import Inputs
from msam_bench.training.distributed import Distributed
from msam_bench.training.metrics import Score, Worth, value_of

if TYPE_CHECKING:
    from msam.methods.base import Backward
    from msam_bench.data import Dataset

_CHUNK = 2048
"""Samples that are measured on at a time; fewer where they hold more than `_CHUNK_VALUES` numbers."""
_CHUNK_VALUES = 2**24
_EXACT = 6
"""Up to this many modalities every coalition is tested; above, each alone, all but each, and all."""


class Measures:
    """Measurements of one method on one model.

    Args:
        dataset: its splits are measured on.
        backward: the method bound to the model; its `predict` speaks for the model.
        score: how outputs are scored.
        ranks: the processes, which share the samples of `evaluate`.
    """

    def __init__(self, dataset: Dataset, backward: Backward, score: Score, ranks: Distributed) -> None:
        self.dataset, self.backward, self.score, self.ranks = dataset, backward, score, ranks

    def evaluate(self, split: str) -> tuple[float, float]:
        """Score and loss of a split, in evaluation mode, each sample counted once, by one of the ranks."""
        worth, total, loss, samples = self._worth(split), 0.0, 0.0, 0.0
        for inputs, target in self._strided(split, self.ranks.rank, self.ranks.count):
            logits = self.backward.predict(inputs)
            total += float(worth(logits, target).sum())
            loss += float(self.score.criterion(logits, target)) * len(target)
            samples += len(target)
        total, loss, samples = self.ranks.summed(total, loss, samples)
        return total / samples, loss / samples

    def coalitions(self, split: str, masks: Tensor | None = None) -> dict[str, float]:
        """The score of each coalition, by the names of its modalities; not counted.

        Args:
            split: one of the data's.
            masks: booleans `[coalitions, modalities]`; all coalitions if None, of many modalities the extreme ones.
        """
        names, objective = self.dataset.modalities, self.backward.objective
        if masks is None:
            masks = lattice(len(names)) if len(names) <= _EXACT else extremes(len(names))
        counter = CoalitionAccuracy(names, masks, self._worth(split))
        with objective.runtime.uncounted():
            for inputs, target in self._strided(split, 0, 1):
                counter.update(objective.coalition_logits(inputs, masks, "zero-input"), target)
        return counter.compute()

    def alone(self, split: str) -> dict[str, float]:
        """The score of each modality alone."""
        found = self.coalitions(split, torch.eye(len(self.dataset.modalities), dtype=torch.bool))
        return {f"alone/{name}": value for name, value in found.items()}

    def contributions(self, split: str) -> dict[str, float]:
        """Shapley values of the split's score, averaged over samples."""
        total: dict[str, float] = {}
        value = value_of(self._worth(split))
        for inputs, target in self._strided(split, 0, 1):
            values = shapley(self.backward.objective, inputs, target, value=value).values
            for name, part in values.items():
                total[name] = total.get(name, 0.0) + part * len(target) / len(self.dataset.splits[split])
        return total

    def _worth(self, split: str) -> Worth:
        return self.score.worth(self.dataset.splits[split].target)

    def _strided(self, split: str, first: int, step: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Every so many-th sample of a split, in order."""
        part = self.dataset.splits[split]
        size = step * max(1, min(_CHUNK, _CHUNK_VALUES // sum(map(math.prod, part.shapes.values()))))
        starts = range(first, len(part), size)
        chunks = (slice(start, start + size, step) for start in starts)
        return moved(self.backward.objective, map(part.take, chunks))

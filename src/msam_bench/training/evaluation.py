"""Evaluation on a split: score and loss, the score of coalitions, the Shapley values of that score.

    evaluator = Evaluator(backward, scoring(dataset), {"valid": loader}, modalities=("audio", "video"))
    accuracy, loss = evaluator.evaluate("valid")
    evaluator.coalitions("valid", lattice(2))              # {"audio": 0.6, "video": 0.5, "audio+video": 0.8}

Nothing is trained and no random number drawn; samples are taken in order, some thousands at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from msam import Shapley
from msam.batches import moved
from msam.coalition import extremes, lattice
from msam.metrics import CoalitionAccuracy
from msam.types import Inputs
from msam_bench.training.distributed import ProcessGroup
from msam_bench.training.metrics import Score, Worth

if TYPE_CHECKING:
    from msam.method import Backward
    from msam_bench.training.loaders import EvaluationSet

_EXACT = 6
"""Up to this many modalities every coalition is tested; above, each alone, all but each, and all."""


@dataclass(frozen=True)
class Attribution:
    """What the modalities of each sample of a split are worth.

    Args:
        contributions: Modality -> Shapley values `[samples]` of the sample's score; the empty coalition is worth 0.
        alone: Modality -> outputs with it alone `[samples, outputs]`.
    """

    contributions: Mapping[str, Tensor]
    alone: Mapping[str, Tensor]

    @property
    def means(self) -> dict[str, float]:
        """Modality -> its mean Shapley value."""
        return {name: float(values.mean()) for name, values in self.contributions.items()}


class Evaluator:
    """Evaluates one method on one model.

    Args:
        backward: the method bound to the model; its `predict` speaks for the model.
        score: how outputs are scored.
        sets: name -> the samples of that split.
        modalities: in canonical order.
        processes: share the samples of `evaluate`.
    """

    def __init__(
        self,
        backward: Backward,
        score: Score,
        sets: Mapping[str, EvaluationSet],
        modalities: Sequence[str],
        processes: ProcessGroup | None = None,
    ) -> None:
        self.backward, self.score, self.sets = backward, score, sets
        self.modalities, self.processes = tuple(modalities), processes or ProcessGroup()

    def evaluate(self, split: str) -> tuple[float, float]:
        """Score and loss of a split, in evaluation mode, each sample counted once, by one of the processes."""
        worth, total, loss, samples = self._worth(split), 0.0, 0.0, 0.0
        for inputs, target in self._chunks(split, self.processes.rank, self.processes.count):
            logits = self.backward.predict(inputs)
            total += float(worth(logits, target).sum())
            loss += float(self.score.criterion(logits, target)) * len(target)
            samples += len(target)
        total, loss, samples = self.processes.sum(total, loss, samples)
        return total / samples, loss / samples

    def coalitions(self, split: str, masks: Tensor | None = None) -> dict[str, float]:
        """The score of each coalition, by the names of its modalities; not counted.

        Args:
            split: one of the data's.
            masks: booleans `[coalitions, modalities]`; all coalitions if None, of many modalities the extreme ones.
        """
        names, objective = self.modalities, self.backward.objective
        if masks is None:
            masks = lattice(len(names)) if len(names) <= _EXACT else extremes(len(names))
        counter = CoalitionAccuracy(names, masks, self._worth(split))
        with objective.runtime.uncounted():
            for inputs, target in self._chunks(split):
                counter.update(objective.coalition_logits(inputs, masks, "zero-input"), target)
        return counter.compute()

    def alone(self, split: str) -> dict[str, float]:
        """The score of each modality alone."""
        scores = self.coalitions(split, torch.eye(len(self.modalities), dtype=torch.bool))
        return {f"alone/{name}": value for name, value in scores.items()}

    def contributions(self, split: str) -> dict[str, float]:
        """Shapley values of the split's score, averaged over samples."""
        return self.attribution(split).means

    def attribution(self, split: str) -> Attribution:
        """The Shapley values of each sample's score, and the outputs for each modality alone; not counted."""
        names, objective, worth = self.modalities, self.backward.objective, self._worth(split)
        design = Shapley().design(objective, len(names))
        masks = torch.cat([design.masks, torch.eye(len(names), dtype=torch.bool)])
        values, alone = [], []
        with objective.runtime.uncounted(), torch.no_grad():
            for inputs, target in self._chunks(split):
                logits = objective.coalition_logits(inputs, masks, "zero-input")
                scores = worth(logits[: len(design.masks)], target).double().cpu()
                values.append(design.weights.double() @ scores)
                alone.append(logits[len(design.masks) :].float().cpu())
        outputs = torch.cat(alone, 1)
        return Attribution(dict(zip(names, torch.cat(values, 1), strict=True)), dict(zip(names, outputs, strict=True)))

    def outputs(self, split: str) -> Tensor:
        """The outputs for every sample in order, `[samples, outputs]`, on the CPU."""
        return torch.cat([self.backward.predict(inputs).float().cpu() for inputs, _ in self._chunks(split)])

    def _worth(self, split: str) -> Worth:
        return self.score.worth(self.sets[split].target)

    def _chunks(self, split: str, rank: int = 0, count: int = 1) -> Iterator[tuple[Inputs, Tensor]]:
        """The samples of a process, where the model is."""
        return moved(self.backward.objective, self.sets[split].chunks(rank, count))

"""What sharpness stands beside: the score on the test split, of all modalities and of each alone, and the gap tau.

Taken at the weights that are measured, with the model's own output. The score is accuracy, or R2 of values to regress.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from msam.metrics import overfitting_gap
from msam.sharpness.record import mean_and_error
from msam_bench.analysis.flatness.measures import SCORE, TAU
from msam_bench.training.metrics import scoring

if TYPE_CHECKING:
    from torch import Tensor

    from msam import Objective
    from msam_bench.data import Dataset

_CHUNK = 2048

Found = tuple[str | None, str, float, float]
"""The modality that was present (None: all), `SCORE` or `TAU`, the value and its standard error."""


def scores(objective: Objective, dataset: Dataset) -> list[Found]:
    """Scores on the test split with their standard errors, and how far the training split's lies from it."""
    names = dataset.modalities
    masks = torch.cat([torch.ones(1, len(names)), torch.eye(len(names))[: len(names) if len(names) > 1 else 0]]).bool()
    (train, _), *_ = _worths(objective, dataset, "train", masks[:1])
    (test, error), *alone = _worths(objective, dataset, "test", masks)
    rows: list[Found] = [(None, SCORE, test, error), (None, TAU, overfitting_gap(train, test), math.nan)]
    return rows + [(name, SCORE, *one) for name, one in zip(names, alone, strict=False)]


def _worths(objective: Objective, dataset: Dataset, split: str, masks: Tensor) -> list[tuple[float, float]]:
    """Mean score of each coalition and its standard error."""
    part = dataset.splits[split]
    worth, parts = scoring(dataset).worth(part.target), []
    for start in range(0, len(part), _CHUNK):
        inputs, target = part.take(slice(start, start + _CHUNK))
        parts.append(worth(objective.coalition_logits(inputs, masks, "zero-input"), target))
    return [mean_and_error(row.tolist()) for row in torch.cat(parts, 1)]

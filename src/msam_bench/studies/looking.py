"""What a diagnosis looks at in a finished run beyond its summary: contributions in training, and probes of encoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from msam import Joint
from msam_bench.analysis.probing import probe
from msam_bench.runs.restore import restored
from msam_bench.training.evaluation import Evaluator
from msam_bench.training.loaders import SplitSet
from msam_bench.training.metrics import scoring

if TYPE_CHECKING:
    from torch import Tensor

    from msam import Objective
    from msam_bench.data import Split

_SAMPLES = 1024
"""Samples that are encoded at a time."""


@dataclass(frozen=True)
class Look:
    """What was seen.

    Args:
        contributions: modality -> Shapley value of the training score.
        probes: modality -> test score of a ridge regression on its frozen encoder.
    """

    contributions: dict[str, float]
    probes: dict[str, float]


def inspect_run(record: Any) -> Look:
    """Looks at the selected model of a run; at its own modality alone where it was trained on one."""
    objective, dataset = restored(record)
    own = record.config["method"]["params"].get("modality")
    names = dataset.modalities if own is None else (own,)
    seen = {name: _encoded(objective, split, names) for name, split in dataset.splits.items()}
    target = {name: split.target for name, split in dataset.splits.items()}
    probes = {
        name: probe({split: found[name] for split, found in seen.items()}, target, len(dataset.classes))
        for name in names
    }
    if own is not None:
        return Look({}, probes)
    score = scoring(dataset)
    backward = Joint().on(objective.model, score.criterion)
    evaluator = Evaluator(backward, score, {"train": SplitSet(dataset.splits["train"])}, dataset.modalities)
    return Look(evaluator.contributions("train"), probes)


def _encoded(objective: Objective, split: Split, names: tuple[str, ...]) -> dict[str, Tensor]:
    """The features of all samples, a part at a time: pictures of a whole split need not fit into memory."""
    starts = range(0, len(split), _SAMPLES)
    parts = [objective.features(split.take(slice(start, start + _SAMPLES))[0]) for start in starts]
    return {name: torch.cat([part[name] for part in parts]) for name in names}

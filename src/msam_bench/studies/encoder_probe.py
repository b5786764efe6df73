"""Probes of a finished run: contributions in training, and a ridge regression on each frozen encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from msam import Joint
from msam_bench.analysis.probing import probe_outputs
from msam_bench.metrics.sample_metrics import METRICS
from msam_bench.metrics.uncertainty import RunScores
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
class EncoderProbe:
    """Contributions and probe scores of one run.

    Args:
        contributions: modality -> Shapley value of the training score.
        probes: modality -> test score of a ridge regression on its frozen encoder, sample by sample where known.
    """

    contributions: dict[str, float]
    probes: dict[str, RunScores]


def inspect_run(record: Any) -> EncoderProbe:
    """Probes the selected model of a run; of its one modality alone where it was trained on one."""
    objective, dataset = restored(record)
    modality = record.config["method"]["params"].get("modality")
    names = dataset.modalities if modality is None else (modality,)
    seen = {name: _encoded(objective, split, names) for name, split in dataset.splits.items()}
    target = {name: split.target for name, split in dataset.splits.items()}
    test, metric = dataset.splits["test"], METRICS["accuracy" if dataset.classes else "r2"]
    about = (target["test"].numpy(), test.ids.numpy(), None if test.groups is None else test.groups.numpy())
    probes = {}
    for name in names:
        outputs = probe_outputs(
            {split: features[name] for split, features in seen.items()}, target, len(dataset.classes)
        )
        probes[name] = metric.run_scores(outputs.numpy(), *about)
    if modality is not None:
        return EncoderProbe({}, probes)
    score = scoring(dataset)
    backward = Joint().on(objective.model, score.criterion)
    evaluator = Evaluator(backward, score, {"train": SplitSet(dataset.splits["train"])}, dataset.modalities)
    return EncoderProbe(evaluator.contributions("train"), probes)


def _encoded(objective: Objective, split: Split, names: tuple[str, ...]) -> dict[str, Tensor]:
    """The features of all samples, a part at a time: pictures of a whole split need not fit into memory."""
    starts = range(0, len(split), _SAMPLES)
    parts = [objective.features(split.take(slice(start, start + _SAMPLES))[0]) for start in starts]
    return {name: torch.cat([part[name] for part in parts]) for name in names}

"""How flat the minima of finished runs are: every measure of `msam.sharpness`, of everything and of each modality.

    measurements = measured(record, Plan())           # kept in the run's folder, made once

A block is measured under the loss of all modalities; an encoder also under the loss of its modality alone. Accuracies
of the same weights stand beside.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msam_bench.analysis.flatness.measures import MEASURES, Plan
from msam_bench.files import write_whole
from msam_bench.runs.executor import in_order

if TYPE_CHECKING:
    from torch import Tensor

    from msam import Objective
    from msam.sharpness import Landscape
    from msam_bench.data import Dataset
    from msam_bench.runs.record import RunRecord

JOINT, ALONE = "all modalities", "alone"
"""Whose loss: that of all modalities together, or that of the block's own modality."""


@dataclass(frozen=True)
class Measurement:
    """One number of one run.

    Args:
        view: whose loss, `JOINT` or `ALONE`.
        block: `all`, a modality or `fusion`.
        measure: its name, a key of `MEASURES`, or `SCORE` or `TAU`.
        value: NaN where it could not be measured.
        error: standard error, or the residual of an eigenvalue; 0 for what is deterministic.
        note: why there is no value, or what to know of it.
    """

    view: str
    block: str
    measure: str
    value: float
    error: float
    note: str = ""


# ---- one run --------------------------------------------------------------------------------------------------------


def measured(record: RunRecord, plan: Plan, epoch: int | None = None) -> list[Measurement]:
    """All measurements of a finished run, from its folder if they are there; what is damaged there is measured again.

    Args:
        record: the run.
        plan: what is measured.
        epoch: at the weights after this epoch, of which there is a snapshot; at the selected ones if None.
    """
    path = record.folder / ("flatness.json" if epoch is None else f"flatness-{epoch:06}.json")
    wanted = asdict(plan)
    if kept := _kept(path, wanted):
        return kept
    from msam_bench.runs.restore import restored

    objective, dataset = restored(record, epoch)
    measurements = [_measure(*site, name, plan) for site in _sites(objective, dataset, plan) for name in MEASURES]
    measurements += _scores(objective, dataset)
    write_whole(
        path, json.dumps({"plan": wanted, "measurements": [_written(one) for one in measurements]}, indent=1) + "\n"
    )
    return measurements


def measure_all(
    records: Sequence[RunRecord],
    plan: Plan,
    executor: Executor,
    watch: Callable[[int, int], None] = lambda done, total: None,
    epochs: Mapping[Path, int] | None = None,
) -> dict[Path, list[Measurement]]:
    """Measurements of many runs, by folder.

    Args:
        records: finished runs.
        plan: what is measured.
        executor: measures one run a job.
        watch: called with (done, all runs).
        epochs: at the weights of which epoch of each run, by folder; at the selected ones if None.
    """
    when = epochs or {}
    jobs = [executor.submit(measured, record, plan, when.get(record.folder)) for record in records]
    return {
        record.folder: measurements
        for record, measurements in zip(records, in_order(jobs, executor, watch), strict=True)
    }


def batches(
    record: RunRecord, samples: int, seed: int, epoch: int | None = None
) -> tuple[Objective, list[tuple[dict[str, Tensor], Tensor]]]:
    """The model of a run (see `restored`), and the part of its training split that is measured on, as one batch."""
    from msam_bench.runs.restore import restored

    objective, dataset = restored(record, epoch)
    return objective, _drawn(dataset, samples, seed)


def _drawn(dataset: Dataset, samples: int, seed: int) -> list[tuple[dict[str, Tensor], Tensor]]:
    import torch

    part = dataset.splits["train"]
    return [part.take(torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))[:samples])]


def _sites(objective: Objective, dataset: Dataset, plan: Plan) -> Iterator[tuple[str, str, Landscape]]:
    from msam.sharpness import Landscape

    data = _drawn(dataset, plan.samples, plan.seed)
    for block in (None, *objective.encoders, "fusion"):
        yield JOINT, block or "all", Landscape(objective, data, block=block, seed=plan.seed)
    for name in objective.encoders:
        yield ALONE, name, Landscape(objective, data, block=name, coalition=name, seed=plan.seed)


def _scores(objective: Objective, dataset: Dataset) -> Iterator[Measurement]:
    from msam_bench.analysis.flatness.scores import scores

    for present, name, value, error in scores(objective, dataset):
        yield Measurement(JOINT if present is None else ALONE, present or "all", name, value, error)


def _measure(view: str, block: str, landscape: Landscape, name: str, plan: Plan) -> Measurement:
    try:
        return Measurement(view, block, name, *MEASURES[name][1](landscape, plan))
    except ValueError as error:
        return Measurement(view, block, name, math.nan, math.nan, str(error))


def _written(one: Measurement) -> dict[str, Any]:
    numbers = {"value": one.value, "error": one.error}
    return asdict(one) | {name: number if math.isfinite(number) else None for name, number in numbers.items()}


def _kept(path: Path, wanted: dict[str, Any]) -> list[Measurement]:
    """What was measured before by this plan; nothing if the file is of another, or damaged."""
    try:
        kept = json.loads(path.read_text())
        return [_read(row) for row in kept["measurements"]] if kept["plan"] == wanted else []
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return []


def _read(row: dict[str, Any]) -> Measurement:
    numbers = {name: math.nan if row[name] is None else float(row[name]) for name in ("value", "error")}
    measurement = Measurement(**{**row, **numbers})
    if not all(
        isinstance(text, str) for text in (measurement.view, measurement.block, measurement.measure, measurement.note)
    ):
        raise TypeError(f"Expected words and numbers, found {row}.")
    return measurement

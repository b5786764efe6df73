"""At equal training loss: the epoch of each run at which its loss is the lowest that all methods of its seed reach.

epochs = matched(records, plan, executor)          # folder -> epoch, of runs that kept snapshots

A lower loss is flatter whatever the weights, so methods that end at different losses say little about each other. What
this does not make equal is the learning rate: a method that is fast is met earlier in its schedule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.analysis.flatness.measurement import batches
from msam_bench.analysis.flatness.measures import Plan
from msam_bench.runs.executor import in_order

if TYPE_CHECKING:
    from msam_bench.runs.record import RunRecord


def matched(
    records: Sequence[RunRecord],
    plan: Plan,
    executor: Executor,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> dict[Path, int]:
    """The epoch of each run, by folder.

    Raises:
        ValueError: if a run kept no snapshots, or has none with a finite loss.
    """
    traces = in_order([executor.submit(losses, record, plan) for record in records], executor, watch)
    levels: dict[int, float] = {}
    for record, trace in zip(records, traces, strict=True):
        levels[record.seed] = max(levels.get(record.seed, -math.inf), min(trace.values()))
    return {record.folder: _at(trace, levels[record.seed]) for record, trace in zip(records, traces, strict=True)}


def losses(record: RunRecord, plan: Plan) -> dict[int, float]:
    """Training loss after each epoch that has a snapshot, in evaluation mode, on the samples that are measured."""
    from msam.sharpness import Landscape
    from msam_bench.runs import snapshots

    objective, data = batches(record, plan.samples, plan.seed)
    landscape, by_epoch = Landscape(objective, data, seed=plan.seed), {}
    for epoch in snapshots.epochs(record.folder):
        objective.bare.load_state_dict(snapshots.load(record.folder, epoch))
        by_epoch[epoch] = landscape.loss()
    finite = {epoch: loss for epoch, loss in by_epoch.items() if math.isfinite(loss)}
    if not finite:
        raise ValueError(f"Expected snapshots of {record.folder}, found none with a finite loss; train with snapshots.")
    return finite


def _at(losses: Mapping[int, float], level: float) -> int:
    """The first epoch at or below the level, or the one before, whichever is nearer by ratio."""
    first = next(epoch for epoch in sorted(losses) if losses[epoch] <= level)
    before = max((epoch for epoch in losses if epoch < first), default=first)
    return min((first, before), key=lambda epoch: abs(math.log(max(losses[epoch], 1e-300) / max(level, 1e-300))))

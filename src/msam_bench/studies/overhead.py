"""What do Shapley values cost? Steps with and without them, by the number of modalities, batch size and model size.

This study trains nothing; each call measures again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msam_bench.config.run import RunConfig
from msam_bench.reporting.figures import Figure
from msam_bench.reporting.figures.curve_plot import Points, curve
from msam_bench.reporting.figures.drawing import Axes
from msam_bench.reporting.result import Result
from msam_bench.reporting.table import Table
from msam_bench.runs.record import RunRecord
from msam_bench.studies.base import Bench, Request, Study
from msam_bench.studies.instruments.steps import AGAIN, BARE, PLAIN, SAM_, VALUED, Measured, Setting, measured

AXES = {"modalities": "modalities", "batch": "batch size", "width": "width"}
"""What is varied -> its title."""
MIB = 2**20
OPTIONS: dict[str, Any] = {
    "modalities": (2, 4, 8, 16, 32),
    "batches": (16, 64, 256),
    "widths": (64, 256, 1024),
    "rounds": 15,
}
"""What is varied, and how often each step is timed."""


@dataclass(frozen=True)
class StepMeasurements:
    """Costs of steps on a data set, one entry a setting."""

    data: str
    settings: Sequence[Measured]


def settings(
    fusions: Sequence[str], modalities: Sequence[int], batches: Sequence[int], widths: Sequence[int]
) -> list[Setting]:
    """Every setting; one quantity is varied at a time."""
    values = {"modalities": modalities, "batch": batches, "width": widths}
    return [
        Setting(axis, fusion, **{axis: value}) for axis in AXES for fusion in fusions for value in sorted(values[axis])
    ]


def plan(request: Request) -> list[RunConfig]:
    """No runs."""
    return []


def measure(records: Sequence[RunRecord], request: Request, bench: Bench) -> StepMeasurements:
    """Times the steps of every setting, one after the other in this process."""
    fusions = ("late", "early") if request.fusion == "both" else (request.fusion,)
    options = {**OPTIONS, **request.options}
    sizes = (options[key] for key in ("modalities", "batches", "widths"))
    todo, done = settings(fusions, *sizes), []
    with bench.counting("settings") as watch:
        for count, setting in enumerate(todo, 1):
            bench.seed(0)
            done.append(measured(request.data[0], setting, options["rounds"]))
            watch(count, len(todo))
    return StepMeasurements(request.data[0], done)


def conclude(measurements: StepMeasurements) -> Result:
    """Tables, figures and words."""
    by_axis = {axis: [one for one in measurements.settings if one.setting.axis == axis] for axis in AXES}
    by_axis = {axis: steps for axis, steps in by_axis.items() if steps}
    return Result(
        "overhead",
        STUDY.question,
        _answer(measurements),
        [_detail(axis, steps) for axis, steps in by_axis.items()],
        [_costs(axis, steps) for axis, steps in by_axis.items()],
        {f"Cost by {AXES[axis]}": _figures(axis, steps) for axis, steps in by_axis.items()},
    )


def _by_fusion(steps: Sequence[Measured]) -> dict[str, list[Measured]]:
    names = dict.fromkeys(one.setting.fusion for one in steps)
    return {name: [one for one in steps if one.setting.fusion == name] for name in names}


# ---- words ----------------------------------------------------------------------------------------------------------


def _answer(measurements: StepMeasurements) -> str:
    steps = measurements.settings
    times = [
        f"{_span([one.added for one in group])} with {fusion} fusion" for fusion, group in _by_fusion(steps).items()
    ]
    held = [(one.costs[VALUED].memory - one.costs[BARE].memory) / MIB for one in steps]
    noise = max(abs(one.costs[AGAIN].ratio - 1) for one in steps)
    return (
        f"On {measurements.data}, Shapley values add to a step of M-SAM, in joint steps: {', '.join(times)}. At "
        f"its peak a step holds {_span(held)} MiB more. The medians of one step measured twice differ by up to "
        f"{noise:.2f}, so less than that is noise."
    )


def _span(values: Sequence[float], digits: int = 2) -> str:
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def _detail(axis: str, steps: Sequence[Measured]) -> str:
    """The two ends of an axis."""
    parts = []
    for fusion, group in _by_fusion(steps).items():
        ends = [
            f"{one.added:.2f} at {one.setting.value} (M-SAM {one.costs[VALUED].ratio:.2f}, "
            f"SAM {one.costs[SAM_].ratio:.2f})"
            for one in (group[0], group[-1])
        ]
        parts.append(f"{fusion} fusion, {' and '.join(dict.fromkeys(ends))}")
    return f"Values add, by {AXES[axis]}: {'; '.join(parts)}."


# ---- tables and figures ---------------------------------------------------------------------------------------------


def _costs(axis: str, steps: Sequence[Measured]) -> Table:
    rows = [
        {
            AXES[axis]: one.setting.value,
            "fusion": one.setting.fusion,
            "weights": one.weights,
            "step": name,
            "ms": 1000 * cost.seconds,
            "ratio": cost.ratio,
            "quartile 1": cost.low,
            "quartile 3": cost.high,
            "peak MiB": cost.memory / MIB,
            "s an epoch": cost.seconds * one.epoch,
        }
        for one in steps
        for name, cost in one.costs.items()
    ]
    return Table(f"Seconds and memory by {AXES[axis]}", rows, _DIGITS, _CAPTION)


_DIGITS = {"ms": 3, "ratio": 2, "quartile 1": 2, "quartile 3": 2, "peak MiB": 2, "s an epoch": 3}
_CAPTION = (
    "ms: processor time of one step on one thread, median over rounds that make every step once, in an order of their "
    "own; ratio: to joint training in the same round, median and quartiles; joint again: the same step under another "
    "name, whose distance from 1 is noise; msam without values: equal shares, no coalition valued; peak: most that a "
    "step allocates at a time beyond the weights, from the allocator's record; an epoch: a step's time, times the "
    "training samples over the batch size, without evaluation. What is not varied is the data set's own."
)


def _figures(axis: str, steps: Sequence[Measured]) -> list[Figure]:
    figures = []
    for fusion, group in _by_fusion(steps).items():
        time: dict[str, Points] = {}
        memory: dict[str, Points] = {}
        for name in group[0].costs:
            costs = [(float(one.setting.value), one.costs[name]) for one in group]
            if name != PLAIN:
                time[name] = [(value, cost.ratio, cost.low, cost.high) for value, cost in costs]
            if name != AGAIN:
                held = [(value, cost.memory / MIB) for value, cost in costs]
                memory[name] = [(value, peak, peak, peak) for value, peak in held]
        x, names = AXES[axis].capitalize(), [*group[0].costs]
        for title, shown, y, log in (("Time", time, "Joint steps", "x"), ("Memory", memory, "Peak (MiB)", "xy")):
            axes = Axes(x, y, digits=2)
            figures.append(curve(f"{title} of a step, {fusion} fusion", shown, axes, log, names=names))
    return figures


STUDY = Study(
    "overhead",
    "What do Shapley values cost, in seconds and memory, of a step and of an epoch?",
    plan,
    conclude,
    measure,
)

"""What do Shapley values cost? Steps with and without them, by the number of modalities, batch size and model size.

    found = [measured("digits6", setting, rounds=15) for setting in plan(("late", "early"))]
    conclude("digits6", found).answer

The one study that trains nothing: it measures, and measures again when it is asked again.
"""

from __future__ import annotations

from collections.abc import Sequence

from msam_bench.reporting.figures import Figure
from msam_bench.reporting.figures.curve_plot import Points, curve
from msam_bench.reporting.figures.drawing import Axes
from msam_bench.reporting.result import Result, Sheet
from msam_bench.studies.instruments.steps import AGAIN, BARE, PLAIN, SAM_, VALUED, Measured, Setting

QUESTION = "What do Shapley values cost, in seconds and memory, of a step and of an epoch?"
AXES = {"modalities": "modalities", "batch": "batch size", "width": "width"}
"""What is varied -> what it is called."""
MIB = 2**20


def plan(
    fusions: Sequence[str],
    modalities: Sequence[int] = (2, 4, 8, 16, 32),
    batches: Sequence[int] = (16, 64, 256),
    widths: Sequence[int] = (64, 256, 1024),
) -> list[Setting]:
    """Every setting; one quantity is varied at a time."""
    values = {"modalities": modalities, "batch": batches, "width": widths}
    return [
        Setting(axis, fusion, **{axis: value}) for axis in AXES for fusion in fusions for value in sorted(values[axis])
    ]


def conclude(data: str, found: Sequence[Measured]) -> Result:
    """Tables, figures and words."""
    by_axis = {axis: [one for one in found if one.setting.axis == axis] for axis in AXES}
    by_axis = {axis: own for axis, own in by_axis.items() if own}
    return Result(
        "overhead",
        QUESTION,
        _answer(data, found),
        [_detail(axis, own) for axis, own in by_axis.items()],
        [_sheet(axis, own) for axis, own in by_axis.items()],
        {f"Cost by {AXES[axis]}": _figures(axis, own) for axis, own in by_axis.items()},
    )


def _by_fusion(found: Sequence[Measured]) -> dict[str, list[Measured]]:
    names = dict.fromkeys(one.setting.fusion for one in found)
    return {name: [one for one in found if one.setting.fusion == name] for name in names}


# ---- words ----------------------------------------------------------------------------------------------------------


def _answer(data: str, found: Sequence[Measured]) -> str:
    times = [f"{_span([one.added for one in own])} with {fusion} fusion" for fusion, own in _by_fusion(found).items()]
    held = [(one.costs[VALUED].memory - one.costs[BARE].memory) / MIB for one in found]
    noise = max(abs(one.costs[AGAIN].ratio - 1) for one in found)
    return (
        f"On {data}, Shapley values add to a step of M-SAM, in joint steps: {', '.join(times)}. At its peak "
        f"a step holds {_span(held)} MiB more. The medians of one step measured twice differ by up to {noise:.2f}, so "
        "less than that is noise."
    )


def _span(values: Sequence[float], digits: int = 2) -> str:
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def _detail(axis: str, found: Sequence[Measured]) -> str:
    """The two ends of an axis."""
    parts = []
    for fusion, own in _by_fusion(found).items():
        ends = [
            f"{one.added:.2f} at {one.setting.value} (M-SAM {one.costs[VALUED].ratio:.2f}, "
            f"SAM {one.costs[SAM_].ratio:.2f})"
            for one in (own[0], own[-1])
        ]
        parts.append(f"{fusion} fusion, {' and '.join(dict.fromkeys(ends))}")
    return f"Values add, by {AXES[axis]}: {'; '.join(parts)}."


# ---- tables and figures ---------------------------------------------------------------------------------------------


def _sheet(axis: str, found: Sequence[Measured]) -> Sheet:
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
        for one in found
        for name, cost in one.costs.items()
    ]
    return Sheet(f"Seconds and memory by {AXES[axis]}", rows, _DIGITS, _CAPTION)


_DIGITS = {"ms": 3, "ratio": 2, "quartile 1": 2, "quartile 3": 2, "peak MiB": 2, "s an epoch": 3}
_CAPTION = (
    "ms: processor time of one step on one thread, median over rounds that make every step once, in an order of their "
    "own; ratio: to joint training in the same round, median and quartiles; joint again: the same step under another "
    "name, whose distance from 1 is noise; msam without values: equal shares, no coalition valued; peak: most that a "
    "step allocates at a time beyond the weights, from the allocator's record; an epoch: a step's time, times the "
    "training samples over the batch size, without evaluation. What is not varied is the data set's own."
)


def _figures(axis: str, found: Sequence[Measured]) -> list[Figure]:
    figures = []
    for fusion, own in _by_fusion(found).items():
        time: dict[str, Points] = {}
        memory: dict[str, Points] = {}
        for name in own[0].costs:
            costs = [(float(one.setting.value), one.costs[name]) for one in own]
            if name != PLAIN:
                time[name] = [(value, cost.ratio, cost.low, cost.high) for value, cost in costs]
            if name != AGAIN:
                held = [(value, cost.memory / MIB) for value, cost in costs]
                memory[name] = [(value, peak, peak, peak) for value, peak in held]
        x, names = AXES[axis].capitalize(), [*own[0].costs]
        for title, shown, y, log in (("Time", time, "Joint steps", "x"), ("Memory", memory, "Peak (MiB)", "xy")):
            axes = Axes(x, y, digits=2)
            figures.append(curve(f"{title} of a step, {fusion} fusion", shown, axes, log, names=names))
    return figures

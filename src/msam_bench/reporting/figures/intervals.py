"""Means with their 95 % intervals, a row each, beside a line at no difference.

rows = [interval("msam", "msam", comparison, lambda value: 100 * value)]
intervals("Difference to joint", rows, methods, "Difference (points)", "Points, with 95 % intervals: ...")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msam_bench.analysis.statistics import Comparison
from msam_bench.reporting.figures.drawing import TICKS, Figure, base_chart, colour, finished, shape
from msam_bench.reporting.figures.palette import INK, SeriesStyle

_IN_LINES: dict[str, Any] = {
    "labelExpr": "split(replace(datum.label, ' (', ':('), ':')",
    "labelLimit": 200,
    "labelLineHeight": 13,
}
"""A condition's name in lines: the method, and under it each of its settings, which alone may tell it from the next."""
_SPAN = 1.05
"""Room of a logarithmic axis beyond its outermost values, as a factor."""


def interval(method: str, row: str, comparison: Comparison, scale: Callable[[float], float]) -> dict[str, Any]:
    """Gives one row: the mean and both ends of the interval, which are the mean where there is no interval."""
    low, high = comparison.low, comparison.high
    ends = (comparison.difference if end is None else end for end in (comparison.difference, low, high))
    return {"g": method, "r": row, **dict(zip(("y", "lo", "hi"), map(scale, ends), strict=True))}


def intervals(
    title: str,
    rows: Sequence[dict[str, Any]],
    methods: Sequence[SeriesStyle],
    unit: str,
    alt_text: str,
    ratio: bool = False,
    name: str = "",
) -> Figure:
    """Draws rows of means with their intervals.

    Args:
        title: of the figure.
        rows: see `interval`; those with a false `differs` are drawn hollow.
        methods: the styles of the methods.
        unit: title of the axis.
        alt_text: the figure in words.
        ratio: whether values are ratios, on a logarithmic axis with the line at one.
        name: of the figure's files.
    """
    import altair as alt

    names = [row["r"] for row in rows]
    base = base_chart().encode(alt.Y("r:N", sort=names, title=None).axis(grid=True, **_IN_LINES), colour(methods))
    x = alt.X("y:Q", title=unit).scale(**_scale(rows, ratio)).axis(tickCount=alt.ExprRef(TICKS))
    rule = base_chart().mark_rule(color=INK, opacity=0.6, strokeDash=[3, 3]).encode(x=alt.datum(1 if ratio else 0))
    bars = base.mark_rule(strokeWidth=2).encode(alt.X("lo:Q"), alt.X2("hi:Q"))
    quantity, digits = ("ratio", ".2f") if ratio else ("difference", "+.2f")
    tips = [alt.Tooltip("g:N", title="method", format="")]
    tips += [
        alt.Tooltip(f"{key}:Q", title=t, format=digits) for key, t in (("y", quantity), ("lo", "low"), ("hi", "high"))
    ]
    encoding: dict[str, Any] = {"tooltip": tips}
    if any("differs" in row for row in rows):
        encoding["fillOpacity"] = alt.when(alt.datum.differs).then(alt.value(1)).otherwise(alt.value(0))
    points = base.mark_point(filled=not ratio, size=90, opacity=1).encode(x, shape(methods), **encoding)
    return Figure(title, finished(rows, 34 * len(rows) + 20, rule, bars, points), alt_text, name=name)


def _scale(rows: Sequence[dict[str, Any]], ratio: bool) -> dict[str, Any]:
    if not ratio:
        return {"padding": 12}
    low, high = min(row["lo"] for row in rows), max(row["hi"] for row in rows)
    return {"type": "log", "nice": False, "domain": (min(low, 1.0) / _SPAN, max(high, 1.0) * _SPAN)}

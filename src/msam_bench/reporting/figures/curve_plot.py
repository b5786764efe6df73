"""Curves of one quantity against another, with intervals; either axis may be logarithmic.

curve("Accuracy against rho", {"sam": [(0.05, 96.1, 95.8, 96.4)]}, Axes("rho", "Test accuracy (%)"), log="x")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msam_bench.reporting.figures import Figure, series_styles
from msam_bench.reporting.figures.drawing import TICKS, Axes, base_chart, colour, dash, finished, shape, span

if TYPE_CHECKING:
    import altair as alt

_ROOM = 0.04
"""Of a logarithmic axis, beyond each end of the values."""
INK_FOR = "joint"
"""The series that is drawn in the text's colour, as reports draw the reference."""
MOST_TICKS = 10
Points = Sequence[tuple[float, float, float, float]]
"""x, y, and both ends of the interval of y."""


def curve(
    title: str,
    series: Mapping[str, Points],
    axes: Axes,
    log: str = "",
    joined: bool = True,
    names: Sequence[str] = (),
) -> Figure:
    """Draws each series as points with their intervals, joined by lines in the order of x.

    Args:
        title: of the figure.
        series: name -> points.
        axes: titles, digits.
        log: "x", "y", "xy" or "".
        joined: whether neighbours are joined.
        names: all that the page draws, so that a name has the same style in each figure; those of `series` if empty.
    """
    import altair as alt

    drawn = [style for style in series_styles(names or series, reference=INK_FOR) if style.name in series]
    rows = _rows(series)
    x = alt.X("x:Q", title=axes.x).scale(_scale([row["x"] for row in rows], "x" in log, nice=False))
    y = alt.Y("y:Q", title=axes.y).scale(_scale([row[key] for row in rows for key in ("y", "lo", "hi")], "y" in log))
    base = base_chart().encode(x.axis(**_ticks(rows, "x" in log)), colour(drawn))
    tips = [alt.Tooltip("g:N", title="name"), alt.Tooltip("x:Q", title=axes.x), alt.Tooltip("y:Q", title=axes.y)]
    bars = base.mark_rule(strokeWidth=1, opacity=0.6).encode(alt.Y("lo:Q"), alt.Y2("hi:Q"))
    points = base.mark_point(filled=True, size=60, opacity=1).encode(y, shape(drawn), tooltip=tips)
    layers = [bars, points]
    if joined:
        layers.insert(0, base.mark_line(strokeWidth=2).encode(y, dash(drawn)))
    return Figure(title, finished(rows, 300, *layers), _describe(series, axes), *_numbers(series, axes), tuple(drawn))


def _ticks(rows: Sequence[Mapping[str, Any]], log: bool) -> dict[str, Any]:
    """A logarithmic axis has its ticks where the points are, unless they are many."""
    import altair as alt

    if not log:
        return {"tickCount": alt.ExprRef(TICKS)}
    places = sorted({row["x"] for row in rows})
    return {"format": "~g", "labelOverlap": "greedy", **({"values": places} if len(places) <= MOST_TICKS else {})}


def _scale(values: Sequence[float], log: bool, nice: bool = True) -> alt.Scale:
    """An axis around the values; a logarithmic one ends near them, not at the next power of ten."""
    import altair as alt

    positive = [value for value in values if value > 0]
    if not log or not positive:
        room = 0 if nice else 12
        return alt.Scale(zero=False, nice=nice, padding=room, domain=span(values))
    least, most = min(positive), max(positive)
    room = max((most / least) ** _ROOM, 1.02)
    return alt.Scale(type="log", domain=(least / room, most * room), nice=False)


def _rows(series: Mapping[str, Points]) -> list[dict[str, Any]]:
    return [
        {"g": name, "x": x, **{key: float(f"{v:.5g}") for key, v in (("y", y), ("lo", low), ("hi", high))}}
        for name, points in series.items()
        for x, y, low, high in points
    ]


def _describe(series: Mapping[str, Points], axes: Axes) -> str:
    """The highest point of each series, in words."""
    tops = {name: max(points, key=lambda point: point[1]) for name, points in series.items() if points}
    texts = [f"{name} {top[1]:.{axes.digits}f} at {top[0]:g}" for name, top in tops.items()]
    return f"Highest {axes.y}: {', '.join(texts)}."


def _numbers(series: Mapping[str, Points], axes: Axes) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    places = sorted({point[0] for points in series.values() for point in points})
    numbers = {name: {p[0]: f"{p[1]:.{axes.digits}f}" for p in points} for name, points in series.items()}
    rows = tuple((name, *(numbers[name].get(place, "–") for place in places)) for name in series)
    return (axes.x, *(f"{place:g}" for place in places)), rows

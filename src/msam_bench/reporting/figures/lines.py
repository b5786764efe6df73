"""Lines over epochs, with a band each where all are in colour.

lines("Overfitting gap", curves(groups, "tau"), methods, Axes("Epoch", "tau (ratio)", digits=3))
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msam_bench.reporting.figures.curves import Series
from msam_bench.reporting.figures.drawing import TICKS, Axes, Figure, base_chart, colour, dash, finished, span
from msam_bench.reporting.figures.highlight import BOLD, MOST, highlight_top
from msam_bench.reporting.figures.palette import INK, SeriesStyle


def lines(title: str, series: Mapping[str, Series], drawn: Sequence[SeriesStyle], axes: Axes) -> Figure:
    """Draws lines over epochs: few with bands of one standard deviation, of many the first in rank in colour."""
    import altair as alt

    drawn = [style for style in drawn if style.name in series]
    banded = len(drawn) <= MOST
    rows = _rows(series, banded)
    epochs, ends = [row["x"] for row in rows], [row[key] for row in rows for key in ("y", "lo", "hi") if key in row]
    single = min(epochs) == max(epochs)
    x = alt.X("x:Q", title=axes.x).scale(nice=False, zero=False, domain=span(epochs))
    kind: dict[str, Any] = {"zero": False, "nice": axes.domain is None, "domain": axes.domain or span(ends)}
    if axes.log and min(ends) > 0:
        kind = {"type": "log", "nice": False, "domain": span(ends)}
    low, y = (alt.Y(f"{end}:Q", title=axes.y).scale(alt.Scale(**kind)) for end in ("lo", "y"))
    place = base_chart().encode(x.axis(tickMinStep=1, format="d", tickCount=alt.ExprRef(TICKS)))
    base = place.transform_filter(BOLD).encode(colour(drawn))
    tips = [alt.Tooltip("g:N", title="name"), alt.Tooltip("x:Q", title="epoch"), alt.Tooltip("y:Q", title="mean")]
    point = alt.OverlayMarkDef(opacity=1 if single else 0, size=70) if single or len(rows) <= 1000 else False
    grey = place.transform_filter(f"!({BOLD})").mark_line(strokeWidth=1, opacity=0.3, color=INK, point=point)
    line = base.mark_line(strokeWidth=2, point=point).encode(y, dash(drawn), tooltip=tips)
    layers: list[alt.Chart] = [grey.encode(y, alt.Detail("g:N"), tooltip=tips), line]
    if banded:
        layers.insert(1, base.mark_area(opacity=0.11).encode(low, alt.Y2("hi:Q")))
    last = [f"{style.name} {series[style.name].points[-1][1]:.{axes.digits}f}" for style in drawn]
    text = f"{axes.y} at the last epoch: {', '.join(last)}."
    spec = finished(rows, 260, *layers)
    return highlight_top([Figure(title, spec, text, *_milestones(series, axes.digits), tuple(drawn))])[0]


def _rows(series: Mapping[str, Series], banded: bool) -> list[dict[str, Any]]:
    """Gives the rows of all lines, with the ends of their bands where bands are drawn."""
    return [
        {"g": name, "x": x, "y": round(y, 4), **({"lo": round(lo, 4), "hi": round(hi, 4)} if banded else {})}
        for name, s in series.items()
        for x, y, lo, hi in s.points
    ]


def _milestones(series: Mapping[str, Series], digits: int) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Gives the means at up to seven epochs, evenly spread, as a table."""
    epochs = sorted({p[0] for s in series.values() for p in s.points})
    chosen = [epochs[round(i * (len(epochs) - 1) / 6)] for i in range(7)] if len(epochs) > 7 else epochs
    means = {name: {p[0]: f"{p[1]:.{digits}f}" for p in s.points} for name, s in series.items()}
    rows = tuple((name, *(means[name].get(epoch, "–") for epoch in chosen)) for name in series)
    return ("epoch", *(f"{epoch:g}" for epoch in chosen)), rows

"""Heat maps: rows by columns as colours, with the numbers in the cells.

cells = [("audio", "msam", 71.2), ("image", "msam", 93.5)]  # row, column, value
heat("1 modality alone", cells, ["audio", "image"], ["msam"], Axes("", "", unit=" %"), "The highest is ...")
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msam_bench.reporting.charts.drawing import Axes, Figure, base_chart, finished

if TYPE_CHECKING:
    import altair as alt


def heat(
    title: str,
    cells: Sequence[tuple[str, str, float]],
    rows: Sequence[str],
    columns: Sequence[str],
    axes: Axes,
    text: str,
    below: bool = False,
) -> Figure:
    """Draws rows by columns as colours, with the numbers in the cells where there is room for them."""
    import altair as alt

    data = [{"r": r, "c": c, "v": round(v, 3)} for r, c, v in cells]
    low, high = axes.domain or value_range(cells)
    ticks = {"values": columns[:: math.ceil(len(columns) / 8)], "labelAngle": 0} if below else {"labelAngle": -40}
    x_axis = alt.Axis(title=axes.x or None, orient="bottom" if below else "top", labelOverlap=False, **ticks)
    base = base_chart().encode(
        alt.X("c:O", sort=columns, axis=x_axis), alt.Y("r:N", sort=rows, title=axes.y or None).axis(labelLimit=180)
    )
    colour = alt.Color("v:Q", legend=None).scale(alt.Scale(scheme="viridis", domain=(low, high)))
    tips = [alt.Tooltip("r:N", title="row"), alt.Tooltip("c:N", title="column"), alt.Tooltip("v:Q", title="value")]
    layers: list[alt.Chart] = [base.mark_rect().encode(colour, tooltip=tips)]
    if not below:
        layers.append(_cell_text(base, len(columns), low + 0.6 * (high - low), axes.digits))
    found = {(r, c): f"{v:.{axes.digits}f}" for r, c, v in cells}
    numbers = tuple((r, *(found.get((r, c), "–") for c in columns)) for r in rows)
    ends = (f"{low:.{axes.digits}f}{axes.unit}", f"{high:.{axes.digits}f}{axes.unit}")
    spec = finished(data, 20 * len(rows), *layers) | {
        "padding": {"left": 5, "top": 5, "bottom": 5, "right": 5 if below else 4 * len(columns[-1])}
    }
    return Figure(title, spec, text, ("", *columns), () if below else numbers, range=ends)


def _cell_text(base: "alt.Chart", columns: int, bright: float, digits: int) -> "alt.Chart":
    """Writes the numbers into the cells: black on bright ones, none at all where cells are narrower than a number."""
    import altair as alt

    room = alt.ExprRef(f"width < {26 * columns} ? 0 : 1")
    ink = alt.when(alt.datum.v > bright).then(alt.value("black")).otherwise(alt.value("white"))
    text: alt.Chart = base.mark_text(fontSize=11, opacity=room).encode(alt.Text("v:Q", format=f".{digits}f"), color=ink)
    return text


def value_range(cells: Sequence[tuple[str, str, float]]) -> tuple[float, float]:
    """Gives both ends of the colour scale that holds all values; they always differ."""
    values = [cell[2] for cell in cells]
    return min(values), max(*values, min(values) + 1e-6)

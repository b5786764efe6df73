"""Heat maps: rows by columns as colours, with the numbers in the cells.

cells = [("audio", "msam", 71.2), ("image", "msam", 93.5)]  # row, column, value
heat("1 modality alone", cells, ["audio", "image"], ["msam"], Axes("", "", unit=" %"), "The highest is ...")
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msam_bench.reporting.figures.drawing import Axes, Figure, base_chart, finished

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
    step = math.ceil(len(columns) / 8)
    slanted = not below and sum(map(len, columns)) > 24
    ticks: dict[str, Any] = {
        "labelAngle": -40 if slanted else 0,
        **({"values": columns[step - 1 :: step]} if below else {}),
    }
    x_axis = alt.Axis(title=axes.x or None, orient="bottom" if below else "top", labelOverlap=False, **ticks)
    base = base_chart().encode(
        alt.X("c:O", sort=columns, axis=x_axis), alt.Y("r:N", sort=rows, title=axes.y or None).axis(labelLimit=180)
    )
    colour = alt.Color("v:Q", legend=None).scale(alt.Scale(scheme="viridis", domain=(low, high)))
    tips = [alt.Tooltip("r:N", title="row"), alt.Tooltip("c:N", title="column"), alt.Tooltip("v:Q", title="value")]
    layers: list[alt.Chart] = [base.mark_rect().encode(colour, tooltip=tips)]
    if not below:
        layers.append(_numbers(base, len(columns), low + 0.6 * (high - low), axes.digits))
    texts = {(r, c): f"{v:.{axes.digits}f}" for r, c, v in cells}
    numbers = tuple((r, *(texts.get((r, c), "–") for c in columns)) for r in rows)
    ends = (f"{low:.{axes.digits}f}{axes.unit}", f"{high:.{axes.digits}f}{axes.unit}")
    beyond = 8 + 4 * len(columns[-1]) if slanted else 5  # what the last title needs at the right
    spec = finished(data, 20 * len(rows), *layers) | {"padding": {"left": 5, "top": 5, "bottom": 5, "right": beyond}}
    narrowest = 0 if below else 8 * max(map(len, rows)) + _COLUMN * len(columns) + beyond
    return Figure(title, spec, text, ("", *columns), () if below else numbers, range=ends, narrowest=narrowest)


_COLUMN = 20
"""Pixels between slanted titles that do not touch."""


def _numbers(base: "alt.Chart", columns: int, bright: float, digits: int) -> "alt.Chart":
    """Writes the numbers into the cells: black on bright ones, none at all where cells are narrower than a number."""
    import altair as alt

    ink = alt.when(alt.datum.v > bright).then(alt.value("black")).otherwise(alt.value("white"))
    roomy = base.transform_filter(f"width >= {26 * columns}")
    text: alt.Chart = roomy.mark_text(fontSize=11).encode(alt.Text("v:Q", format=f".{digits}f"), color=ink)
    return text


def value_range(cells: Sequence[tuple[str, str, float]]) -> tuple[float, float]:
    """Gives both ends of the colour scale that holds all values; they always differ."""
    values = [cell[2] for cell in cells]
    return min(values), max(*values, min(values) + 1e-6)

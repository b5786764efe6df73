"""Parts of Vega-Lite figures: base chart, axes, channels, and the finished specification.

Text and axes are drawn in `currentColor`, so that the page decides between light, dark and print.

    points = base_chart().mark_point().encode(x, y, colour(methods), shape(methods))
    Figure(title, finished(rows, 300, points), alt)

Importing this module is cheap: altair is imported when a figure is drawn.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msam_bench.reporting.figures.palette import INK, SeriesStyle

if TYPE_CHECKING:
    import altair as alt

_AXIS = dict.fromkeys(("labelColor", "titleColor", "domainColor", "tickColor", "gridColor"), INK) | {
    "gridOpacity": 0.14,
    "domainOpacity": 0.5,
    "tickOpacity": 0.5,
    "labelFontSize": 12,
    "titleFontSize": 12,
    "titleFontWeight": "normal",
    "titlePadding": 8,
    "labelLimit": 150,
    "labelFlush": False,
}
TICKS = "ceil(width / 90)"  # as many as there is room for, on a phone too
_CONFIG: dict[str, Any] = {
    "font": "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif",
    "background": "transparent",
    "aria": False,  # the figure carries its own text alternative
    "axis": _AXIS,
    "view": {"stroke": None},
}


@dataclass(frozen=True)
class Figure:
    """A figure: its title, its specification or its SVG, what it shows in words, and its numbers as a table."""

    title: str
    spec: dict[str, Any]
    alt: str
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    drawn: tuple[SeriesStyle, ...] = ()  # what a legend must explain
    bold: tuple[str, ...] = ()  # the names that stand out
    range: tuple[str, str] | None = None  # both ends of the colour scale
    narrowest: int = 0  # pixels below which it cannot be read
    name: str = ""  # of its files, if not that of its section and place
    svg: str = ""  # drawn already, where there is no specification
    grid: dict[str, Any] | None = None  # the numbers under the pointer, and where they lie in the SVG


@dataclass(frozen=True)
class Axes:
    """The words and the range of a figure's axes."""

    x: str
    y: str
    domain: tuple[float, float] | None = None
    digits: int = 1
    unit: str = ""
    log: bool = False


def base_chart() -> "alt.Chart":
    """Gives a chart of the rows that `finished` puts in: rows inside a chart object would be validated one by one."""
    import altair as alt

    return alt.Chart(alt.NamedData("rows"))


def colour(drawn: Sequence[SeriesStyle]) -> "alt.Color":
    """Gives the channel that draws each name in its colour."""
    import altair as alt

    return alt.Color("g:N", legend=None).scale(**_scale(drawn, lambda style: style.colour))


def dash(drawn: Sequence[SeriesStyle]) -> "alt.StrokeDash":
    """Gives the channel that draws each name with its dash pattern."""
    import altair as alt

    return alt.StrokeDash("g:N", legend=None).scale(**_scale(drawn, lambda style: [*style.dash]))


def shape(drawn: Sequence[SeriesStyle]) -> "alt.Shape":
    """Gives the channel that draws each name with its marker."""
    import altair as alt

    return alt.Shape("g:N", legend=None).scale(**_scale(drawn, lambda style: style.shape))


def _scale(drawn: Sequence[SeriesStyle], of: Callable[[SeriesStyle], Any]) -> dict[str, Any]:
    return {"domain": [style.name for style in drawn], "range": [of(style) for style in drawn]}


def finished(rows: Sequence[Mapping[str, Any]], height: int, *layers: "alt.Chart") -> dict[str, Any]:
    """Gives the finished specification: as wide as its place on the page, in the page's colours."""
    import altair as alt

    chart = alt.layer(*layers).properties(width="container", height=height)
    spec: dict[str, Any] = chart.to_dict(validate=False)  # tests validate; it takes longer than all else
    return {**spec, "datasets": {"rows": [*rows]}, "config": _CONFIG}


_SEEN = 5e-5
"""Values that differ by less are drawn as the same, to four digits; ticks of so narrow an axis would never end."""


def span(values: Sequence[float]) -> tuple[float, float]:
    """Gives the lowest and the highest value; with room around values that are all the same as drawn."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.0 if high - low > _SEEN else max(abs(low) / 50, 0.001)
    return low - margin, high + margin

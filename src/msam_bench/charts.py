"""From runs to figures: each one a Vega-Lite specification, a text alternative and the numbers behind it.

A figure never relies on colour alone: every method has a colour (Okabe and Ito's, safe for the colour-blind), a dash
pattern and a marker, and keeps them through the whole report. Text and axes are drawn in `currentColor`, so that the
page decides between light, dark and print. Importing this module is cheap: altair is imported when a figure is drawn.

    methods = looks(["joint", "msam"], ink="joint")
    for figure in learning({"joint": runs, "msam": others}, methods):
        figure.title, figure.alt, figure.spec
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from msam_bench.statistics import Comparison

if TYPE_CHECKING:
    import altair as alt

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito, without black and yellow
DASHES = ((1, 0), (7, 3), (2, 2), (10, 3, 2, 3), (4, 2), (14, 3), (1, 3))  # seven to six colours: 42 pairs differ
SHAPES = (
    "M-1,0A1,1 0 1,1 1,0A1,1 0 1,1 -1,0Z",  # circle
    "M-.9,-.9H.9V.9H-.9Z",  # square
    "M0,-1.1L1.1,.9H-1.1Z",  # triangle
    "M0,-1.3L1.1,0L0,1.3L-1.1,0Z",  # diamond
    "M-.4,-1.2H.4V-.4H1.2V.4H.4V1.2H-.4V.4H-1.2V-.4H-.4Z",  # cross
    "M0,1.1L1.1,-.9H-1.1Z",  # triangle, tip down
    "M-1.1,0L.9,-1.1V1.1Z",  # triangle, tip left
)
MOST_BANDS = 8  # lines with a band each, bands are left out above
MOST_POINTS = 4_000  # in one section of the page, epochs are thinned out above
INK = "currentColor"
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
_TICKS = "ceil(width / 90)"  # as many as there is room for, on a phone too
_CONFIG: dict[str, Any] = {
    "font": "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif",
    "background": "transparent",
    "aria": False,  # the figure carries its own text alternative
    "axis": _AXIS,
    "view": {"stroke": None},
}


class Run(Protocol):
    """What a figure needs to know of a run; see `msam_bench.report.Record` for the fields."""

    @property
    def seed(self) -> int:
        """The seed, which pairs runs of different methods."""
        ...

    @property
    def summary(self) -> Mapping[str, Any]:
        """What the selected epoch of the run came to."""
        ...

    @property
    def metrics(self) -> Sequence[Mapping[str, float]]:
        """One row an epoch."""
        ...


Groups = Mapping[str, Sequence[Run]]  # method -> its runs


@dataclass(frozen=True)
class Look:
    """How one method or modality is drawn, in every figure."""

    name: str
    colour: str
    dash: tuple[int, ...]
    shape: str


@dataclass(frozen=True)
class Figure:
    """A figure: what it is called, its specification, what it shows in words, and its numbers as a table."""

    title: str
    spec: dict[str, Any]
    alt: str
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    drawn: tuple[Look, ...] = ()  # what a legend must explain
    range: tuple[str, str] | None = None  # both ends of the colour scale


@dataclass(frozen=True)
class _Axes:
    """The words and the range of a figure's axes."""

    x: str
    y: str
    domain: tuple[float, float] | None = None
    digits: int = 1
    unit: str = ""


@dataclass(frozen=True)
class _Series:
    """One line: points (epoch, mean, low, high)."""

    points: list[tuple[float, float, float, float]] = field(default_factory=list)


def looks(names: Iterable[str], ink: str | None = None) -> list[Look]:
    """Gives each name its colour, dash and marker; the one called `ink` is drawn in the text's colour."""
    numbers = itertools.count()
    found = []
    for place, name in enumerate(names):
        colour = INK if name == ink else COLOURS[next(numbers) % len(COLOURS)]
        found.append(Look(name, colour, DASHES[place % len(DASHES)], SHAPES[place % len(SHAPES)]))
    return found


def learning(groups: Groups, methods: Sequence[Look]) -> list[Figure]:
    """Draws training and validation accuracy over epochs, and the second half of the latter enlarged."""
    train, valid = _thinned([_curves(groups, f"{part}_accuracy", 100) for part in ("train", "valid")])
    middle = max((p[0] for s in valid.values() for p in s.points), default=0) / 2
    late = {name: _Series([p for p in s.points if p[0] >= middle]) for name, s in valid.items()}
    panels = [("Training accuracy", train), ("Validation accuracy", valid)]
    if any(len(s.points) > 1 for s in late.values()):
        panels.append(("Validation accuracy, second half of the epochs enlarged", late))
    titled = [(title, series, _Axes("Epoch", f"{title.split(',')[0]} (%)")) for title, series in panels if series]
    return [_lines(title, series, methods, axes) for title, series, axes in titled]


def gap(groups: Groups, methods: Sequence[Look]) -> list[Figure]:
    """Draws tau, the relative gap between training and validation accuracy, over epochs."""
    (series,) = _thinned([_curves(groups, "tau")])
    axes = _Axes("Epoch", "tau = |train - valid| / valid (ratio)", digits=3)
    return [_lines("Overfitting gap tau", series, methods, axes)] if series else []


def strengths(groups: Groups, methods: Sequence[Look]) -> list[Figure]:
    """Draws what a method reports of its perturbation: the weight of the perturbed gradient and the sharpness."""
    panels = (
        ("share", "Weight of the perturbed gradient", "Share (0 to 1)"),
        ("sharpness", "Sharpness seen in training", "Loss increase (nats)"),
    )
    found = _thinned([_curves(groups, key) for key, *_ in panels])
    titled = [
        (title, series, _Axes("Epoch", unit, digits=3)) for (_, title, unit), series in zip(panels, found, strict=True)
    ]
    return [_lines(title, series, methods, axes) for title, series, axes in titled if series]


def contributions(groups: Groups, modalities: Sequence[Look]) -> list[Figure]:
    """Draws, for each method that reports them, the Shapley value of every modality over epochs."""
    found = _by_modality(groups, "contribution", modalities)
    ends = [v for series in found.values() for s in series.values() for p in s.points for v in p[2:]]
    domain = _domain(ends) or (min(ends, default=0.0), max(ends, default=1.0))  # one for all panels
    axes = _Axes("Epoch", "Shapley value (epoch mean)", domain, 3)
    return [_lines(name, series, modalities, axes) for name, series in found.items()]


def dominance(groups: Groups, modalities: Sequence[Look]) -> list[Figure]:
    """Draws, for each method that names one, how often each modality was the dominant one over epochs."""
    figures = []
    for name, series in _by_modality(groups, "dominant", modalities).items():
        cells = [(m, f"{epoch:g}", 100 * mean) for m, s in series.items() for epoch, mean, *_ in s.points]
        rows, columns = [*series], [*dict.fromkeys(column for _, column, _ in cells)]
        average = {m: sum(p[1] for p in s.points) / len(s.points) for m, s in series.items()}
        leader = max(average, key=lambda m: average[m])
        alt_text = f"Over all epochs {leader} is dominant most often, in {average[leader]:.0%} of the batches."
        axes = _Axes("Epoch", "", (0, 100), 0, " %")
        figures.append(_heat(name, cells, rows, columns, axes, alt_text, below=True))
    return figures


def shares(groups: Groups, modalities: Sequence[str]) -> list[Figure]:
    """Draws the Shapley share of each modality in the test accuracy, methods by modalities."""
    cells = [
        (name, modality, 100 * mean)
        for name, runs in groups.items()
        for modality in modalities
        if (mean := average(run.summary.get("contributions", {}).get(modality) for run in runs)) is not None
    ]
    if not cells:
        return []
    highest = max(cells, key=lambda cell: cell[2])
    text = f"The largest share is {highest[2]:.1f} points, of {highest[1]} under {highest[0]}."
    axes = _Axes("", "", (min(0.0, _range(cells)[0]), _range(cells)[1]), unit=" points")
    return [_heat("Shapley share in the test accuracy (points)", cells, [*groups], [*modalities], axes, text)]


def coalitions(groups: Groups, modalities: Sequence[str]) -> list[Figure]:
    """Draws the test accuracy of every coalition, one panel for each size, coalitions by methods."""
    names = dict.fromkeys(key for runs in groups.values() for run in runs for key in run.summary.get("coalitions", {}))
    cells = [
        (coalition, method, 100 * mean)
        for coalition in names
        for method, runs in groups.items()
        if (mean := average(run.summary.get("coalitions", {}).get(coalition) for run in runs)) is not None
    ]
    sizes = sorted({_size(name) for name, *_ in cells})
    panels = [[cell for cell in cells if _size(cell[0]) == size] for size in sizes]
    return [_coalitions_of(panel, [*groups], modalities, _range(cells)) for panel in panels]


def seeds(groups: Groups, methods: Sequence[Look]) -> list[Figure]:
    """Draws the test accuracy of every run, one line joining the methods of a seed."""
    import altair as alt

    names = [look.name for look in methods]
    rows = [
        {"g": name, "k": place, "s": run.seed, "y": round(100 * run.summary["test_accuracy"], 3)}
        for place, name in enumerate(names)
        for run in groups[name]
    ]
    domain = _domain([row["y"] for row in rows]) or alt.Undefined
    x = (
        alt.X("y:Q", title="Test accuracy (%)")
        .scale(alt.Scale(zero=False, padding=12, domain=domain))
        .axis(tickCount=alt.ExprRef(_TICKS))
    )
    base = _base().encode(x, alt.Y("g:N", sort=names, title=None))
    lines = base.mark_line(strokeWidth=1, opacity=0.35, color=INK).encode(detail="s:N", order="k:O")
    tips = [alt.Tooltip("g:N", title="method"), alt.Tooltip("s:N", title="seed"), alt.Tooltip("y:Q", title="accuracy")]
    points = base.mark_point(filled=True, size=55, opacity=0.9).encode(_colour(methods), _shape(methods), tooltip=tips)
    numbers = sorted({run.seed for runs in groups.values() for run in runs})
    found = {name: {run.seed: f"{100 * run.summary['test_accuracy']:.2f}" for run in groups[name]} for name in names}
    return [
        Figure(
            "Test accuracy of each seed",
            _spec(rows, 44 * len(names) + 20, lines, points),
            f"One point a run, a thin line joins the runs of a seed. {len(rows)} runs, {len(numbers)} seeds.",
            ("seed", *names),
            tuple((str(seed), *(found[name].get(seed, "–") for name in names)) for seed in numbers),
        )
    ]


def cost(groups: Groups, methods: Sequence[Look]) -> list[Figure]:
    """Draws the mean test accuracy, with its standard deviation, against the gradient evaluations it took."""
    import altair as alt

    rows = [row for look in methods if (row := _cost(look.name, groups[look.name]))]
    if not rows:
        return []
    _dodge(rows)
    x = (
        alt.X("x:Q", title="Gradient evaluations (number)")
        .scale(zero=False, padding=30)
        .axis(format="~s", tickCount=alt.ExprRef(_TICKS))
    )
    base = _base().encode(x, _colour(methods))
    domain = _domain([row[key] for row in rows for key in ("y", "lo", "hi")]) or alt.Undefined
    y = alt.Y("y:Q", title="Test accuracy (%)").scale(alt.Scale(zero=False, domain=domain))
    nudge = alt.ExprRef("datum.d")
    bars = base.mark_rule(strokeWidth=1.5, xOffset=nudge).encode(alt.Y("lo:Q").scale(zero=False), alt.Y2("hi:Q"))
    tips = [("g:N", "method"), ("x:Q", "gradient evaluations"), ("y:Q", "accuracy"), ("lo:Q", "- SD"), ("hi:Q", "+ SD")]
    points = base.mark_point(filled=True, size=90, opacity=1, xOffset=nudge).encode(
        y, _shape(methods), tooltip=[alt.Tooltip(name, title=title) for name, title in tips]
    )
    return [
        Figure(
            "Test accuracy against gradient evaluations",
            _spec(rows, 300, bars, points),
            "; ".join(f"{r['g']}: {r['y']:.2f} % after {r['x']:,.0f} gradient evaluations" for r in rows) + ".",
            ("method", "gradient evaluations", "test accuracy (%)", "mean - SD", "mean + SD"),
            tuple((r["g"], f"{r['x']:,.0f}", f"{r['y']:.2f}", f"{r['lo']:.2f}", f"{r['hi']:.2f}") for r in rows),
            tuple(methods),
        )
    ]


def differences(comparisons: Mapping[str, Comparison], reference: str, methods: Sequence[Look]) -> list[Figure]:
    """Draws the mean paired difference of each method to the reference, with its 95 % interval and a line at zero."""
    import altair as alt

    rows = [
        {
            "g": name,
            "y": 100 * c.difference,
            "lo": 100 * _or(c.low, c.difference),
            "hi": 100 * _or(c.high, c.difference),
        }
        for name, c in comparisons.items()
    ]
    if not rows:
        return []
    names = [*comparisons]
    base = _base().encode(alt.Y("g:N", sort=names, title=None), _colour(methods))
    x = alt.X("y:Q", title="Difference (points)").scale(padding=12).axis(tickCount=alt.ExprRef(_TICKS))
    zero = _base().mark_rule(color=INK, opacity=0.6, strokeDash=[3, 3]).encode(x=alt.datum(0))
    bars = base.mark_rule(strokeWidth=2).encode(alt.X("lo:Q"), alt.X2("hi:Q"))
    tips = [("g:N", "method"), ("y:Q", "difference"), ("lo:Q", "low"), ("hi:Q", "high")]
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        x,
        _shape(methods),
        tooltip=[alt.Tooltip(name, title=title, format="+.2f"[: 4 * (name != "g:N")]) for name, title in tips],
    )
    said = [f"{r['g']} {r['y']:+.2f} [{r['lo']:+.2f}, {r['hi']:+.2f}]" for r in rows]
    chart = _spec(rows, 34 * len(rows) + 20, zero, bars, points)
    return [Figure(f"Difference to {reference}", chart, f"Points, with 95 % intervals: {'; '.join(said)}.")]


def average(values: Iterable[float | None]) -> float | None:
    """Gives the mean of the values that are there, None when none is."""
    present = [v for v in values if v is not None and math.isfinite(v)]
    return math.fsum(present) / len(present) if present else None


def _curves(groups: Groups, key: str, scale: float = 1.0) -> dict[str, _Series]:
    """Gives, for each method that reports `key`, its mean and standard deviation over seeds at each epoch."""
    found = {name: _curve(runs, key, scale) for name, runs in groups.items()}
    return {name: series for name, series in found.items() if series.points}


def _curve(runs: Sequence[Run], key: str, scale: float) -> _Series:
    values: dict[float, list[float]] = {}
    for run in runs:
        for row in run.metrics:
            if (value := row.get(key)) is not None and math.isfinite(value):
                values.setdefault(row["epoch"], []).append(scale * value)
    return _Series([(epoch, *_band(found)) for epoch, found in sorted(values.items())])


def _by_modality(groups: Groups, key: str, modalities: Sequence[Look]) -> dict[str, dict[str, _Series]]:
    """Gives method -> modality -> its curve, for the methods that have any."""
    found = {
        name: {look.name: series for look in modalities if (series := _curve(runs, f"{key}/{look.name}", 1.0)).points}
        for name, runs in groups.items()
    }
    shown = {name: series for name, series in found.items() if series}
    return dict(zip(shown, _thinned([*shown.values()]), strict=True))


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Gives the mean, and the mean minus and plus one standard deviation (zero for a single value)."""
    mean = math.fsum(values) / len(values)
    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / max(1, len(values) - 1))
    return mean, mean - sd, mean + sd


def _band(values: Sequence[float]) -> tuple[float, float, float]:
    """Gives what `_spread` gives, cut to the values seen: no band leaves the range that an accuracy has."""
    mean, low, high = _spread(values)
    return mean, max(low, min(values)), min(high, max(values))


def _lines(title: str, series: Mapping[str, _Series], drawn: Sequence[Look], axes: _Axes) -> Figure:
    """Draws lines over epochs, with a band of one standard deviation where there is room for bands."""
    import altair as alt

    drawn = [look for look in drawn if look.name in series]
    banded = len(drawn) <= MOST_BANDS
    rows = _rows(series, banded)
    epochs = [row["x"] for row in rows]
    single = min(epochs) == max(epochs)
    x = alt.X("x:Q", title=axes.x).scale(nice=False, zero=False, padding=0)
    domain = axes.domain or _domain([row[key] for row in rows for key in ("y", "lo", "hi") if key in row])
    y = alt.Y("y:Q", title=axes.y).scale(alt.Scale(zero=False, domain=domain or alt.Undefined))
    base = _base().encode(x.axis(tickMinStep=1, format="d", tickCount=alt.ExprRef(_TICKS)), _colour(drawn))
    tips = [alt.Tooltip("g:N", title="name"), alt.Tooltip("x:Q", title="epoch"), alt.Tooltip("y:Q", title="mean")]
    point = alt.OverlayMarkDef(opacity=1 if single else 0, size=70) if single or len(rows) <= 1000 else False
    layers: list[alt.Chart] = [base.mark_line(strokeWidth=2, point=point).encode(y, _dash(drawn), tooltip=tips)]
    if banded:
        layers.insert(0, base.mark_area(opacity=0.11).encode(alt.Y("lo:Q").scale(zero=False), alt.Y2("hi:Q")))
    header, numbers = _milestones(series, axes.digits)
    ends = [f"{look.name} {series[look.name].points[-1][1]:.{axes.digits}f}" for look in drawn]
    text = f"{axes.y} at the last epoch: {', '.join(ends)}."
    return Figure(title, _spec(rows, 260, *layers), text, header, numbers, tuple(drawn))


def _rows(series: Mapping[str, _Series], banded: bool) -> list[dict[str, Any]]:
    """Gives the rows of all lines, with the ends of their bands where bands are drawn."""
    return [
        {"g": name, "x": x, "y": round(y, 4), **({"lo": round(lo, 4), "hi": round(hi, 4)} if banded else {})}
        for name, s in series.items()
        for x, y, lo, hi in s.points
    ]


def _thinned(panels: Sequence[Mapping[str, _Series]]) -> list[dict[str, _Series]]:
    """Keeps every k-th epoch, always with the last, where the panels of a section would have too many points."""
    step = math.ceil(sum(len(s.points) for series in panels for s in series.values()) / MOST_POINTS)
    return [
        {name: _Series(s.points[(len(s.points) - 1) % max(1, step) :: max(1, step)]) for name, s in series.items()}
        for series in panels
    ]


def _milestones(series: Mapping[str, _Series], digits: int) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Gives the means at up to seven epochs, evenly spread, as a table."""
    epochs = sorted({p[0] for s in series.values() for p in s.points})
    chosen = [epochs[round(i * (len(epochs) - 1) / 6)] for i in range(7)] if len(epochs) > 7 else epochs
    means = {name: {p[0]: f"{p[1]:.{digits}f}" for p in s.points} for name, s in series.items()}
    rows = tuple((name, *(means[name].get(epoch, "–") for epoch in chosen)) for name in series)
    return ("epoch", *(f"{epoch:g}" for epoch in chosen)), rows


def _heat(
    title: str,
    cells: Sequence[tuple[str, str, float]],
    rows: Sequence[str],
    columns: Sequence[str],
    axes: _Axes,
    text: str,
    below: bool = False,
) -> Figure:
    """Draws rows by columns as colours, with the numbers in the cells where there is room for them."""
    import altair as alt

    data = [{"r": r, "c": c, "v": round(v, 3)} for r, c, v in cells]
    low, high = axes.domain or _range(cells)
    ticks = {"values": columns[:: math.ceil(len(columns) / 8)], "labelAngle": 0} if below else {"labelAngle": -40}
    x_axis = alt.Axis(title=axes.x or None, orient="bottom" if below else "top", labelOverlap=False, **ticks)
    base = _base().encode(
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
    spec = _spec(data, 20 * len(rows), *layers) | {
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


def _coalitions_of(
    cells: Sequence[tuple[str, str, float]],
    methods: Sequence[str],
    modalities: Sequence[str],
    domain: tuple[float, float],
) -> Figure:
    size, best = _size(cells[0][0]), max(cells, key=lambda cell: cell[2])
    text = f"The highest of these coalitions is {best[0]} with {best[2]:.1f} % under {best[1]}."
    title = f"{size} modalit{'y alone' if size == 1 else 'ies together'}"
    named = [(_short(coalition, modalities), method, value) for coalition, method, value in cells]
    rows = [*dict.fromkeys(cell[0] for cell in named)]
    return _heat(title, named, rows, methods, _Axes("", "", domain, unit=" %"), text)


def _short(coalition: str, modalities: Sequence[str]) -> str:
    """Names a coalition by who is absent where that is shorter."""
    absent = [modality for modality in modalities if modality not in coalition.split("+")]
    without = f"all but {'+'.join(absent)}" if absent else f"all {len(modalities)}"
    return without if len(without) < len(coalition) else coalition


def _size(coalition: str) -> int:
    return coalition.count("+") + 1


def _range(cells: Sequence[tuple[str, str, float]]) -> tuple[float, float]:
    values = [cell[2] for cell in cells]
    return min(values), max(*values, min(values) + 1e-6)


def _domain(values: Sequence[float]) -> tuple[float, float] | None:
    """Gives a range around values that are all the same, which an axis cannot be made of; else None."""
    if not values or max(values) > min(values):
        return None
    margin = max(abs(values[0]) / 50, 0.001)
    return values[0] - margin, values[0] + margin


def _cost(name: str, runs: Sequence[Run]) -> dict[str, Any] | None:
    gradients = average(run.summary.get("gradients") for run in runs)
    if gradients is None:
        return None
    mean, low, high = _spread([100 * run.summary["test_accuracy"] for run in runs])
    return {"g": name, "x": gradients, "y": round(mean, 3), "lo": round(low, 3), "hi": round(high, 3)}


def _dodge(rows: Sequence[dict[str, Any]]) -> None:
    """Sets `d`, the pixels by which methods of (nearly) the same cost are drawn apart."""
    near = 0.02 * max(row["x"] for row in rows) or 1.0
    heaps = itertools.groupby(sorted(rows, key=lambda row: row["x"]), key=lambda row: round(row["x"] / near))
    for _, heap in heaps:
        together = [*heap]
        for place, row in enumerate(together):
            row["d"] = min(12, 60 / len(together)) * (place - (len(together) - 1) / 2)


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _base() -> "alt.Chart":
    """Gives a chart of the rows that `_spec` puts in: rows inside a chart object would be validated one by one."""
    import altair as alt

    return alt.Chart(alt.NamedData("rows"))


def _scale(drawn: Sequence[Look], of: Callable[[Look], Any]) -> dict[str, Any]:
    return {"domain": [look.name for look in drawn], "range": [of(look) for look in drawn]}


def _colour(drawn: Sequence[Look]) -> "alt.Color":
    import altair as alt

    return alt.Color("g:N", legend=None).scale(**_scale(drawn, lambda look: look.colour))


def _dash(drawn: Sequence[Look]) -> "alt.StrokeDash":
    import altair as alt

    return alt.StrokeDash("g:N", legend=None).scale(**_scale(drawn, lambda look: [*look.dash]))


def _shape(drawn: Sequence[Look]) -> "alt.Shape":
    import altair as alt

    return alt.Shape("g:N", legend=None).scale(**_scale(drawn, lambda look: look.shape))


def _spec(rows: Sequence[Mapping[str, Any]], height: int, *layers: "alt.Chart") -> dict[str, Any]:
    """Gives the finished specification: as wide as its place on the page, in the page's colours."""
    import altair as alt

    spec: dict[str, Any] = alt.layer(*layers).properties(width="container", height=height).to_dict()
    return {**spec, "datasets": {"rows": [*rows]}, "config": _CONFIG}

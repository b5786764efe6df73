"""Figures that compare methods: differences to a reference, scores of every seed, score against cost.

differences({"msam": comparison}, "joint", series_styles(["joint", "msam"]))
seeds(groups, methods), cost(groups, methods)
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from msam_bench.analysis.run_summary import Groups, RunSummary, average, score_of
from msam_bench.analysis.statistics import Comparison
from msam_bench.reporting.figures.curves import spread
from msam_bench.reporting.figures.drawing import TICKS, Figure, base_chart, colour, finished, shape, span
from msam_bench.reporting.figures.highlight import BOLD, highlight_top
from msam_bench.reporting.figures.intervals import interval, intervals
from msam_bench.reporting.figures.palette import INK, SeriesStyle


def differences(
    comparisons: Mapping[str, Comparison],
    reference: str,
    methods: Sequence[SeriesStyle],
    scale: float = 100.0,
    unit: str = "points",
) -> list[Figure]:
    """Draws the mean paired difference of each method to the reference, with its 95 % interval and a line at zero."""
    rows = [interval(name, name, comparison, lambda value: scale * value) for name, comparison in comparisons.items()]
    if not rows:
        return []
    texts = [f"{r['g']} {r['y']:+.2f} [{r['lo']:+.2f}, {r['hi']:+.2f}]" for r in rows]
    alt = f"{unit[0].upper()}{unit[1:]}, with 95 % intervals: {'; '.join(texts)}."
    return [intervals(f"Difference to {reference}", rows, methods, f"Difference ({unit})", alt)]


def seeds(groups: Groups, methods: Sequence[SeriesStyle]) -> list[Figure]:
    """Draws the test score of every run, one line joining the methods of a seed."""
    import altair as alt

    score = score_of(groups)
    names = [style.name for style in methods]
    rows = [
        {"g": name, "k": place, "s": run.seed, "y": round(100 * run.summary["test_accuracy"], 3)}
        for place, name in enumerate(names)
        for run in groups[name]
    ]
    domain = span([row["y"] for row in rows])
    x = (
        alt.X("y:Q", title=f"Test {score} (%)")
        .scale(zero=False, padding=12, nice=True, domain=domain)
        .axis(tickCount=alt.ExprRef(TICKS))
    )
    base = base_chart().encode(x, alt.Y("g:N", sort=names, title=None).axis(grid=True))
    lines = base.mark_line(strokeWidth=1, opacity=0.35, color=INK).encode(detail="s:N", order="k:O")
    tips = [alt.Tooltip("g:N", title="method"), alt.Tooltip("s:N", title="seed"), alt.Tooltip("y:Q", title=score)]
    points = base.mark_point(filled=True, size=55, opacity=0.9).encode(colour(methods), shape(methods), tooltip=tips)
    numbers = sorted({run.seed for runs in groups.values() for run in runs})
    scores = {name: {run.seed: f"{100 * run.summary['test_accuracy']:.2f}" for run in groups[name]} for name in names}
    return [
        Figure(
            f"Test {score} of each seed",
            finished(rows, (44 if len(names) < 12 else 30) * len(names) + 20, lines, points),
            f"One point a run, a thin line joins the runs of a seed. {len(rows)} runs, {len(numbers)} seeds.",
            ("seed", *names),
            tuple((str(seed), *(scores[name].get(seed, "–") for name in names)) for seed in numbers),
        )
    ]


def cost(groups: Groups, methods: Sequence[SeriesStyle]) -> list[Figure]:
    """Draws the mean test score, with its standard deviation, against the gradient evaluations it took."""
    import altair as alt

    score = score_of(groups)
    rows = [row for style in methods if (row := _cost(style.name, groups[style.name]))]
    if not rows:
        return []
    _dodge(rows)
    kind = "~s" if max(row["x"] for row in rows) >= 10_000 else ",d"
    reach = span([row["x"] for row in rows])
    x = alt.X("x:Q", title="Gradient evaluations (number)").scale(zero=False, padding=30, nice=True, domain=reach)
    place = base_chart().encode(x.axis(format=kind, tickMinStep=1, tickCount=alt.ExprRef(TICKS)))
    base = place.transform_filter(BOLD).encode(colour(methods))
    domain = span([row[key] for row in rows for key in ("lo", "hi")])
    y = alt.Y("y:Q", title=f"Test {score} (%)").scale(zero=False, nice=True, domain=domain)
    nudge = alt.ExprRef("datum.d * min(1, width / 600)")
    bars = base.mark_rule(strokeWidth=1.5, xOffset=nudge).encode(alt.Y("lo:Q").scale(zero=False), alt.Y2("hi:Q"))
    names = [("g:N", "method"), ("x:Q", "gradient evaluations"), ("y:Q", score), ("lo:Q", "- SD"), ("hi:Q", "+ SD")]
    tips = [alt.Tooltip(name, title=title) for name, title in names]
    grey = place.transform_filter(f"!({BOLD})").mark_point(filled=True, size=45, opacity=0.4, color=INK, xOffset=nudge)
    points = base.mark_point(filled=True, size=90, opacity=1, xOffset=nudge)
    layers = [grey.encode(y, shape(methods), tooltip=tips), bars, points.encode(y, shape(methods), tooltip=tips)]
    figure = Figure(
        f"Test {score} against gradient evaluations",
        finished(rows, 300, *layers),
        "; ".join(f"{r['g']}: {r['y']:.2f} % after {r['x']:,.0f} gradient evaluations" for r in rows) + ".",
        ("method", "gradient evaluations", f"test {score} (%)", "mean - SD", "mean + SD"),
        tuple((r["g"], f"{r['x']:,.0f}", f"{r['y']:.2f}", f"{r['lo']:.2f}", f"{r['hi']:.2f}") for r in rows),
        tuple(methods),
    )
    return highlight_top([figure])


def _cost(name: str, runs: Sequence[RunSummary]) -> dict[str, Any] | None:
    gradients = average(run.summary.get("gradients") for run in runs)
    if gradients is None:
        return None
    mean, low, high = spread([100 * run.summary["test_accuracy"] for run in runs])
    return {"g": name, "x": gradients, "y": round(mean, 3), "lo": round(low, 3), "hi": round(high, 3)}


def _dodge(rows: Sequence[dict[str, Any]]) -> None:
    """Sets `d`, the pixels by which methods of (nearly) the same cost are drawn apart."""
    near = 0.02 * max(row["x"] for row in rows) or 1.0
    heaps = itertools.groupby(sorted(rows, key=lambda row: row["x"]), key=lambda row: round(row["x"] / near))
    for _, heap in heaps:
        together = [*heap]
        for place, row in enumerate(together):
            row["d"] = min(12, 60 / len(together)) * (place - (len(together) - 1) / 2)

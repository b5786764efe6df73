"""Figures of training over epochs: scores, gap, perturbation, contributions and dominance.

for figure in learning({"joint": runs, "msam": others}, series_styles(["joint", "msam"])):
    figure.title, figure.alt, figure.spec
"""

from collections.abc import Sequence

from msam_bench.analysis.run_summary import Groups, score_of
from msam_bench.reporting.figures.curves import Series, by_modality, curves, thinned
from msam_bench.reporting.figures.drawing import Axes, Figure, span
from msam_bench.reporting.figures.heatmap import heat
from msam_bench.reporting.figures.highlight import highlight_top
from msam_bench.reporting.figures.lines import lines
from msam_bench.reporting.figures.palette import SeriesStyle


def learning(groups: Groups, methods: Sequence[SeriesStyle]) -> list[Figure]:
    """Draws training and validation score over epochs, and the second half of the latter enlarged."""
    score = score_of(groups)
    train, valid = thinned([curves(groups, f"{part}_accuracy", 100) for part in ("train", "valid")])
    middle = max((p[0] for s in valid.values() for p in s.points), default=0) / 2
    late = {name: Series([p for p in s.points if p[0] >= middle]) for name, s in valid.items()}
    panels = [(f"Training {score}", train), (f"Validation {score}", valid)]
    if any(len(s.points) > 1 for s in late.values()):
        panels.append((f"Validation {score}, second half of the epochs enlarged", late))
    titled = [(title, series, Axes("Epoch", f"{title.split(',')[0]} (%)")) for title, series in panels if series]
    return highlight_top(lines(title, series, methods, axes) for title, series, axes in titled)


def gap(groups: Groups, methods: Sequence[SeriesStyle]) -> list[Figure]:
    """Draws tau, the relative gap between training and validation score, over epochs."""
    (series,) = thinned([curves(groups, "tau")])
    axes = Axes("Epoch", "tau = |train - valid| / valid (ratio)", digits=3)
    return [lines("Overfitting gap tau", series, methods, axes)] if series else []


def strengths(groups: Groups, methods: Sequence[SeriesStyle]) -> list[Figure]:
    """Draws what a method reports of its perturbation: the weight of the perturbed gradient and the sharpness."""
    panels = (
        ("share", "Weight of the perturbed gradient", "Share (0 to 1)"),
        ("sharpness", "Sharpness seen in training", "Loss increase (nats)"),
    )
    thin = thinned([curves(groups, key) for key, *_ in panels])
    titled = [
        (title, series, Axes("Epoch", unit, digits=3)) for (_, title, unit), series in zip(panels, thin, strict=True)
    ]
    return highlight_top(lines(title, series, methods, axes) for title, series, axes in titled if series)


def contributions(groups: Groups, modalities: Sequence[SeriesStyle]) -> list[Figure]:
    """Draws, for each method that reports them, the Shapley value of every modality over epochs."""
    by_method = by_modality(groups, "contribution", modalities)
    ends = [v for series in by_method.values() for s in series.values() for p in s.points for v in p[2:]]
    axes = Axes("Epoch", "Shapley value (epoch mean)", span(ends), 3)  # one range for all panels
    return highlight_top(lines(name, series, modalities, axes) for name, series in by_method.items())


def dominance(groups: Groups, modalities: Sequence[SeriesStyle]) -> list[Figure]:
    """Draws, for each method that names one, how often each modality was the dominant one over epochs."""
    figures = []
    for name, series in by_modality(groups, "dominant", modalities).items():
        cells = [(m, f"{epoch:g}", 100 * mean) for m, s in series.items() for epoch, mean, *_ in s.points]
        rows, columns = [*series], [*dict.fromkeys(column for _, column, _ in cells)]
        average = {m: sum(p[1] for p in s.points) / len(s.points) for m, s in series.items()}
        leader = max(average, key=lambda m: average[m])
        alt_text = f"Over all epochs {leader} is dominant most often, in {average[leader]:.0%} of the batches."
        axes = Axes("Epoch", "", (0, 100), 0, " %")
        figures.append(heat(name, cells, rows, columns, axes, alt_text, below=True))
    return figures

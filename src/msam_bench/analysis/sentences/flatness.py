"""A flatness study in words: whether non-dominant encoders end sharper, what that costs, and with which evidence.

answer(comparison)                         # "No method is shown to leave the non-dominant encoders sharper ..."
details(comparison)                        # "msam: the non-dominant encoders are sharper by ball (x 2.13 ...). ..."
describe_surface(surface)                  # "Moved: all weights. Present: audio + image. Samples: 512. ..."
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from msam_bench.analysis.flatness.comparison import FlatnessComparison
from msam_bench.analysis.flatness.measures import SCORE
from msam_bench.analysis.flatness.surfaces import LossSurface
from msam_bench.analysis.sentences.phrases import format_p, join_names
from msam_bench.analysis.statistics import Comparison


def answer(comparison: FlatnessComparison) -> str:
    """Whether non-dominant modalities end sharper or flatter than under the reference."""
    if len(comparison.methods) == 1 or len(comparison.modalities) == 1:
        return "There is nothing to compare: give several methods and modalities."
    leaders = [f"{name} on {count}" for name, count in Counter(comparison.dominant.values()).most_common()]
    dominant = f"Dominant: {join_names(leaders)} of {len(comparison.dominant)} seeds."
    return f"{_summarise(comparison)} Measured {comparison.at}. {dominant}"


def _summarise(comparison: FlatnessComparison) -> str:
    """One sentence on the sharpness of the non-dominant encoders, before the numbers."""
    ends = {
        method: [by_method[method] for by_method in comparison.weaker.values() if method in by_method]
        for method in comparison.methods[1:]
    }
    sharper = [method for method, ratios in ends.items() if any(it.differs and it.difference > 0 for it in ratios)]
    flatter = [method for method, ratios in ends.items() if any(it.differs and it.difference < 0 for it in ratios)]
    parts = [f"under {join_names(m)} they end {how}" for m, how in ((sharper, "sharper"), (flatter, "flatter")) if m]
    measures = f"mean over these encoders by {join_names(list(comparison.weaker))}; single encoders are in the table"
    level = f"at the 5 % level, with {len(comparison.dominant)} seeds ({measures})"
    reference = comparison.reference
    if not parts:
        return f"No method is shown to leave the non-dominant encoders sharper or flatter than {reference} {level}."
    first = parts[0].replace("they", "the non-dominant encoders")
    return f"By at least one measure, {' and '.join([first, *parts[1:]])} than under {reference} {level}."


def details(comparison: FlatnessComparison) -> list[str]:
    """A few sentences for each method, with the numbers."""
    return [_describe_method(comparison, method) for method in comparison.methods[1:]]


def _describe_method(comparison: FlatnessComparison, method: str) -> str:
    ratios = [_ratio(name, by[method]) for name, by in comparison.weaker.items() if method in by]
    if not ratios:
        return f"{method}: no measure could be compared."
    alone, whole = comparison.alone.get(method), comparison.accuracy.get(method)
    cost = "" if alone is None else f" Alone, those modalities are {_points(alone)}."
    together = "" if whole is None else f" All modalities together are {_points(whole)}."
    return f"{method}: the non-dominant encoders are {join_names(ratios)}.{cost}{together}{_loss(comparison, method)}"


def _loss(comparison: FlatnessComparison, method: str) -> str:
    losses = [line.ratios[method] for line in comparison.lines if line.named == "loss" and method in line.ratios]
    return "".join(f" Its training loss is {_times(ratio)} that of {comparison.reference}." for ratio in losses)


def _ratio(measure: str, ratio: Comparison) -> str:
    verdict = ("sharper" if ratio.difference > 0 else "flatter") if ratio.differs else "not shown to differ"
    return f"{verdict} by {measure} ({_times(ratio)}, p = {format_p(ratio.evidence)})"


def _times(ratio: Comparison) -> str:
    ends = [f"{math.exp(end):.2f}" for end in (ratio.low, ratio.high) if end is not None]
    return f"x {math.exp(ratio.difference):.2f}{_interval(ends)}"


def _points(score: Comparison) -> str:
    ends = [f"{100 * end:+.2f}" for end in (score.low, score.high) if end is not None]
    verdict = ("more" if score.difference > 0 else "less") + " accurate" if score.differs else "not shown to differ"
    return f"{verdict} ({100 * score.difference:+.2f} points{_interval(ends)}, p = {format_p(score.evidence)})"


def _interval(ends: Sequence[str]) -> str:
    return f" [{', '.join(ends)}]" if ends else ""


def correlations(comparison: FlatnessComparison) -> str:
    """Whether flatter runs were better, over all runs: Kendall's tau of each measure with the test score."""
    from scipy.stats import kendalltau

    taus = []
    for line in comparison.lines:
        pairs = [
            (value, comparison.tested[method][seed])
            for method, by_seed in line.values.items()
            for seed, value in by_seed.items()
        ]
        if line.named not in ("", SCORE) and len(pairs) > 2:
            taus.append(f"{line.measure} {kendalltau(*zip(*pairs, strict=True)).statistic:+.2f}")
    return (
        f"Rank correlation with the test score over all runs (Kendall's tau; -1: flatter is better): {', '.join(taus)}."
    )


def describe_surface(surface: LossSurface) -> str:
    """What was moved and what was measured."""
    weights = {"all": "all weights", "fusion": "the weights of the fusion"}.get(
        surface.block, f"the encoder of {surface.block}"
    )
    present = " + ".join(surface.coalition)
    where = f"Moved: {weights}. Present: {present}. Samples: {surface.samples}. Run seed: {surface.seed}."
    return f"{where} {surface.about}"


def describe_range(surface: LossSurface) -> str:
    """The losses of a surface."""
    low, high = min(surface.values), max(surface.values)
    return f"{surface.label}: loss {surface.loss:.3g} at the model, {low:.3g} to {high:.3g} around it"


def describe_curves(surfaces: Sequence[LossSurface]) -> str:
    """The losses along a line."""
    ends = (f"{it.label} {it.loss:.3g} at the model, at most {max(it.values):.3g}" for it in surfaces)
    return f"Loss along one line: {'; '.join(ends)}"

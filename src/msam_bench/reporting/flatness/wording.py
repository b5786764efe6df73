"""A flatness study in words: whether non-dominant encoders end sharper, what that costs, and with which evidence.

answer(study)                              # "No method is shown to leave the non-dominant encoders sharper ..."
details(study)                             # "msam: the non-dominant encoders are sharper by ball (x 2.13 ...). ..."
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from msam_bench.analysis.flatness.comparison import Study
from msam_bench.analysis.flatness.measures import SCORE
from msam_bench.analysis.statistics import Comparison, p_text, words


def answer(study: Study) -> str:
    """Whether non-dominant modalities end sharper or flatter than under the reference."""
    if len(study.methods) == 1 or len(study.modalities) == 1:
        return "There is nothing to compare: give several methods and modalities."
    leaders = [f"{name} on {count}" for name, count in Counter(study.dominant.values()).most_common()]
    return f"{_summary(study)} Measured {study.at}. Dominant: {words(leaders)} of {len(study.dominant)} seeds."


def _summary(study: Study) -> str:
    """One sentence on the sharpness of the non-dominant encoders, before the numbers."""
    found = {method: [own[method] for own in study.weaker.values() if method in own] for method in study.methods[1:]}
    sharper = [method for method, own in found.items() if any(it.differs and it.difference > 0 for it in own)]
    flatter = [method for method, own in found.items() if any(it.differs and it.difference < 0 for it in own)]
    said = [f"under {words(m)} they end {how}" for m, how in ((sharper, "sharper"), (flatter, "flatter")) if m]
    taken = f"mean over these encoders by {words(list(study.weaker))}; single encoders are in the table"
    kept = f"at the 5 % level, with {len(study.dominant)} seeds ({taken})"
    if not said:
        return (
            f"No method is shown to leave the non-dominant encoders sharper or flatter than {study.reference} {kept}."
        )
    first = said[0].replace("they", "the non-dominant encoders")
    return f"By at least one measure, {' and '.join([first, *said[1:]])} than under {study.reference} {kept}."


def details(study: Study) -> list[str]:
    """A few sentences for each method, with the numbers."""
    return [_of_method(study, method) for method in study.methods[1:]]


def _of_method(study: Study, method: str) -> str:
    sharp = [_ratio(name, own[method]) for name, own in study.weaker.items() if method in own]
    if not sharp:
        return f"{method}: no measure could be compared."
    alone = study.alone.get(method)
    cost = "" if alone is None else f" Alone, those modalities are {_points(alone)}."
    whole = study.accuracy.get(method)
    together = "" if whole is None else f" All modalities together are {_points(whole)}."
    return f"{method}: the non-dominant encoders are {words(sharp)}.{cost}{together}{_loss(study, method)}"


def _loss(study: Study, method: str) -> str:
    found = [line.ratios[method] for line in study.lines if line.named == "loss" and method in line.ratios]
    return "".join(f" Its training loss is {_times(one)} that of {study.reference}." for one in found)


def _ratio(measure: str, found: Comparison) -> str:
    verdict = ("sharper" if found.difference > 0 else "flatter") if found.differs else "not shown to differ"
    return f"{verdict} by {measure} ({_times(found)}, p = {p_text(found.evidence)})"


def _times(found: Comparison) -> str:
    ends = [f"{math.exp(end):.2f}" for end in (found.low, found.high) if end is not None]
    return f"x {math.exp(found.difference):.2f}{_within(ends)}"


def _points(found: Comparison) -> str:
    ends = [f"{100 * end:+.2f}" for end in (found.low, found.high) if end is not None]
    verdict = ("more" if found.difference > 0 else "less") + " accurate" if found.differs else "not shown to differ"
    return f"{verdict} ({100 * found.difference:+.2f} points{_within(ends)}, p = {p_text(found.evidence)})"


def _within(ends: Sequence[str]) -> str:
    return f" [{', '.join(ends)}]" if ends else ""


def correlations(study: Study) -> str:
    """Whether flatter runs were better, over all runs: Kendall's tau of each measure with the test score."""
    from scipy.stats import kendalltau

    found = []
    for line in study.lines:
        pairs = [
            (value, study.tested[method][seed]) for method, own in line.values.items() for seed, value in own.items()
        ]
        if line.named not in ("", SCORE) and len(pairs) > 2:
            found.append(f"{line.measure} {kendalltau(*zip(*pairs, strict=True)).statistic:+.2f}")
    return (
        "Rank correlation with the test score over all runs (Kendall's tau; -1: flatter is better): "
        f"{', '.join(found)}."
    )

"""What comparisons with a reference show, and how they came about.

verdict(comparisons, "joint")                              # "No evidence of a difference to joint for msam: ..."
caption(page)                                              # test, family and interval of a page's verdict
"""

from collections.abc import Mapping

from msam_bench.analysis.sentences.phrases import format_p, join_names
from msam_bench.analysis.statistics import FLIPS, Comparison, powerless
from msam_bench.analysis.verdict import Verdict


def verdict(
    comparisons: Mapping[str, Comparison], reference: str, *, scale: float = 100.0, unit: str = "points"
) -> str:
    """Says in one sentence what the comparisons with `reference` show.

    Args:
        comparisons: Method -> its comparison with the reference, adjusted as one family (`against`).
        reference: What they were compared with.
        scale: Factor from the values to the unit.
        unit: Unit of a difference in words.
    """
    if not comparisons:
        return f"Nothing was compared with {reference}."
    if powerless(comparisons):
        return _too_few(comparisons, reference)
    better = {name: c for name, c in comparisons.items() if c.differs and c.difference > 0}
    worse = {name: c for name, c in comparisons.items() if c.differs and c.difference < 0}
    rest = {name: c for name, c in comparisons.items() if not c.differs}
    if not better and not worse:
        return _undecided(comparisons, reference, scale, unit)
    parts = [
        f"{word}: {join_names([_amount(name, c, scale, unit) for name, c in group.items()])}"
        for word, group in (("better", better), ("worse", worse))
        if group
    ]
    parts += [f"no evidence of a difference: {join_names(rest)}"] if rest else []
    return f"Compared with {reference}, {'; '.join(parts)} ({_test(comparisons)})."


def _too_few(comparisons: Mapping[str, Comparison], reference: str) -> str:
    strongest = min(comparisons.values(), key=lambda c: c.smallest_p)
    family = strongest.family
    after = f", after Holm over {family} comparisons {format_p(min(1, family * strongest.smallest_p))}"
    return (
        f"With {_pairs(comparisons)} the smallest possible two-sided p is {format_p(min(1, strongest.smallest_p))}"
        f"{after if family > 1 else ''}: this comparison cannot show a difference to {reference} at the 5 % level."
    )


def _undecided(comparisons: Mapping[str, Comparison], reference: str, scale: float, unit: str) -> str:
    """Says that nothing was found, and how large a difference would still fit the data."""
    low = min(c.low for c in comparisons.values() if c.low is not None) * scale
    high = max(c.high for c in comparisons.values() if c.high is not None) * scale
    smallest = format_p(min(c.evidence for c in comparisons.values()))
    return (
        f"No evidence of a difference to {reference} for {join_names(comparisons)}: the 95 % intervals reach from "
        f"{low:+.2f} to {high:+.2f} {unit}, the smallest adjusted p is {smallest} ({_test(comparisons)})."
    )


def _amount(name: str, comparison: Comparison, scale: float, unit: str) -> str:
    return f"{name} by {abs(comparison.difference) * scale:.2f} {unit} (adjusted p {format_p(comparison.evidence)})"


def _test(comparisons: Mapping[str, Comparison]) -> str:
    kind = "exact" if all(c.exact for c in comparisons.values()) else f"{FLIPS:,} draws of the"
    family = max(c.family for c in comparisons.values())
    adjusted = f", Holm over {family} comparisons" if family > 1 else ""
    return f"{_pairs(comparisons)}, {kind} sign-flip test{adjusted}"


def _pairs(comparisons: Mapping[str, Comparison]) -> str:
    """Says how many seeds are paired: "n = 12 paired seeds"."""
    low, high = (pick(c.n for c in comparisons.values()) for pick in (min, max))
    return f"n = {low} paired seed{'s' if low != 1 else ''}" if low == high else f"n = {low} to {high} paired seeds"


ONLY_THESE = "what differs between folds is not in it, so it speaks for these folds only, as p does not"


SEEDS_ALONE = "This holds over seeds of this pool alone, not for other test samples."
"""Stands behind the verdict of a study, whose test knows of no samples."""


def caption(verdict: Verdict) -> str:
    """Says how every column came about."""
    score, contrasts = verdict.measure.name, verdict.contrasts
    parts = [
        f"Test {score} in evaluation mode at the epoch selected on validation data; mean and standard deviation over n "
        "seeds, runs that diverged counted as chance. tau: |train - test| / test at that epoch. A modality's own "
        "column: the run's test score when only that modality is present. Cost, counted while a run trains: gradients, "
        "back-propagations through all encoders (one through some of them is a part of one); forwards of the whole "
        "model; backwards, back-propagations of any kind; encoder passes, forwards of all encoders, alone or in the "
        "model; seconds: wall-clock time."
    ]
    if contrasts:
        bases = sorted({contrast.estimate.basis for contrast in contrasts.values()})
        parts.append(
            "Differences: mean of the paired differences over common seeds, with Student's t interval and p. The "
            f"standard error covers {join_names([_BASES[basis] for basis in bases])}. Intervals are simultaneous and p "
            "adjusted (Sidak) over all comparisons of a family: the methods of a column, or the baselines; of the "
            "families only that of the methods against the first reference was declared. The size of a difference is "
            f"negligible below {verdict.measure.amount(verdict.margin)}, small below four times, moderate below ten "
            "times that."
        )
    return " ".join(parts)


_BASES = {
    "samples": "seeds and test samples (two-way)",
    "groups": "seeds and groups of test samples (two-way)",
    "folds": "folds, by their means",
    "seeds": "seeds alone, where runs kept no predictions",
}

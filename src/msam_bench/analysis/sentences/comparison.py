"""What comparisons with a reference show, and how they came about.

verdict(comparisons, "joint")                              # "No evidence of a difference to joint for msam: ..."
overall_verdict(values, "joint", "sam", to_joint, to_sam)  # with both references, and whether one method is the best
caption(comparisons, folds=False)                          # test, family and interval
"""

from collections.abc import Mapping, Sequence

from msam_bench.analysis.sentences.phrases import format_p, join_names
from msam_bench.analysis.statistics import FLIPS, RESAMPLES, Comparison, best_method, powerless, summarise


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


def overall_verdict(
    values: Mapping[str, Mapping[int, float]],
    reference: str,
    second: str | None,
    to_reference: Mapping[str, Comparison],
    to_second: Mapping[str, Comparison],
) -> str:
    """Says what the comparisons with both references show, and names a best method only where it is supported."""
    if len(values) == 1:
        return f"Only {reference} was run: there is nothing to compare it with."
    if to_second and powerless(to_reference) and powerless(to_second):
        sentences = [verdict(to_reference, f"{reference} or {second}")]
    else:
        sentences = [verdict(to_reference, reference), *([verdict(to_second, second)] if second else [])]
    leader, rivals = best_method(values)
    pairs = len(values) * (len(values) - 1) // 2
    if not rivals and pairs > 1:
        sentences.append(
            f"{leader} is the best: it beats every other method, also when all {pairs} pairs are corrected for."
        )
    elif rivals:
        mean = 100 * summarise(values[leader].values()).mean
        sentences.append(
            f"No method is shown to be the best: {leader} has the highest mean ({mean:.2f} %), "
            f"but is not shown to beat {join_names(rivals)}."
        )
    return " ".join(sentences)


ONLY_THESE = "what differs between folds is not in it, so it speaks for these folds only, as p does not"


def caption(comparisons: Sequence[Comparison], folds: bool, score: str = "accuracy") -> str:
    """Says how every column came about."""
    parts = [
        f"Test {score} in evaluation mode at the epoch selected on validation data; mean and standard deviation over n "
        f"seeds. tau: |train - test| / test at that epoch. A modality's own column: test {score} when only that "
        "modality is present. Cost, counted while a run trains: gradients, back-propagations through all encoders (one "
        "through some of them is a part of one); forwards of the whole model; backwards, back-propagations of any "
        "kind; encoder passes, forwards of all encoders, alone or in the model; seconds: wall-clock time."
    ]
    if comparisons:
        sizes = sorted({c.family for c in comparisons})
        test = (
            "exact"
            if all(c.exact for c in comparisons)
            else f"with {FLIPS:,} drawn sign patterns (seed {comparisons[0].seed})"
        )
        parts.append(
            "Differences: mean of the paired differences over common seeds, with its 95 % "
            f"{_interval(comparisons, folds)}. "
            f"p: two-sided sign-flip permutation test, {test}, Holm-adjusted over the {join_names(map(str, sizes))} "
            f"comparison{'s' if sizes != [1] else ''} of its column."
        )
    return " ".join(parts)


def _interval(comparisons: Sequence[Comparison], folds: bool) -> str:
    """Says which interval was made."""
    if all(c.n < 2 for c in comparisons):
        return "interval (none: there is a single pair)"
    if any(c.interval == "Student's t" for c in comparisons):
        return "interval (Student's t where pairs are too few to resample, else bootstrap)"
    strata = max(c.strata for c in comparisons)
    kind = f"bootstrap interval ({RESAMPLES:,} resamples, seed {comparisons[0].seed}"
    if folds:
        kind += (
            f", stratified by {strata} folds: {ONLY_THESE}"
            if strata > 1
            else ", not stratified: some fold has a single seed"
        )
    return kind + ")"

"""The words around the table: what the comparisons show, what to know before trusting them, how they came about.

overall_verdict(values, "joint", "sam", to_joint, to_sam)  # "No evidence of a difference to joint for ..."
notes_on(groups, values, "joint", "joint")                 # seeds that were left out
caption(comparisons, folds=False)                          # test, family and interval
"""

from collections.abc import Iterable, Mapping, Sequence

from msam_bench.analysis.statistics import (
    FLIPS,
    RESAMPLES,
    Comparison,
    best_method,
    powerless,
    summarise,
    verdict,
    words,
)
from msam_bench.config.resolve import label_of
from msam_bench.config.run import RunConfig
from msam_bench.reporting.run_summary import Groups, Record
from msam_bench.reporting.settings import settings
from msam_bench.training.monitor import TITLES


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
            f"but is not shown to beat {words(rivals)}."
        )
    return " ".join(sentences)


def notes_on(groups: Groups, values: Mapping[str, Mapping[int, float]], wanted: str, reference: str) -> list[str]:
    """Says what a reader must know before trusting the table."""
    notes = []
    if reference != wanted:
        notes.append(f"No method is called {wanted}, so that the first one, {reference}, is the reference.")
    for name in groups:
        left_out = len(values[name].keys() ^ values[reference].keys())
        if not values[name].keys() & values[reference].keys():
            notes.append(f"{name} shares no seed with {reference} and is not compared with it.")
        elif left_out:
            common = len(values[name].keys() & values[reference].keys())
            notes.append(
                f"{name} and {reference} share {common} seeds; {left_out} that only one of them has are left out."
            )
    return notes


def watched(groups: Groups) -> list[str]:
    """Says which failure signatures were seen in training, and in how many runs."""
    notes = []
    for key, title in TITLES.items():
        seen = {name: sum(_shows(run, key) for run in runs) for name, runs in groups.items()}
        counts = [f"{name} in {count} of {len(groups[name])}" for name, count in seen.items() if count]
        if counts:
            notes.append(f"Seen in training: {title} ({words(counts)} runs).")
    return notes


def _shows(run: Record, key: str) -> bool:
    return any(found.partition("/")[0] == key for found in getattr(run, "warnings", {}))


def divergences(runs: Iterable[RunConfig], seeds: int) -> list[str]:
    """Says of each method in how many runs its loss was no longer finite.

    Args:
        runs: those that diverged.
        seeds: how many runs each method was to have.
    """
    found: dict[str, list[str]] = {}
    for run in runs:
        found.setdefault(label_of(run), []).append(str(run.seed))
    return [
        f"{label} diverged in every run and has no row; lower its strength or its learning rate."
        if len(own) == seeds
        else f"{label} diverged at seed {words(own)} and is compared without, in its favour."
        for label, own in found.items()
    ]


def settings_note(groups: Groups) -> list[str]:
    """Says what the methods were given alike, if not epochs, and which settings differ apart from the method itself."""
    notes = []
    if settings(groups)[0].get("budget") == "gradients":
        notes.append("Every method was given the same number of gradients, not of epochs.")
    differing = [key for key in settings(groups)[1] if key != "method" and not key.startswith("method.")]
    if differing:
        notes.append(f"Besides the method, these settings differ between methods: {words(differing)}.")
    return notes


ONLY_THESE = "what differs between folds is not in it, so it speaks for these folds only, as p does not"


def caption(found: Sequence[Comparison], folds: bool, score: str = "accuracy") -> str:
    """Says how every column came about."""
    parts = [
        f"Test {score} in evaluation mode at the epoch selected on validation data; mean and standard deviation over n "
        f"seeds. tau: |train - test| / test at that epoch. A modality's own column: test {score} when only that "
        "modality is present. Cost, counted while a run trains: gradients, back-propagations through all encoders (one "
        "through some of them is a part of one); forwards of the whole model; backwards, back-propagations of any "
        "kind; encoder passes, forwards of all encoders, alone or in the model; seconds: wall-clock time."
    ]
    if found:
        sizes = sorted({c.family for c in found})
        test = "exact" if all(c.exact for c in found) else f"with {FLIPS:,} drawn sign patterns (seed {found[0].seed})"
        parts.append(
            f"Differences: mean of the paired differences over common seeds, with its 95 % {_interval(found, folds)}. "
            f"p: two-sided sign-flip permutation test, {test}, Holm-adjusted over the {words(map(str, sizes))} "
            f"comparison{'s' if sizes != [1] else ''} of its column."
        )
    return " ".join(parts)


def _interval(found: Sequence[Comparison], folds: bool) -> str:
    """Says which interval was made."""
    if all(c.n < 2 for c in found):
        return "interval (none: there is a single pair)"
    if any(c.interval == "Student's t" for c in found):
        return "interval (Student's t where pairs are too few to resample, else bootstrap)"
    strata = max(c.strata for c in found)
    kind = f"bootstrap interval ({RESAMPLES:,} resamples, seed {found[0].seed}"
    if folds:
        kind += (
            f", stratified by {strata} folds: {ONLY_THESE}"
            if strata > 1
            else ", not stratified: some fold has a single seed"
        )
    return kind + ")"

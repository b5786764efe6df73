"""Which runs may be compared: of the same data, one for each method and seed, each with its accuracy.

groups = grouped(records, "joint", "sam")  # method -> runs, these two first
folds_of(groups)                           # seed -> fold, or None
"""

import math
from collections.abc import Iterable
from typing import Any

from msam_bench.reporting.record import Groups, Record
from msam_bench.statistics import words


def grouped(records: Iterable[Record], *first: str | None) -> Groups:
    """Groups runs by method, the references first, refusing what cannot be compared."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        _check(record)
        groups.setdefault(record.label, []).append(record)
    if not groups:
        raise ValueError("There is nothing to compare: no finished run was given.")
    runs = [run for own in groups.values() for run in own]
    for key, what in (("name", "different data"), ("fingerprint", "data with different fingerprints")):
        found = sorted({str(run.data[key]) for run in runs})
        if len(found) > 1:
            raise ValueError(f"These runs are of {what} ({words(found)}); compare runs of the same data.")
    for label, own in groups.items():
        for seed in {run.seed for run in own}:
            twice = [run.folder.name for run in own if run.seed == seed]
            if len(twice) > 1:
                raise ValueError(f"{label} has more than one run of seed {seed} ({words(twice)}); compare one a seed.")
    return {label: groups[label] for label in dict.fromkeys([*first, *groups]) if label in groups}


def _check(record: Record) -> None:
    accuracy = record.summary.get("test_accuracy")
    if not isinstance(accuracy, int | float) or not math.isfinite(accuracy):
        raise ValueError(
            f"A comparison needs the test accuracy of every run, but run {record.folder.name} ({record.label}, "
            f"seed {record.seed}) has {accuracy}; finish it or leave it out."
        )


def folds_of(groups: Groups) -> dict[int, Any] | None:
    """Gives seed -> fold, None where the data have no folds."""
    folds: dict[int, Any] = {}
    for run in (run for runs in groups.values() for run in runs):
        fold = run.data.get("fold")
        if folds.setdefault(run.seed, fold) != fold:
            raise ValueError(
                f"Runs of seed {run.seed} are of fold {folds[run.seed]} and of fold {fold}, "
                "so that they are no pair; compare runs whose folds go with their seeds."
            )
    return folds if any(fold is not None for fold in folds.values()) else None

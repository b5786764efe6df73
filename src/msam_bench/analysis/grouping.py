"""Which runs may be compared: of the same data, one for each method and seed, each with its accuracy.

groups = grouped(records, "joint", "sam")  # method -> runs, these two first
folds_of(groups)                           # seed -> fold, or None

Runs of one method that were set up differently, such as by `--tuned` and without, are methods of their own: those with
the most runs keep the name, the others say what differs, as in "sam (optimizer.lr=0.05, rho=0.2)".
"""

import math
from collections.abc import Iterable
from typing import Any

from msam_bench.analysis.run_summary import Groups, RunSummary
from msam_bench.analysis.sentences.phrases import join_names
from msam_bench.analysis.settings import flat


def grouped(records: Iterable[RunSummary], *first: str | None) -> Groups:
    """Groups runs by method, the references first, refusing what cannot be compared."""
    groups: dict[str, list[RunSummary]] = {}
    for record in records:
        _check(record)
        groups.setdefault(record.label, []).append(record)
    groups = {name: runs for label, alike in groups.items() for name, runs in split_by_settings(label, alike).items()}
    if not groups:
        raise ValueError("There is nothing to compare: no finished run was given.")
    runs = [run for alike in groups.values() for run in alike]
    for key, what in (("name", "different data"), ("fingerprint", "data with different fingerprints")):
        values = sorted({str(run.data[key]) for run in runs})
        if len(values) > 1:
            raise ValueError(f"These runs are of {what} ({join_names(values)}); compare runs of the same data.")
    for label, alike in groups.items():
        for seed in {run.seed for run in alike}:
            twice = [run.folder.name for run in alike if run.seed == seed]
            if len(twice) > 1:
                raise ValueError(
                    f"{label} has more than one run of seed {seed} ({join_names(twice)}); compare one a seed."
                )
    return {label: groups[label] for label in dict.fromkeys([*first, *groups]) if label in groups}


def split_by_settings(label: str, runs: Iterable[RunSummary]) -> dict[str, list[RunSummary]]:
    """The runs of one label by how they were set up."""
    by_setup: dict[tuple[tuple[str, str], ...], list[RunSummary]] = {}
    for run in runs:
        by_setup.setdefault(tuple(sorted(_setup(run).items())), []).append(run)
    most = max(by_setup.items(), key=lambda pair: (len(pair[1]), not pair[1][0].config["method"].get("tuned")))
    usual = dict(most[0])
    named = {}
    for setup, alike in by_setup.items():
        other = [f"{key.removeprefix('method.params.')}={value}" for key, value in setup if usual.get(key) != value]
        lacking = [f"no {key.removeprefix('method.params.')}" for key in usual if key not in dict(setup)]
        named[f"{label} ({', '.join([*other, *lacking])})" if other or lacking else label] = alike
    return named


def _setup(run: RunSummary) -> dict[str, str]:
    """The settings that decide a run's numbers, apart from its seed and where its data lie."""
    aside = ("seed", "snapshots", "data")
    return {k: v for k, v in flat(run.config).items() if k not in aside and not k.startswith("method.tuned.")}


def _check(record: RunSummary) -> None:
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

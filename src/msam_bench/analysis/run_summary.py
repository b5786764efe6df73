"""What a report knows of a run, and the mean of values that a run may lack.

`msam_bench.runs.record.Record` is one; anything with these fields will do.

    groups: Groups = {"joint": [run, other]}
    average(run.summary.get("tau") for run in groups["joint"])  # None where no run has it
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol


class RunSummary(Protocol):
    """One finished run, as its folder holds it."""

    @property
    def folder(self) -> Path:
        """Where the run lies."""
        ...

    @property
    def label(self) -> str:
        """The method as the user named it, such as "sam:rho=0.1"."""
        ...

    @property
    def seed(self) -> int:
        """The seed, which pairs runs of different methods."""
        ...

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration."""
        ...

    @property
    def data(self) -> Mapping[str, Any]:
        """Name, fingerprint, modalities, classes, sizes and, where there are folds, fold of the data."""
        ...

    @property
    def environment(self) -> Mapping[str, Any]:
        """Versions and machine."""
        ...

    @property
    def summary(self) -> Mapping[str, Any]:
        """Accuracies, gap, coalitions, contributions and cost at the selected epoch."""
        ...

    @property
    def timing(self) -> Mapping[str, Any]:
        """Seconds of the run."""
        ...

    @property
    def metrics(self) -> Sequence[Mapping[str, float]]:
        """One row an epoch."""
        ...


Groups = Mapping[str, Sequence[RunSummary]]  # method -> its runs, in the order of the records


def score_of(groups: Groups) -> str:
    """Gives what the scores of the runs are: accuracy of classes, or R2 of values."""
    return next((str(run.data.get("score", "accuracy")) for runs in groups.values() for run in runs), "accuracy")


def average(values: Iterable[float | None]) -> float | None:
    """Gives the mean of the values that are there, None when none is."""
    present = [v for v in values if v is not None and math.isfinite(v)]
    return math.fsum(present) / len(present) if present else None

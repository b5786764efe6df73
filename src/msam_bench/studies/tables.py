"""The table that most studies share: one row a condition, compared with a reference over paired seeds.

comparison = compared(records, reference="msam")
comparison.table("Test accuracy"), comparison.verdict
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msam_bench.analysis.grouping import folds_of, grouped
from msam_bench.analysis.run_summary import Groups, RunSummary, average
from msam_bench.analysis.sentences.comparison import ONLY_THESE, SEEDS_ALONE, verdict
from msam_bench.analysis.statistics import Comparison, against, summarise
from msam_bench.reporting import figures as charts
from msam_bench.reporting.figures import Figure
from msam_bench.reporting.table import Table


@dataclass(frozen=True)
class Compared:
    """Conditions against a reference.

    Args:
        groups: condition -> its runs, the reference first.
        reference: the condition that the others are compared with.
        comparisons: condition -> comparison of its test accuracy, one Holm family.
    """

    groups: Groups
    reference: str
    comparisons: Mapping[str, Comparison]

    @property
    def verdict(self) -> str:
        """What the comparisons show, in a sentence."""
        return f"{verdict(self.comparisons, self.reference)} {SEEDS_ALONE}"

    @property
    def means(self) -> dict[str, float]:
        """Condition -> mean test accuracy."""
        return {
            name: summarise(run.summary["test_accuracy"] for run in runs).mean for name, runs in self.groups.items()
        }

    @property
    def figures(self) -> list[Figure]:
        """The differences with their intervals."""
        return charts.differences(
            self.comparisons, self.reference, charts.series_styles(self.groups, reference=self.reference)
        )

    def table(self, title: str, **more: str) -> Table:
        """The table; `more` are further columns: title -> key of a run's summary, averaged over seeds."""
        rows = [self._row(name, more) for name in self.groups]
        digits = {"p (Holm)": 4, "tau": 3, **dict.fromkeys(more, 3)}
        strata = max((each.strata for each in self.comparisons.values()), default=1)
        folds = f" The interval is stratified by {strata} folds: {ONLY_THESE}." if strata > 1 else ""
        return Table(title, rows, digits, f"{_CAPTION} Differences are to {self.reference}.{folds}")

    def _row(self, name: str, more: Mapping[str, str]) -> dict[str, Any]:
        runs, comparison = self.groups[name], self.comparisons.get(name)
        scores = summarise(run.summary["test_accuracy"] for run in runs)
        return {
            "condition": name,
            "n": scores.n,
            "test %": 100 * scores.mean,
            "SD": None if scores.sd is None else 100 * scores.sd,
            **_difference(comparison),
            "tau": average(run.summary.get("tau") for run in runs),
            **{key: average(run.summary.get(source) for run in runs) for key, source in more.items()},
            **{f"{name} %": _alone(runs, name) for name in runs[0].data["modalities"]},
        }


def _alone(runs: Sequence[RunSummary], modality: str) -> float | None:
    mean = average(run.summary.get("coalitions", {}).get(modality) for run in runs)
    return None if mean is None else 100 * mean


_CAPTION = (
    "Test accuracy at the epoch selected on validation; differences in points over paired seeds, with 95 % bootstrap "
    "interval and Holm-adjusted sign-flip p; tau: |train - test| / test; a modality's own column: test accuracy of the "
    "model with that modality alone."
)


def compared(records: Sequence[RunSummary], reference: str) -> Compared:
    """Compares the test accuracy of every condition with the reference's.

    Raises:
        ValueError: if the runs cannot be compared.
    """
    groups = grouped(records, reference)
    values = {name: {run.seed: float(run.summary["test_accuracy"]) for run in runs} for name, runs in groups.items()}
    first = next(iter(groups))
    return Compared(groups, first, against(values, first, blocks=folds_of(groups)))


def _difference(comparison: Comparison | None) -> dict[str, float | None]:
    ends = {"low": None, "high": None} if comparison is None else {"low": comparison.low, "high": comparison.high}
    return {
        "difference": None if comparison is None else 100 * comparison.difference,
        **{key: None if end is None else 100 * end for key, end in ends.items()},
        "p (Holm)": None if comparison is None else comparison.evidence,
    }


def epoch_mean(run: RunSummary, key: str) -> float:
    """Mean of a column of a run's metrics over the epochs that have it; NaN if none has."""
    mean = average(row.get(key) for row in run.metrics)
    return float("nan") if mean is None else mean


def run_mean(runs: Sequence[RunSummary], key: str) -> float:
    """Mean over runs of `epoch_mean`."""
    return sum(epoch_mean(run, key) for run in runs) / len(runs)

"""The table that most studies share: one row a condition, compared with a reference over paired seeds.

comparison = compared(records, reference="msam")
comparison.sheet("Test accuracy"), comparison.verdict
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msam_bench.analysis.statistics import Comparison, against, summarise, verdict
from msam_bench.reporting import figures as charts
from msam_bench.reporting.figures import Figure
from msam_bench.reporting.grouping import folds_of, grouped
from msam_bench.reporting.result import Sheet
from msam_bench.reporting.run_summary import Groups, Record, average
from msam_bench.reporting.wording import ONLY_THESE


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
        return verdict(self.comparisons, self.reference)

    @property
    def means(self) -> dict[str, float]:
        """Condition -> mean test accuracy."""
        return {
            name: summarise(run.summary["test_accuracy"] for run in runs).mean for name, runs in self.groups.items()
        }

    @property
    def figures(self) -> list[Figure]:
        """The differences with their intervals."""
        return charts.differences(self.comparisons, self.reference, charts.looks(self.groups, ink=self.reference))

    def sheet(self, title: str, **more: str) -> Sheet:
        """The table; `more` are further columns: title -> key of a run's summary, averaged over seeds."""
        rows = [self._row(name, more) for name in self.groups]
        digits = {"p (Holm)": 4, "tau": 3, **dict.fromkeys(more, 3)}
        strata = max((each.strata for each in self.comparisons.values()), default=1)
        folds = f" The interval is stratified by {strata} folds: {ONLY_THESE}." if strata > 1 else ""
        return Sheet(title, rows, digits, f"{_CAPTION} Differences are to {self.reference}.{folds}")

    def _row(self, name: str, more: Mapping[str, str]) -> dict[str, Any]:
        runs, found = self.groups[name], self.comparisons.get(name)
        own = summarise(run.summary["test_accuracy"] for run in runs)
        return {
            "condition": name,
            "n": own.n,
            "test %": 100 * own.mean,
            "SD": None if own.sd is None else 100 * own.sd,
            **_difference(found),
            "tau": average(run.summary.get("tau") for run in runs),
            **{key: average(run.summary.get(source) for run in runs) for key, source in more.items()},
            **{f"{name} %": _alone(runs, name) for name in runs[0].data["modalities"]},
        }


def _alone(runs: Sequence[Record], modality: str) -> float | None:
    found = average(run.summary.get("coalitions", {}).get(modality) for run in runs)
    return None if found is None else 100 * found


_CAPTION = (
    "Test accuracy at the epoch selected on validation; differences in points over paired seeds, with 95 % bootstrap "
    "interval and Holm-adjusted sign-flip p; tau: |train - test| / test; a modality's own column: test accuracy of the "
    "model with that modality alone."
)


def compared(records: Sequence[Record], reference: str) -> Compared:
    """Compares the test accuracy of every condition with the reference's.

    Raises:
        ValueError: if the runs cannot be compared.
    """
    groups = grouped(records, reference)
    values = {name: {run.seed: float(run.summary["test_accuracy"]) for run in runs} for name, runs in groups.items()}
    first = next(iter(groups))
    return Compared(groups, first, against(values, first, blocks=folds_of(groups)))


def _difference(found: Comparison | None) -> dict[str, float | None]:
    ends = {"low": None, "high": None} if found is None else {"low": found.low, "high": found.high}
    return {
        "difference": None if found is None else 100 * found.difference,
        **{key: None if end is None else 100 * end for key, end in ends.items()},
        "p (Holm)": None if found is None else found.evidence,
    }


def epoch_mean(run: Record, key: str) -> float:
    """Mean of a column of a run's metrics over the epochs that have it; NaN if none has."""
    found = average(row.get(key) for row in run.metrics)
    return float("nan") if found is None else found


def run_mean(runs: Sequence[Record], key: str) -> float:
    """Mean over runs of `epoch_mean`."""
    return sum(epoch_mean(run, key) for run in runs) / len(runs)

"""The comparison table: plain values that the terminal, the page, Markdown and CSV all show.

table = compare(records)                 # msam_bench.reporting.report
table.header, table.cells                # as text, percent and points as units
table.rows[0].accuracy.mean              # as it is, between 0 and 1
table.markdown(), table.csv()
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from msam_bench.analysis.sentences.phrases import MISSING, format_difference, format_number, format_p
from msam_bench.analysis.statistics import Comparison, Summary
from msam_bench.files import csv_text
from msam_bench.metrics.measure import Measure
from msam_bench.reporting.table import escape_markdown, markdown_table

PASSES = ("gradients", "forwards", "backwards", "encoder_passes")
"""What is counted of a run: gradients of all encoders, passes of the model, back-propagations, encoder passes."""


@dataclass(frozen=True)
class ComparisonRow:
    """One method of the table; accuracies (or R2) of at most 1, None where nothing was recorded."""

    method: str
    n: int
    accuracy: Summary
    to_reference: Comparison | None
    to_second: Comparison | None
    tau: float | None
    alone: Mapping[str, float | None]
    gradients: float | None
    forwards: float | None
    backwards: float | None
    encoder_passes: float | None
    seconds: float | None
    train_accuracy: float | None
    last_accuracy: float | None
    epoch: float | None
    switching: float | None

    def compared(self, to_reference: Comparison | None, to_second: Comparison | None) -> Self:
        """The row with its comparisons."""
        return replace(self, to_reference=to_reference, to_second=to_second)


@dataclass(frozen=True)
class TableColumn:
    """One column as shown: the group it stands under, its title there, its title alone, and its cells as text."""

    group: str
    title: str
    alone: str
    text: Callable[[ComparisonRow], str] = field(repr=False)


@dataclass(frozen=True)
class ComparisonTable:
    """The comparison: a row for each method, what it is compared with, and what that shows in words."""

    rows: tuple[ComparisonRow, ...]
    data: str
    modalities: tuple[str, ...]
    seeds: tuple[int, ...]
    reference: str
    second: str | None
    verdict: str
    caption: str
    notes: tuple[str, ...] = ()
    measure: Measure = field(default_factory=Measure)

    @property
    def score(self) -> str:
        """What was measured, such as accuracy."""
        return self.measure.name

    @property
    def columns(self) -> tuple[TableColumn, ...]:
        """The columns as shown, percent and points as units."""
        scale, unit = self.measure.scale, ", %" if self.measure.scale == 100 else ""
        shown = [
            TableColumn("", "method", "method", lambda row: row.method),
            TableColumn("", "n", "n", lambda row: str(row.n)),
            TableColumn(
                f"test {self.score}{unit}",
                "mean",
                f"test{unit.strip(',')}",
                lambda row: format_number(row.accuracy.mean, scale),
            ),
            TableColumn(f"test {self.score}{unit}", "SD", "SD", lambda row: format_number(row.accuracy.sd, scale)),
            *_difference_columns(self.reference, self.measure, lambda row: row.to_reference),
            *(_difference_columns(self.second, self.measure, lambda row: row.to_second) if self.second else ()),
            TableColumn("", "tau", "tau", lambda row: format_number(row.tau, digits=3)),
            *(_alone_column(modality, self.score) for modality in self.modalities),
            *(_cost_column(name) for name in PASSES),
            TableColumn("cost of a run", "seconds", "seconds", lambda row: format_number(row.seconds, digits=1)),
        ]
        return tuple(shown)

    @property
    def header(self) -> tuple[str, ...]:
        """The column titles, each understandable alone."""
        return tuple(column.alone for column in self.columns)

    @property
    def cells(self) -> tuple[tuple[str, ...], ...]:
        """The rows as text, in the order of the header."""
        return tuple(tuple(column.text(row) for column in self.columns) for row in self.rows)

    def markdown(self) -> str:
        """Gives the table as Markdown: the verdict, the notes, the rows, the caption."""
        notes = "\n".join(f"- {escape_markdown(note)}" for note in self.notes)
        rows = markdown_table(self.header, self.cells)
        parts = (escape_markdown(self.verdict), notes, rows, escape_markdown(self.caption))
        return "\n\n".join(part for part in parts if part) + "\n"

    def csv(self) -> str:
        """Gives the table as CSV with every value unrounded, accuracies between 0 and 1."""
        return csv_text([self._values(row) for row in self.rows])

    @property
    def _key(self) -> str:
        return self.score.lower().replace(" ", "_").replace("-", "_")

    def _values(self, row: ComparisonRow) -> dict[str, Any]:
        return {
            "method": row.method,
            "n": row.n,
            **{f"test_{self._key}_{key}": getattr(row.accuracy, key) for key in ("mean", "sd", "iqm")},
            **_comparison_values("reference", self.reference, row.to_reference),
            **_comparison_values("second", self.second or "", row.to_second),
            "tau": row.tau,
            **{f"alone_{modality}": row.alone.get(modality) for modality in self.modalities},
            **{key: getattr(row, key) for key in (*PASSES, "seconds")},
            **{f"{when}_{self._key}": getattr(row, f"{when}_accuracy") for when in ("train", "last")},
            "epoch": row.epoch,
            "switching": row.switching,
        }


def _difference_columns(
    name: str, measure: Measure, of: Callable[[ComparisonRow], Comparison | None]
) -> tuple[TableColumn, TableColumn]:
    group = f"difference to {name}, {measure.unit}"
    return (
        TableColumn(
            group,
            "mean [simultaneous 95 % interval]",
            f"to {name} [95 %]",
            lambda row: format_difference(of(row), measure.scale),
        ),
        TableColumn(group, "p (adjusted)", f"p ({name})", lambda row: _p(of(row))),
    )


def _p(comparison: Comparison | None) -> str:
    """The adjusted p; none where a difference is only described."""
    adjusted = comparison.adjusted if comparison else None
    return MISSING if adjusted is None else format_p(adjusted)


def _alone_column(modality: str, score: str) -> TableColumn:
    text: Callable[[ComparisonRow], str] = lambda row: format_number(row.alone.get(modality), 100, 1)  # noqa: E731
    return TableColumn(f"{score} of each modality alone, %", modality, f"{modality} %", text)


def _cost_column(name: str) -> TableColumn:
    title = name.replace("_", " ")
    return TableColumn("cost of a run", title, title, lambda row: format_number(getattr(row, name), digits=0))


def _comparison_values(place: str, name: str, comparison: Comparison | None) -> dict[str, Any]:
    keys = ("difference", "low", "high", "p", "adjusted", "n", "unpaired", "probability_of_improvement")
    return {place: name} | {f"to_{place}_{key}": getattr(comparison, key, None) for key in keys}

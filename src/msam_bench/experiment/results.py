"""What an experiment's verbs give: tables as pandas, sentences, and a page that needs no network.

found = experiment.compare(["joint", "msam:rho=0.1"], seeds=12)
found.frame, found.table, found.verdict
found.report("out")
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msam_bench.files import csv_text

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from msam_bench.reporting.comparing import Question
    from msam_bench.reporting.comparison_table import ComparisonTable
    from msam_bench.reporting.result import Result
    from msam_bench.runs.record import RunRecord


@dataclass(frozen=True)
class Comparison:
    """Methods compared over paired seeds.

    Args:
        records: the finished runs.
        evidence: the table with what it shows in words.
        notes: what else a reader must know.
        command: what made the runs.
        question: what was asked of them.
    """

    records: Sequence[RunRecord]
    evidence: ComparisonTable
    notes: tuple[str, ...]
    command: str
    question: Question

    @property
    def verdict(self) -> str:
        """What the evidence supports, in words."""
        return self.evidence.verdict

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row a run: method, seed, every metric of every split, cost."""
        rows = [_row(record) for record in self.records]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        return [{name: row.get(name) for name in columns} for row in rows]

    @property
    def frame(self) -> pd.DataFrame:
        """The rows, as a frame.

        Raises:
            ValueError: pandas is not installed.
        """
        return _frame(csv_text(self.rows))

    @property
    def table(self) -> pd.DataFrame:
        """One row a method: mean, SD, difference, interval, p; unrounded.

        Raises:
            ValueError: pandas is not installed.
        """
        return _frame(self.evidence.csv()).set_index("method")

    def report(self, folder: str | Path) -> Path:
        """Writes the page, the table and the figures into a folder, and gives the path of the page."""
        from msam_bench.reporting.report import write_report

        return write_report(self.records, Path(folder), self.command, self.notes, question=self.question)

    def _repr_html_(self) -> str:
        """The verdict and the table, for a notebook."""
        return _html(self.verdict, [("", self.evidence.header, self.evidence.cells)])

    def __str__(self) -> str:
        return self.evidence.markdown()


@dataclass(frozen=True)
class Answer:
    """The answer of a study.

    Args:
        result: tables, figures and sentences.
        records: the runs that it rests on.
        command: what made the runs.
    """

    result: Result
    records: Sequence[RunRecord]
    command: str

    @property
    def verdict(self) -> str:
        """The answer, in words."""
        return "\n".join(part for part in (self.result.answer, self.result.listed) if part)

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table by its title.

        Raises:
            ValueError: pandas is not installed.
        """
        return {table.title: _frame(table.csv()) for table in self.result.tables}

    def report(self, folder: str | Path) -> Path:
        """Writes the page and its tables into a folder, and gives the path of the page."""
        from msam_bench.reporting.study_page import write_study
        from msam_bench.runs.record import environment

        measured = None if self.records else environment()
        return write_study(Path(folder), self.result, self.command, self.records, measured)

    def _repr_html_(self) -> str:
        """The answer and its tables, for a notebook."""
        return _html(self.verdict, [(table.title, table.header, table.cells) for table in self.result.tables])

    def __str__(self) -> str:
        return self.verdict


@dataclass(frozen=True)
class Trained:
    """One finished run.

    Args:
        record: what its folder holds.
    """

    record: RunRecord

    @property
    def summary(self) -> Mapping[str, Any]:
        """The measurements at the selected epoch."""
        return self.record.summary

    def model(self) -> nn.Module:
        """The model with the selected weights."""
        from msam_bench.data.problems.building import Adapted
        from msam_bench.runs.restore import restored

        bare: nn.Module = restored(self.record)[0].bare
        return bare.model if isinstance(bare, Adapted) else bare

    def __str__(self) -> str:
        return f"{self.record.label}, seed {self.record.seed}: test {self.summary['test_accuracy']:.4f}"


_ASIDE = ("epoch", "switching")


def _row(record: RunRecord) -> dict[str, Any]:
    """A run in one row; what is measured for each modality or metric gets a column each."""
    score = str(record.data.get("score", "accuracy")).lower()
    flat: dict[str, Any] = {"method": record.label, "seed": record.seed}
    for name, value in record.summary.items():
        if isinstance(value, Mapping):
            prefix = name.removesuffix("_metrics")
            flat |= {f"{prefix}_{key}": number for key, number in value.items()}
        else:
            flat[name.replace("accuracy", score)] = value
    return flat | {"seconds": record.timing.get("seconds"), "folder": str(record.folder)}


def _frame(text: str) -> pd.DataFrame:
    try:
        import pandas
    except ImportError:
        raise ValueError("Tables as pandas need pandas: pip install pandas; `rows` and `str()` do without.") from None
    return pandas.read_csv(io.StringIO(text))


def _html(verdict: str, tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]]) -> str:
    """Sentences and tables as HTML."""
    parts = [f"<p>{escape(verdict)}</p>"]
    for title, header, cells in tables:
        head = "".join(f"<th>{escape(name)}</th>" for name in header)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in cells)
        caption = f"<caption>{escape(title)}</caption>" if title else ""
        parts.append(f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    return "".join(parts)

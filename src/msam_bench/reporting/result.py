"""What a study found: an answer in words, details, tables and figures, before they become a page.

Result("rho", "Which radius?", answer, details, (sheet,), {"curve": figures})
sheet.markdown(), sheet.csv()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msam_bench.files import csv_text
from msam_bench.reporting.cells import NOTHING
from msam_bench.reporting.figures import Figure


@dataclass(frozen=True)
class Sheet:
    """A table of values as they are, with how many digits each column shows.

    Args:
        title: what it shows.
        rows: the same keys in every row; the first key names the row.
        digits: column -> digits after the point; whole numbers and text need none.
        caption: how the values came about.
    """

    title: str
    rows: Sequence[Mapping[str, Any]]
    digits: Mapping[str, int] = field(default_factory=dict)
    caption: str = ""

    @property
    def header(self) -> tuple[str, ...]:
        """The column titles."""
        return tuple(self.rows[0])

    @property
    def cells(self) -> tuple[tuple[str, ...], ...]:
        """The rows as text."""
        return tuple(tuple(self._text(key, value) for key, value in row.items()) for row in self.rows)

    @property
    def words(self) -> tuple[str, ...]:
        """The columns that hold text, which reads from the left."""
        return tuple(key for key in self.header if any(isinstance(row[key], str) for row in self.rows))

    def markdown(self) -> str:
        """The table as Markdown, under its title."""
        lines = [self.header, ("---", *["---:"] * (len(self.header) - 1)), *self.cells]
        table = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
        return "\n\n".join(part for part in (f"### {self.title}", table, self.caption) if part) + "\n"

    def csv(self) -> str:
        """The rows unrounded."""
        return csv_text(self.rows)

    def _text(self, key: str, value: Any) -> str:
        if value is None:
            return NOTHING
        return f"{value:.{self.digits.get(key, 2)}f}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Result:
    """What a study found.

    Args:
        name: of the study.
        question: what it asks.
        answer: one or two sentences; says so if nothing was found.
        details: a sentence each, with numbers.
        sheets: the tables.
        figures: section title -> its figures.
        ordered: whether the details are steps, to be taken in their order.
    """

    name: str
    question: str
    answer: str
    details: Sequence[str]
    sheets: Sequence[Sheet]
    figures: Mapping[str, Sequence[Figure]]
    ordered: bool = False

    @property
    def listed(self) -> str:
        """The details, a line each, as the command line and Markdown show them."""
        marks = (f"{i}." if self.ordered else "-" for i, _ in enumerate(self.details, 1))
        return "\n".join(f"{mark} {line}" for mark, line in zip(marks, self.details, strict=True))

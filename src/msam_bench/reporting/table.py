"""Tables: Markdown with one escaping for all, and the table of values that studies give.

markdown_table(("method", "n"), [("a|b", "3")])
table = Table("Title", [{"method": "sam", "test %": 96.1234}], {"test %": 1})
table.cells, table.markdown(), table.csv()
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msam_bench.analysis.sentences.phrases import MISSING
from msam_bench.files import csv_text


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Writes a Markdown table; every column but the first is aligned to the right."""
    lines = [header, ("---", *["---:"] * (len(header) - 1)), *rows]
    return "\n".join(f"| {' | '.join(map(escape_markdown, line))} |" for line in lines)


def escape_markdown(text: str) -> str:
    """Keeps a name from being read as Markdown's table bars or as HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


@dataclass(frozen=True)
class Table:
    """Values as they are, with how many digits each column shows.

    Args:
        title: what it shows.
        rows: the same keys in every row, which are the columns of the CSV; the first key names the row.
        digits: column -> digits after the point; whole numbers and text need none.
        caption: how the values came about.
        titles: column -> its title where that is not its key.
        significant: digits of the numbers of all other columns; two after the point if None.
    """

    title: str
    rows: Sequence[Mapping[str, Any]]
    digits: Mapping[str, int] = field(default_factory=dict)
    caption: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)
    significant: int | None = None

    @property
    def header(self) -> tuple[str, ...]:
        """The column titles."""
        return tuple(self.titles.get(key, key) for key in self.rows[0])

    @property
    def cells(self) -> tuple[tuple[str, ...], ...]:
        """The rows as text."""
        return tuple(tuple(self._text(key, value) for key, value in row.items()) for row in self.rows)

    @property
    def words(self) -> tuple[str, ...]:
        """The titles of the columns that hold text, which reads from the left."""
        textual = (key for key in self.rows[0] if any(isinstance(row[key], str) for row in self.rows))
        return tuple(self.titles.get(key, key) for key in textual)

    def markdown(self) -> str:
        """The table as Markdown, under its title."""
        parts = (f"### {self.title}", markdown_table(self.header, self.cells), self.caption)
        return "\n\n".join(part for part in parts if part) + "\n"

    def csv(self) -> str:
        """The rows unrounded."""
        return csv_text(self.rows)

    def _text(self, key: str, value: Any) -> str:
        if value is None:
            return MISSING
        if not isinstance(value, float):
            return str(value)
        if self.significant is not None and key not in self.digits:
            return f"{value:.{self.significant}g}"
        return f"{value:.{self.digits.get(key, 2)}f}"

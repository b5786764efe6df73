"""The result of a study: an answer in words, details, tables and figures, before they become a page.

Result("rho", "Which radius?", answer, details, (table,), {"Over rho": figures})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msam_bench.reporting.figures import Figure
from msam_bench.reporting.table import Table


@dataclass(frozen=True)
class Result:
    """What a study concludes.

    Args:
        name: of the study.
        question: what it asks.
        answer: one or two sentences; says so if nothing is shown.
        details: a sentence each, with numbers.
        tables: the tables.
        figures: section title -> its figures.
        ordered: whether the details are steps, to be taken in their order.
        introductions: section title -> what to know before reading its figures.
        facts: settings of the measurements.
        files: name -> content of further files beside the page.
    """

    name: str
    question: str
    answer: str
    details: Sequence[str]
    tables: Sequence[Table]
    figures: Mapping[str, Sequence[Figure]]
    ordered: bool = False
    introductions: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes | str] = field(default_factory=dict)

    @property
    def listed(self) -> str:
        """The details, a line each, as the command line and Markdown show them."""
        marks = (f"{i}." if self.ordered else "-" for i, _ in enumerate(self.details, 1))
        return "\n".join(f"{mark} {line}" for mark, line in zip(marks, self.details, strict=True))

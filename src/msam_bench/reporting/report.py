"""From run records to evidence: one table, one sentence, one page that needs no network.

`compare` turns records into a `ComparisonTable` of plain values that the terminal, the page, Markdown and CSV all
show; its `verdict` says in words what the evidence supports. `write_report` writes the page with every figure, and the
table beside it. The parts lie in `msam_bench.reporting`.

    table = compare(records)                                # against "joint" and "sam", paired by seed
    print(table.verdict)
    write_report(records, Path("results"), "msam compare")  # results/report.html, table.md, table.csv, figures/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from msam_bench.analysis.run_summary import RunSummary
    from msam_bench.reporting.comparing import Question, compare
    from msam_bench.reporting.comparison_table import ComparisonTable

__all__ = ["ComparisonTable", "Question", "RunSummary", "compare", "write_report"]

_HOMES = {
    "ComparisonTable": "msam_bench.reporting.comparison_table",
    "Question": "msam_bench.reporting.comparing",
    "RunSummary": "msam_bench.analysis.run_summary",
    "compare": "msam_bench.reporting.comparing",
}
"""Name -> the module that it is taken from when somebody asks for it: statistics take long to import."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def write_report(
    records: Iterable[RunSummary],
    path: Path,
    command: str,
    notes: Sequence[str] = (),
    executor: Executor | None = None,
    question: Question | None = None,
) -> Path:
    """Writes `report.html`, `table.md`, `table.csv` and `figures/*` into a folder and gives the path of the page.

    Each file appears whole or not at all, and nothing is written when the runs cannot be compared.

    Args:
        records: Finished runs of one data set, one for each method and seed.
        path: The folder, created where it does not exist.
        command: The command that reproduces the runs, shown as it is.
        notes: As `compare`.
        question: As `compare`.
        executor: What draws the pictures beside the page; this process if None.

    Raises:
        ValueError: As `compare`, and if `path` is not a folder.
    """
    from msam_bench.analysis.assessment import by_row
    from msam_bench.analysis.grouping import grouped
    from msam_bench.reporting.comparing import compare, methods_of
    from msam_bench.reporting.comparison_page import draw, render_comparison
    from msam_bench.reporting.page import write

    records = list(records)
    table = compare(records, notes=notes, question=question)
    groups = by_row(grouped(records, table.reference, table.second))
    figures = draw(methods_of(groups), table)
    html = render_comparison(groups, table, figures, command)
    return write(path, "report.html", html, figures, {"table.md": table.markdown(), "table.csv": table.csv()}, executor)

"""What the command shows: lines, grids, tables and progress bars on one console."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table as Grid

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from rich.progress import Progress

    from msam_bench.analysis.run_summary import RunSummary
    from msam_bench.reporting.comparing import Question
    from msam_bench.reporting.comparison_table import ComparisonTable
    from msam_bench.reporting.result import Result
    from msam_bench.reporting.table import Table
    from msam_bench.runs.executor import State

PARALLEL = "TORCHELASTIC_RUN_ID" in os.environ
"""Whether torchrun started this process, with others that train the same run."""
FIRST = not PARALLEL or os.environ["RANK"] == "0"
"""Whether this process speaks: of several that train one run, the first does."""

LONGEST = 60
"""Rows of a table that is shown."""

console = Console(width=None if sys.stdout.isatty() else 200, quiet=not FIRST)


@contextmanager
def progress(count: int) -> Iterator[Any]:
    """A progress bar over the epochs of so many runs."""
    with _bar("{task.percentage:>3.0f} %", "{task.description}") as bar:
        task = bar.add_task("starting", total=None)

        def watch(state: State) -> None:
            words = f"{state.finished} of {count} runs; now {', '.join(state.running) or '...'}"
            bar.update(task, completed=state.epochs, total=state.total, description=words)

        yield watch


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for a known number of things, shown once the number is known."""
    with _bar("{task.completed} of {task.total} " + what) as bar:
        task = bar.add_task(what, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def _bar(*texts: str) -> Progress:
    """A progress bar with its texts, time gone and time left."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn(text) for text in texts)
    return Progress(
        BarColumn(30), *columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=console
    )


def show_table(table: ComparisonTable) -> None:
    """The comparison as two narrow tables: what the evidence is, then each modality alone and the cost."""
    split = table.header.index("tau") + 1
    for columns in (range(split), [0, *range(split, len(table.header))]):
        grid = new_grid(*(table.header[column] for column in columns))
        for row in table.cells:
            grid.add_row(*(row[column] for column in columns))
        console.print(grid, "")


def show_comparison(
    records: Sequence[RunSummary], folder: Path, notes: Sequence[str] = (), question: Question | None = None
) -> None:
    """The table of a comparison, its notes, its page and its verdict."""
    from msam_bench.reporting.report import compare, write_report

    table = compare(records, notes=notes, question=question)
    show_table(table)
    with artists() as executor:
        page = write_report(records, folder, command(), notes, executor, question)
    for note in table.notes[len(notes) :]:
        console.print(note, soft_wrap=True, highlight=False, markup=False)
    console.print(f"\n{table.verdict}\n\nReport: {page}", soft_wrap=True, highlight=False, markup=False)


def show_values(table: Table) -> None:
    """A table of a study under its title; a long one is in the report alone."""
    if len(table.rows) > LONGEST:
        return
    grid = new_grid(*table.header)
    for row in table.cells:
        grid.add_row(*row)
    console.print(table.title, style="bold")
    console.print(grid, "")


def artists() -> Executor:
    """Processes that draw the pictures of a report, one a core; none starts before there is a picture to draw."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from msam_bench.runs.executor import leave_with_parent

    return ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), leave_with_parent)


def report_folder(given: Path | None, name: str) -> Path:
    """Where a report goes, known to be no file before anything is trained for it.

    Raises:
        ValueError: if it is one.
    """
    folder = given or Path("reports") / name
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"A report is written into a folder, but {folder} is a file; name a folder.")
    return folder


def show_result(
    result: Result, folder: Path, records: Sequence[RunSummary], measured: Mapping[str, Any] | None = None
) -> None:
    """A study's tables, its page, and its answer."""
    from msam_bench.reporting.study_page import write_study

    for table in result.tables:
        show_values(table)
    page = write_study(folder, result, command(), records, measured)
    words = "\n".join(part for part in (result.answer, result.listed) if part)
    console.print(f"\n{words}\n\nReport: {page}", soft_wrap=True, highlight=False, markup=False)


def new_grid(*columns: str) -> Grid:
    """An empty grid with these headings."""
    grid = Grid(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        grid.add_column(column, overflow="fold", no_wrap=not console.is_terminal)
    return grid


def line(title: str, text: object) -> None:
    """One fact under its title."""
    console.print(f"{title:21} {text}", soft_wrap=True, highlight=False, markup=False)


def command() -> str:
    """The command as it was typed, for the record."""
    return " ".join(["msam", *sys.argv[1:]])

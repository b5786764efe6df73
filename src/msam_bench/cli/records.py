"""`msam report` and `msam runs`: what finished runs say; nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.cli.app import app
from msam_bench.cli.screen import console, new_grid, show_comparison
from msam_bench.cli.settings import Judged, check_positive

if TYPE_CHECKING:
    from msam_bench.analysis.run_summary import RunSummary
    from msam_bench.config.run import RunConfig


@app.command
def report(*folders: Path, judged: Judged = Judged(), output: Path = Path("reports/report")) -> None:
    """Rebuild table and report from run folders; nothing is trained.

    Args:
        folders: Run folders, or folders that contain them.
        judged: What is asked of the runs.
        output: Folder of the report.
    """
    from msam_bench.runs import record as runs

    folders = folders or (Path("runs"),)
    records = runs.records(folders)
    check_positive(finished_runs=len(records))
    show_comparison(records, output, (), judged.question(_diverged(folders)))


def _diverged(folders: Sequence[Path]) -> list[RunConfig]:
    """The runs below these folders whose loss was no longer finite."""
    from msam_bench.config.run import validated
    from msam_bench.runs import record as runs

    return [validated(record.config) for record in runs.records(folders, status="failed")]


@app.command(name="runs")
def list_runs(*folders: Path, data: str | None = None, method: str | None = None, status: str | None = None) -> None:
    """List runs.

    Args:
        folders: Run folders, or folders that contain them; runs if not given.
        data: Only runs on this data set.
        method: Only runs whose method begins like this.
        status: Only runs that are running, finished or failed.
    """
    from msam_bench.runs import record as runs

    grid = new_grid("method", "data", "fusion", "seed", "status", "epoch", "test score", "folder")
    records = runs.records(folders or [Path("runs")], status=status or "")
    names = _names(records)
    for record in records:
        if (data or record.config["data"]) == record.config["data"] and record.label.startswith(method or ""):
            tested = record.summary.get("test_accuracy")
            cells = (names[record.folder], record.config["data"], record.config["fusion"], record.seed, record.status)
            shown = (len(record.metrics), "" if tested is None else f"{tested:.4f}", record.folder)
            grid.add_row(*(str(cell) for cell in (*cells, *shown)))
    console.print(grid)


def _names(records: Sequence[RunSummary]) -> dict[Path, str]:
    """The name of the method of each run, with the settings in which runs of one method differ."""
    from msam_bench.analysis.grouping import split_by_settings

    alike: dict[tuple[str, str, str], list[RunSummary]] = {}
    for record in records:
        alike.setdefault((record.label, record.config["data"], record.config["fusion"]), []).append(record)
    named = [pair for (label, *_), group in alike.items() for pair in split_by_settings(label, group).items()]
    return {record.folder: name for name, group in named for record in group}

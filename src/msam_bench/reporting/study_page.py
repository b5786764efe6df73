"""The page of a study: the answer first, then tables and figures; one file, no network; everything beside it as well.

write_study(Path("reports/rho"), result, "msam study rho", records)   # study.html, *.md, *.csv, figures/*
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msam_bench.analysis.run_summary import RunSummary
from msam_bench.analysis.settings import machine
from msam_bench.reporting.page import render, write
from msam_bench.reporting.result import Result


def write_study(
    folder: Path,
    result: Result,
    command: str,
    records: Sequence[RunSummary],
    measured: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a study's page, tables and pictures; gives the path of the page.

    Args:
        folder: where.
        result: what the study concludes.
        command: what reproduces it.
        records: the runs that it trains, none for a study that only measures.
        measured: the environment of a study that has no runs.

    Raises:
        ValueError: if the folder is a file.
    """
    figures = {_slug(title): panels for title, panels in result.figures.items() if panels}
    html = render(
        "study.html.j2",
        figures,
        result=result,
        titles={_slug(title): title for title in result.figures},
        runs=len(records),
        machine=measured or machine({"all": list(records)}),
        command=command,
    )
    tables = {f"{_slug(table.title)}.csv": table.csv() for table in result.tables}
    files = {**result.files, **tables, "study.md": markdown(result, command)}
    return write(folder, "study.html", html, figures, files)


def markdown(result: Result, command: str) -> str:
    """The study as Markdown: question, answer, details, tables, command."""
    parts = [f"**{result.question}**", result.answer, result.listed, *(table.markdown() for table in result.tables)]
    return "\n\n".join(part.strip() for part in (*parts, f"`{command}`") if part) + "\n"


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")

"""The page of a study: the answer first, then tables and figures; one file, no network; everything beside it as well.

write(Path("reports/rho"), result, "msam study rho", records)   # study.html, *.md, *.csv, figures/*
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msam_bench.files import write_whole
from msam_bench.reporting.pictures import pictures
from msam_bench.reporting.result import Result
from msam_bench.reporting.run_summary import Record
from msam_bench.reporting.settings import machine
from msam_bench.reporting.templating import environment
from msam_bench.reporting.vega import scripts


def write(
    folder: Path, result: Result, command: str, records: Sequence[Record], measured: Mapping[str, Any] | None = None
) -> Path:
    """Writes a study's page, tables and pictures; gives the path of the page.

    Each file appears whole or not at all. `measured` is the environment of a study that has no runs.

    Raises:
        ValueError: if the folder is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"A report is written into a folder, but {folder} is a file; name a folder.")
    figures = {_slug(title): own for title, own in result.figures.items()}
    files: dict[str, bytes | str] = {f"figures/{name}": content for name, content in pictures(figures).items()}
    files |= {f"{_slug(sheet.title)}.csv": sheet.csv() for sheet in result.sheets}
    files |= {"study.md": markdown(result, command), "study.html": render(result, command, records, measured)}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_whole(folder / name, content)
    return folder / "study.html"


def render(result: Result, command: str, records: Sequence[Record], measured: Mapping[str, Any] | None = None) -> str:
    """The page as HTML."""
    sections = {_slug(title): (title, own) for title, own in result.figures.items() if own}
    return (
        environment()
        .get_template("study.html.j2")
        .render(
            result=result,
            sections=sections,
            specs={f"{id}-{i}": figure.spec for id, (_, own) in sections.items() for i, figure in enumerate(own)},
            runs=len(records),
            machine=measured or machine({"all": list(records)}),
            command=command,
            script=scripts(),
        )
    )


def markdown(result: Result, command: str) -> str:
    """The study as Markdown: question, answer, details, tables, command."""
    parts = [f"**{result.question}**", result.answer, result.listed, *(sheet.markdown() for sheet in result.sheets)]
    return "\n\n".join(part.strip() for part in (*parts, f"`{command}`") if part) + "\n"


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")

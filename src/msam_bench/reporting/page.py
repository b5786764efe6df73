"""The page writer of every report: HTML from a template, with the figures as data, and the files beside it.

html = render("study.html.j2", {"curves": figures}, result=result)
write(Path("reports/rho"), "study.html", html, {"curves": figures}, {"study.md": text})

Importing this module is cheap: jinja2 is imported when a page is rendered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from msam_bench.files import write_whole
from msam_bench.reporting.figures import Figure
from msam_bench.reporting.pictures import pictures
from msam_bench.reporting.templating import environment
from msam_bench.reporting.vega import scripts

Figures = Mapping[str, Sequence[Figure]]
"""Section of the page -> its figures."""


def render(template: str, figures: Figures, **values: Any) -> str:
    """Renders a page; each figure goes in as a specification that the script draws, or as the SVG it is."""
    numbered = {f"{section}-{i}": one for section, panels in figures.items() for i, one in enumerate(panels)}
    specs = {place: figure.spec for place, figure in numbered.items() if figure.spec}
    grids = {place: figure.grid for place, figure in numbered.items() if figure.grid}
    page = environment().get_template(template)
    return page.render(figures=figures, specs=specs, grids=grids, script=scripts() if specs else "", **values)


def write(
    folder: Path,
    name: str,
    html: str,
    figures: Figures,
    files: Mapping[str, bytes | str],
    executor: Executor | None = None,
) -> Path:
    """Writes a page, its pictures and the files beside it; gives the path of the page.

    Each file appears whole or not at all.

    Args:
        folder: where, created if it does not exist.
        name: of the page.
        html: the page.
        figures: what is drawn into `figures/`.
        files: name -> content.
        executor: draws the pictures; this process if None.

    Raises:
        ValueError: if the folder is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"A report is written into a folder, but {folder} is a file; name a folder.")
    drawn = {f"figures/{picture}": content for picture, content in pictures(figures, executor).items()}
    for place, content in {**drawn, **files, name: html}.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        write_whole(folder / place, content)
    return folder / name

"""The page of a flatness study or of landscapes alone: words first, one file, no network; pictures beside it.

write(Path("reports/flatness"), Page("Flatness on digits6", study, sheets, command))
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msam_bench.files import csv_text, write_whole
from msam_bench.templating import environment

from . import contours, ratios
from .ink import Scale, alone, bar, picture, png
from .relief import relief
from .study import Study, correlations, rows
from .surfaces import Sheet, table


@dataclass(frozen=True)
class Page:
    """What the page shows.

    Args:
        title: its heading.
        study: comparison of many runs, None for landscapes alone.
        sheets: surfaces on shared directions, empty for none.
        command: what reproduces it.
        facts: settings of the measurements.
    """

    title: str
    study: Study | None
    sheets: tuple[Sheet, ...]
    command: str
    facts: dict[str, Any]


def write(folder: Path, page: Page) -> Path:
    """Writes the page, its tables and its pictures; gives the path of the page.

    Raises:
        ValueError: if the folder is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"A report is written into a folder, but {folder} is a file; name a folder.")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in _files(page).items():
        write_whole(folder / name, content)
        (folder / name).chmod(0o644)
    return folder / "flatness.html"


def _files(page: Page) -> dict[str, bytes | str]:
    files: dict[str, bytes | str] = {}
    if page.study:
        files["flatness.csv"] = csv_text(rows(page.study))
        files["flatness.md"] = markdown(page.study)
        drawn = ((name, ratios.panel(page.study, name)) for name in ratios.SHOWN)
        pictures = {
            f"ratios-{name}": alone(svg).replace("var(--paper, #ffffff)", "#ffffff") for name, svg in drawn if svg
        }
        files |= _both(pictures)
    if page.sheets:
        files["surfaces.csv"] = table(page.sheets)
        files |= _both({"contours": contours.poster(page.sheets), "relief": relief(page.sheets)})
    return {**files, "flatness.html": render(page)}


def _both(pictures: dict[str, str]) -> dict[str, bytes | str]:
    files: dict[str, bytes | str] = {}
    for name, svg in pictures.items():
        files |= {f"{name}.svg": svg, f"{name}.png": png(svg)}
    return files


def render(page: Page) -> str:
    """The page as HTML."""
    sheets, study = page.sheets, page.study
    return (
        environment()
        .get_template("flatness.html.j2")
        .render(
            page=page,
            study=study,
            ratios=[svg for name in ratios.SHOWN if study and (svg := ratios.panel(study, name))],
            correlations=correlations(study) if study else "",
            table=_cells(study) if study else None,
            **_surfaces(sheets),
        )
    )


def _surfaces(sheets: tuple[Sheet, ...]) -> dict[str, Any]:
    """Panels of the page, and the numbers under the pointer."""
    if not sheets:
        return {"panels": [], "legend": "", "relief": "", "grids": {}, "said": ""}
    scale = Scale.of([value for sheet in sheets for value in sheet.values])
    size = (contours.WIDTH, contours.HEIGHT)
    grids = {
        "axes": sheets[0].axes,
        "losses": [[[None if v is None else float(f"{v:.4g}") for v in row] for row in s.losses] for s in sheets],
        "names": [sheet.label for sheet in sheets],
        "frame": [contours.LEFT, contours.TOP, contours.SIDE],
    }
    holes = ", ".join(f"{sheet.label} {sheet.holes}" for sheet in sheets if sheet.holes)
    return {
        "panels": [picture(*size, [contours.panel(sheet, scale)], _label(sheet)) for sheet in sheets],
        "legend": picture(
            480, 60, [f'<g transform="translate(30 14)">{bar(scale, 400, contours.title_of(scale))}</g>'], ""
        ),
        "relief": relief(sheets).partition("\n")[2],
        "grids": grids,
        "said": f"{contours.said(sheets[0])} Directions: seed {sheets[0].directions}, filter norms of "
        f"{sheets[0].scale}. {f'Points without a finite loss: {holes}.' if holes else ''}",
    }


def _label(sheet: Sheet) -> str:
    low, high = min(sheet.values), max(sheet.values)
    return f"{sheet.label}: loss {sheet.loss:.3g} at the model, {low:.3g} to {high:.3g} around it"


_TITLES = ("loss of", "block", "measure", "method", "n", "mean", "SD", "error", "ratio", "95 %", "p (Holm)")


def _cells(study: Study) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    return _TITLES, [_row(row) for row in rows(study)]


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    where = tuple(str(row[key]) for key in ("loss_of", "block", "measure", "method", "n"))
    numbers = tuple("–" if row[key] is None else f"{row[key]:.3g}" for key in ("mean", "sd", "error", "ratio"))
    within = "–" if row["ratio_low"] is None else f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}"
    return (*where, *numbers, within, "–" if row["p"] is None else f"{row['p']:.2g}")


def markdown(study: Study) -> str:
    """The answer and the table as Markdown."""
    titles, cells = _cells(study)
    lines = [titles, ("---",) * len(titles), *cells]
    details = [f"- {line}" for line in study.details]
    return (
        "\n".join(
            [study.answer, "", *details, "", correlations(study), "", *(f"| {' | '.join(line)} |" for line in lines)]
        )
        + "\n"
    )

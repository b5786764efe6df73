"""The page of a flatness study or of landscapes alone: words first, one file, no network; pictures beside it.

write(Path("reports/flatness"), Page("Flatness on digits6", study, sheets, command))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msam_bench.analysis.flatness.comparison import Study, rows
from msam_bench.analysis.flatness.surfaces import Sheet, table
from msam_bench.files import csv_text, write_whole
from msam_bench.reporting.flatness import contours, curves, marks, ratios
from msam_bench.reporting.flatness.ink import Scale, alone, bar, moved, picture, png
from msam_bench.reporting.flatness.relief import relief
from msam_bench.reporting.flatness.wording import answer, correlations, details
from msam_bench.reporting.templating import environment


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
        files |= _both(_posters(page.sheets))
    return {**files, "flatness.html": render(page)}


def _posters(sheets: Sequence[Sheet]) -> dict[str, str]:
    if sheets[0].straight:
        return {"curves": curves.poster(sheets)}
    return {"contours": contours.poster(sheets), "relief": relief(sheets)}


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
            words={"answer": answer(study), "details": details(study), "correlations": correlations(study)}
            if study
            else None,
            table=_cells(study) if study else None,
            **_surfaces(sheets),
        )
    )


def _surfaces(sheets: tuple[Sheet, ...]) -> dict[str, Any]:
    """Panels of the page, and the numbers under the pointer."""
    if not sheets:
        return {"panels": [], "legend": "", "looks": [], "relief": "", "grids": {}, "said": ""}
    scale = Scale.of([value for sheet in sheets for value in sheet.values])
    straight = sheets[0].straight
    frame = (curves.LEFT, curves.TOP, curves.WIDTH, curves.HEIGHT) if straight else contours.FRAME
    drawn = [contours.panel(sheet, scale) for sheet in sheets if not straight]
    holes = ", ".join(f"{sheet.label} {sheet.holes}" for sheet in sheets if sheet.holes)
    return {
        "panels": [curves.plot(sheets)] if straight else [_panel(*one) for one in zip(sheets, drawn, strict=True)],
        "legend": ""
        if straight
        else picture(480, 60, [moved(30, 14, [bar(scale, 400, contours.title_of(scale, sheets[0].unit))])], ""),
        "looks": marks.looks(sheets[0].paths, on_colours=True),
        "relief": "" if straight else relief(sheets).partition("\n")[2],
        "grids": {
            "axes": sheets[0].axes,
            "losses": [[[None if v is None else float(f"{v:.4g}") for v in row] for row in s.losses] for s in sheets],
            "names": [sheet.label for sheet in sheets],
            "frame": frame,
        },
        "said": f"{contours.said(sheets[0])} {f'Points without a finite loss: {holes}.' if holes else ''}",
    }


def _panel(sheet: Sheet, drawn: str) -> str:
    return picture(contours.WIDTH, contours.HEIGHT, [drawn], _label(sheet))


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
    found = [f"- {line}" for line in details(study)]
    grid = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([answer(study), "", *found, "", correlations(study), "", *grid]) + "\n"

"""The sections of loss surfaces, the same on every page that has them: panels, relief, and their files.

sections = landscape_sections(surfaces)
Result(..., figures=sections.figures, introductions=sections.introductions, files=sections.files)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msam_bench.analysis.flatness.surfaces import LossSurface, as_csv
from msam_bench.analysis.sentences.flatness import describe_range, describe_surface
from msam_bench.reporting.figures import Figure
from msam_bench.reporting.figures.contours import contour_poster, contours
from msam_bench.reporting.figures.loss_curves import loss_curves
from msam_bench.reporting.figures.plotting import Drawing
from msam_bench.reporting.figures.relief import relief
from msam_bench.reporting.result import Result


@dataclass(frozen=True)
class Sections:
    """Sections of a page with their introductions and files."""

    figures: Mapping[str, Sequence[Figure]]
    introductions: Mapping[str, str]
    files: Mapping[str, bytes | str]


def landscape_sections(surfaces: Sequence[LossSurface]) -> Sections:
    """Draws surfaces, or curves along one line, on shared directions."""
    if surfaces[0].straight:
        figure, curves = loss_curves(surfaces)
        figures, drawings = {"Loss along one shared direction": [figure]}, {"curves": curves}
    else:
        title = "Paths of training" if surfaces[0].paths else "Loss surfaces on shared directions"
        raised, drawing = relief(surfaces)
        figures = {title: contours(surfaces), "The same in relief": [raised]}
        drawings = {"contours": contour_poster(surfaces), "relief": drawing}
    return Sections(figures, {next(iter(figures)): _introduce(surfaces)}, _files(surfaces, drawings))


def _introduce(surfaces: Sequence[LossSurface]) -> str:
    """What the panels show, and how to read them."""
    holes = ", ".join(f"{surface.label} {surface.holes}" for surface in surfaces if surface.holes)
    parts = [
        describe_surface(surfaces[0]),
        f"Points without a finite loss: {holes}." if holes else "",
        "" if surfaces[0].straight else "The white dot is the trained model.",
        "Point at a panel, or move with the arrow keys, to read the loss",
        "there." if surfaces[0].paths else "of every method at the same place.",
    ]
    return " ".join(part for part in parts if part)


def _files(surfaces: Sequence[LossSurface], drawings: Mapping[str, Drawing]) -> dict[str, bytes | str]:
    pictures = {
        f"figures/{file}": content
        for name, drawing in drawings.items()
        for file, content in drawing.files(name).items()
    }
    return {"surfaces.csv": as_csv(surfaces), **pictures}


def landscapes(data: str, surfaces: Sequence[LossSurface]) -> Result:
    """The result of drawing the loss around the models of finished runs."""
    sections = landscape_sections(surfaces)
    losses = [f"{describe_range(surface)}." for surface in surfaces]
    question = f"Loss landscapes on {data}"
    return Result(
        "landscape", question, "", losses, (), sections.figures, introductions=sections.introductions,
        files=sections.files,
    )  # fmt: skip

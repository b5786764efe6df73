"""Contour plots of loss surfaces: colours and level lines, all panels on one scale.

contours(surfaces)                         # a figure a surface, for the page
contour_poster(surfaces)                   # all of them in one drawing, for a file
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from msam_bench.analysis.flatness.surfaces import LossSurface
from msam_bench.analysis.sentences.flatness import describe_range, describe_surface
from msam_bench.reporting.figures.drawing import Figure
from msam_bench.reporting.figures.loss_scale import LossScale
from msam_bench.reporting.figures.palette import INK, INK_ON_PAPER, SeriesStyle, series_styles
from msam_bench.reporting.figures.plotting import Drawing, finish, place, plot, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE, LEFT, TOP = 216.0, 52.0, 26.0
WIDTH, HEIGHT = LEFT + SIDE + 14, TOP + SIDE + 44
BAR = 64.0
"""Width that a panel of the page has more, for its own colour scale."""
FRAME = (LEFT, 6.0, SIDE, SIDE)
"""Left, top, width and height of the grid in a panel of the page, in points; its title is the page's."""
NARROWEST = 430.0
"""Width of a poster at least, for its legend."""


def contours(surfaces: Sequence[LossSurface]) -> list[Figure]:
    """Draws each surface for the page, with the colour scale of all and the numbers under the pointer."""
    scale = LossScale.of(surfaces)
    return [_figure(surface, scale) for surface in surfaces]


def _figure(surface: LossSurface, scale: LossScale) -> Figure:
    with plot(WIDTH + BAR, HEIGHT - TOP + FRAME[1]) as canvas:
        _draw(place(canvas, *FRAME), surface, scale)
        scale.draw_bar(place(canvas, LEFT + SIDE + 14, FRAME[1], 10, SIDE), "vertical")
        svg = finish(canvas).on_page
    return Figure(
        surface.title, {}, describe_range(surface), svg=svg, grid=grid_of([surface], FRAME), drawn=_paths(surface, INK)
    )


def grid_of(surfaces: Sequence[LossSurface], frame: tuple[float, float, float, float]) -> dict[str, Any]:
    """The losses of surfaces in one frame, for the readout under the pointer."""
    return {
        "frame": frame,
        "axes": surfaces[0].axes,
        "names": [surface.label for surface in surfaces],
        "losses": [
            [[None if v is None else float(f"{v:.4g}") for v in row] for row in surface.losses] for surface in surfaces
        ],
    }


def contour_poster(surfaces: Sequence[LossSurface], columns: int = 3) -> Drawing:
    """Draws all surfaces side by side with one colour scale, the legend of paths, and what was measured."""
    scale, columns = LossScale.of(surfaces), min(columns, len(surfaces))
    width, bottom = max(columns * WIDTH, NARROWEST), -(-len(surfaces) // columns) * HEIGHT
    crosses = " Crosses: no finite loss." if any(surface.holes for surface in surfaces) else ""
    words = wrap(f"{describe_surface(surfaces[0])} White dot: the model.{crosses}", int((width - 20) / 4.4))
    below = bottom + (20 if surfaces[0].paths else 0)
    height = below + 62 + 12 * len(words)
    with plot(width, height) as canvas:
        for i, surface in enumerate(surfaces):
            across, down = (i % columns) * WIDTH, (i // columns) * HEIGHT
            axes = place(canvas, across + LEFT, down + TOP, SIDE, SIDE)
            axes.set_title(surface.title)
            _draw(axes, surface, scale)
        if surfaces[0].paths:
            corner = (LEFT / width, 1 - bottom / height)
            canvas.legend(loc="upper left", ncols=5, frameon=False, bbox_to_anchor=corner)
        scale.draw_bar(place(canvas, LEFT, below + 10, min(width - LEFT - 40, 380), 10), "horizontal")
        write_text(canvas, 10, below + 54, "\n".join(words))
        return finish(canvas)


def _draw(axes: Axes, surface: LossSurface, scale: LossScale) -> None:
    """Draws one surface: colours, level lines, holes, paths, the model in the middle, axes with their units."""
    import numpy as np

    losses = np.array(surface.losses, dtype=float).T
    first, second = surface.axes
    shown = np.ma.masked_invalid(losses)
    axes.pcolormesh(first, second, shown, norm=scale.norm, cmap="viridis", edgecolors="face", linewidth=0.7)
    if float(shown.min()) < float(shown.max()):
        white: dict[str, Any] = {"colors": "white", "linewidths": 0.9, "alpha": 0.75}
        axes.contour(first, second, shown, levels=scale.levels, corner_mask=False, **white)
    across, along = np.meshgrid(first, second)
    axes.plot(across[np.isnan(losses)], along[np.isnan(losses)], "x", color=INK_ON_PAPER, markersize=4)
    for style in _paths(surface):
        _draw_path(axes, surface.paths[style.name], style)
    axes.plot(0, 0, "o", color="white", markeredgecolor="black", markersize=5)
    axes.set(xlabel=surface.labels[0], ylabel=surface.labels[1])
    axes.locator_params(nbins=5)


def _paths(surface: LossSurface, ink: str = "#000000") -> tuple[SeriesStyle, ...]:
    """The style of each path; the first is black in the plot, which reads on every colour."""
    return tuple(series_styles(surface.paths, reference=next(iter(surface.paths), None), ink=ink))


def _draw_path(axes: Axes, points: Sequence[tuple[float, float]], style: SeriesStyle) -> None:
    """Draws a line on a light edge, which keeps it visible on any colour, with its marker at the end."""
    x, y = zip(*points, strict=True)
    axes.plot(x, y, color="white", alpha=0.8, linewidth=2.6)
    axes.plot(x, y, label=style.name, markevery=[-1], **style.line)

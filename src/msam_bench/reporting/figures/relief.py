"""Loss surfaces as relief: the same numbers as the contour plots, in parallel projection.

relief(surfaces)                           # one drawing with all panels, one scale of height and colour
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from msam_bench.analysis.flatness.surfaces import LossSurface
from msam_bench.analysis.sentences.flatness import describe_range, describe_surface
from msam_bench.reporting.figures.contours import NARROWEST
from msam_bench.reporting.figures.drawing import Figure
from msam_bench.reporting.figures.loss_scale import LossScale
from msam_bench.reporting.figures.plotting import Drawing, finish, place, plot, write_text

if TYPE_CHECKING:
    from mpl_toolkits.mplot3d.axes3d import Axes3D

SIDE, HEIGHT = 320.0, 300.0
FEWEST_PIXELS = 560
"""Width below which the page lets a reader scroll."""

Corner = tuple[float, float, float]


def relief(surfaces: Sequence[LossSurface], columns: int = 2) -> tuple[Figure, Drawing]:
    """Draws all surfaces from far to near; a hole in a surface is left open."""
    scale, columns = LossScale.of(surfaces), min(columns, len(surfaces))
    width, bottom = max(columns * SIDE, NARROWEST), -(-len(surfaces) // columns) * HEIGHT
    words = wrap(describe_surface(surfaces[0]), int((width - 80) / 4.4))
    with plot(width, bottom + 66 + 12 * len(words)) as canvas:
        for i, surface in enumerate(surfaces):
            across, down = (i % columns) * SIDE, (i // columns) * HEIGHT
            _draw(place(canvas, across, down, SIDE, HEIGHT, projection="3d"), surface, scale)
        scale.draw_bar(place(canvas, 40, bottom + 10, min(width - 80, 380), 10), "horizontal")
        write_text(canvas, 40, bottom + 56, "\n".join(words))
        drawing = finish(canvas)
    alt = ". ".join(map(describe_range, surfaces))
    return Figure("Loss surfaces in relief", {}, alt, svg=drawing.on_page, narrowest=FEWEST_PIXELS), drawing


def _draw(axes: Axes3D, surface: LossSurface, scale: LossScale) -> None:
    """Draws one surface; heights are places on the scale, since three-dimensional axes cannot be logarithmic."""
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    norm = scale.norm
    quads = [[(x, y, float(norm(loss))) for x, y, loss in corners] for corners in _quads(surface)]
    colours = scale.colours.cmap([sum(z for *_, z in quad) / 4 for quad in quads])
    axes.add_collection3d(Poly3DCollection(quads, facecolors=colours, edgecolors=(0, 0, 0, 0.25), linewidths=0.3))
    (first, second), (one, other) = surface.axes, surface.labels
    axes.set(xlim=(first[0], first[-1]), ylim=(second[0], second[-1]), zlim=(0, 1))
    axes.set_title(surface.title, y=0.95)
    axes.set(xlabel=one, ylabel=other, zlabel=f"loss ({scale.unit})")
    axes.set_zticks([float(norm(tick)) for tick in scale.ticks], [f"{tick:.3g}" for tick in scale.ticks])
    axes.locator_params("x", nbins=4)
    axes.locator_params("y", nbins=4)
    axes.set_proj_type("ortho")
    axes.view_init(elev=28, azim=45)
    axes.set_box_aspect((1, 1, 0.8), zoom=0.88)


def _quads(surface: LossSurface) -> Iterator[list[Corner]]:
    """The cells of the grid whose four corners have a finite loss."""
    first, second = surface.axes
    for i in range(len(first) - 1):
        for j in range(len(second) - 1):
            around = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
            corners = [(first[a], second[b], loss) for a, b in around if (loss := surface.losses[a][b]) is not None]
            if len(corners) == 4:
                yield corners

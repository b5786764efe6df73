"""The loss along one line through the weights: a curve for each method, one pair of axes.

loss_curves(surfaces)                      # surfaces whose `straight` is true; a figure for the page, and its drawing
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msam_bench.analysis.flatness.surfaces import LossSurface
from msam_bench.analysis.sentences.flatness import describe_curves, describe_surface
from msam_bench.reporting.figures.contours import grid_of
from msam_bench.reporting.figures.drawing import Figure
from msam_bench.reporting.figures.loss_scale import LossScale
from msam_bench.reporting.figures.palette import INK_ON_PAPER, series_styles
from msam_bench.reporting.figures.plotting import Drawing, finish, place, plot, write_text

WIDTH, HEIGHT = 500.0, 340.0
FRAME = (58.0, 16.0, 426.0, 240.0)
"""Left, top, width and height of the axes, in points."""


def loss_curves(surfaces: Sequence[LossSurface]) -> tuple[Figure, Drawing]:
    """Draws all curves with axes, units and legend; a curve is broken where the loss is not finite."""
    scale, first = LossScale.of(surfaces), surfaces[0].axes[0]
    styles = series_styles((surface.label for surface in surfaces), surfaces[0].label, ink=INK_ON_PAPER)
    with plot(WIDTH, HEIGHT + 14 * (len(surfaces) // 5)) as canvas:
        axes = place(canvas, *FRAME)
        for surface, style in zip(surfaces, styles, strict=True):
            axes.plot(first, [math.nan if row[0] is None else row[0] for row in surface.losses], **style.stroke)
            axes.plot(0, surface.loss, label=style.name, **style.line)
        axes.set(xlim=(first[0], first[-1]), xlabel=surfaces[0].labels[0])
        axes.set(yscale="log" if scale.logarithmic else "linear", ylabel=scale.title)
        axes.minorticks_off()
        axes.set_yticks(scale.ticks, [f"{tick:.3g}" for tick in scale.ticks])
        axes.grid(axis="y", alpha=0.5)
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.16), ncols=5, frameon=False, borderaxespad=0)
        write_text(canvas, 10, HEIGHT - 14, describe_surface(surfaces[0]).partition(" Directions")[0])
        drawing = finish(canvas)
    figure = Figure(
        "Loss along one line", {}, describe_curves(surfaces), svg=drawing.on_page, grid=grid_of(surfaces, FRAME)
    )
    return figure, drawing

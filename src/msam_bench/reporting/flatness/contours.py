"""Contour plots of loss surfaces: colours and level lines, all panels on one scale.

for sheet in sheets:
    panel(sheet, Scale.of(all_values))     # SVG parts, PANEL wide
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from textwrap import wrap as wrapped

from msam_bench.analysis.flatness.surfaces import Points, Sheet
from msam_bench.reporting.flatness.ink import Scale, alone, bar, moved, path, picture, rounds, short, text, tiled
from msam_bench.reporting.flatness.marks import legend, looks, trace

SIDE, LEFT, TOP = 240.0, 62.0, 30.0
WIDTH, HEIGHT = SIDE + LEFT + 14, SIDE + TOP + 48
FRAME = (LEFT, TOP, SIDE, SIDE)
"""Where the grid lies in a panel: left, top, width, height."""
LEVELS = 9
NARROWEST = 480.0
"""A poster is at least so wide, for its legend."""

Segment = tuple[tuple[float, float], tuple[float, float]]


def segments(losses: Points, level: float) -> Iterator[Segment]:
    """The line of one level in units of the grid, cell by cell (marching squares); cells with a hole have none.

    Where a cell is a saddle, its middle decides which corners are joined.
    """
    for i, (near, far) in enumerate(pairwise(losses)):
        for j in range(len(near) - 1):
            corners = (near[j], near[j + 1], far[j + 1], far[j])
            known = [value for value in corners if value is not None]
            if len(known) == 4 and min(known) < level <= max(known):
                yield from _cell(known, level, i, j)


def _cell(values: Sequence[float], level: float, i: int, j: int) -> Iterator[Segment]:
    places = ((i, j), (i, j + 1), (i + 1, j + 1), (i + 1, j))
    crossings = []
    for one, other in ((0, 1), (1, 2), (2, 3), (3, 0)):
        if (values[one] < level) != (values[other] < level):
            share = (level - values[one]) / (values[other] - values[one])
            (a, b), (c, d) = places[one], places[other]
            crossings.append((a + share * (c - a), b + share * (d - b)))
    if len(crossings) == 4 and (sum(values) / 4 < level) != (values[0] < level):
        crossings = [*crossings[1:], crossings[0]]
    yield from zip(crossings[::2], crossings[1::2], strict=True)


def panel(sheet: Sheet, scale: Scale) -> str:
    """One surface: colours, level lines, the model in the middle, axes with their units; `WIDTH` by `HEIGHT`."""
    levels = [scale.value((k + 0.5) / LEVELS) for k in range(LEVELS)]
    lines = [
        path([_at(sheet, *start), _at(sheet, *end)], 'stroke="#ffffff" stroke-opacity="0.75" fill="none"')
        for level in levels
        for start, end in segments(sheet.losses, level)
    ]
    frame = f'<rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}" fill="none" stroke="currentColor"/>'
    title = text(LEFT + SIDE / 2, 18, sheet.title, size=14, more='font-weight="600"')
    return "".join([title, *_cells(sheet, scale), *lines, *_marks(sheet), frame, *_axes(sheet)])


def _marks(sheet: Sheet) -> Iterator[str]:
    """The model, and the paths that lead to it and to others."""
    for look in looks(sheet.paths, on_colours=True):
        yield trace([_where(sheet, *place) for place in sheet.paths[look.name]], look)
    x, y = _where(sheet, 0.0, 0.0)
    yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="#ffffff" stroke="#000000"/>'


def _where(sheet: Sheet, first: float, second: float) -> tuple[float, float]:
    """Where coordinates lie in the panel."""
    places = (
        (value - axis[0]) / (axis[-1] - axis[0]) * (len(axis) - 1)
        for value, axis in zip((first, second), sheet.axes, strict=True)
    )
    return _at(sheet, *places)


def poster(sheets: Sequence[Sheet], columns: int = 3) -> str:
    """All panels and the colour scale as one file of its own."""
    scale = Scale.of([value for sheet in sheets for value in sheet.values])
    panels, width, bottom = tiled([[panel(sheet, scale)] for sheet in sheets], WIDTH, HEIGHT, columns)
    width = max(width, NARROWEST)
    crosses = " Crosses: no finite loss." if any(sheet.holes for sheet in sheets) else ""
    words = wrapped(f"{said(sheets[0])} White dot: the model.{crosses}", int((width - 20) / 5.4))
    named, tall = legend(looks(sheets[0].paths, on_colours=True), LEFT, bottom + 10, width - LEFT)
    colours = moved(
        LEFT, bottom + tall + 18, [bar(scale, min(width - LEFT - 40, 420), title_of(scale, sheets[0].unit))]
    )
    below = bottom + tall + 74
    lines = [text(12, below + 14 * i, line, size=11, anchor="start") for i, line in enumerate(words)]
    return alone(picture(width, below + 14 * len(words), [*panels, *named, colours, *lines], "Loss surfaces"))


def title_of(scale: Scale, unit: str) -> str:
    """What the colours mean."""
    return f"Training loss ({unit}{', logarithmic scale' if scale.logarithmic else ''})"


def said(sheet: Sheet) -> str:
    """What was moved and what was measured."""
    weights = {"all": "all weights", "fusion": "the weights of the fusion"}.get(
        sheet.block, f"the encoder of {sheet.block}"
    )
    present = " + ".join(sheet.coalition)
    return f"Moved: {weights}. Present: {present}. Samples: {sheet.samples}. Run seed: {sheet.seed}. {sheet.about}"


def _at(sheet: Sheet, i: float, j: float) -> tuple[float, float]:
    """Where a point of the grid lies in the panel; the first axis goes right, the second up."""
    across, along = (len(axis) - 1 for axis in sheet.axes)
    return LEFT + SIDE * (i + 0.5) / (across + 1), TOP + SIDE * (1 - (j + 0.5) / (along + 1))


def _cells(sheet: Sheet, scale: Scale) -> Iterator[str]:
    wide, high = (SIDE / len(axis) for axis in sheet.axes)
    for i, row in enumerate(sheet.losses):
        for j, value in enumerate(row):
            x, y = _at(sheet, i, j)
            if value is None:
                yield path([(x - 2, y - 2), (x + 2, y + 2)], 'stroke="currentColor" fill="none"')
                yield path([(x - 2, y + 2), (x + 2, y - 2)], 'stroke="currentColor" fill="none"')
            else:
                place = f'x="{x - wide / 2:.1f}" y="{y - high / 2:.1f}"'
                size = f'width="{wide + 0.4:.1f}" height="{high + 0.4:.1f}"'
                yield f'<rect {place} {size} fill="{scale.colour(value)}"/>'


def _axes(sheet: Sheet) -> Iterator[str]:
    for axis, label in enumerate(sheet.labels):
        for value in rounds(sheet.axes[axis][0], sheet.axes[axis][-1]):
            x, y = _where(sheet, *((value, 0.0) if axis == 0 else (0.0, value)))
            number = short(value)
            yield text(x, TOP + SIDE + 16, number) if axis == 0 else text(LEFT - 6, y + 4, number, anchor="end")
        turn = f'transform="rotate(-90 14 {TOP + SIDE / 2:.0f})"'
        yield text(LEFT + SIDE / 2, HEIGHT - 12, label) if axis == 0 else text(14, TOP + SIDE / 2, label, more=turn)

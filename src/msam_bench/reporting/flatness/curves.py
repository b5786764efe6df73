"""The loss along one line through the weights: a curve for each method, one pair of axes.

svg = plot(sheets)                         # sheets whose `straight` is true; SVG for a page
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from msam_bench.analysis.flatness.surfaces import Sheet
from msam_bench.reporting.flatness.contours import said
from msam_bench.reporting.flatness.ink import Scale, alone, moved, path, picture, rounds, short, text
from msam_bench.reporting.flatness.marks import legend, looks, marker, stroke

WIDTH, HEIGHT, LEFT, TOP = 520.0, 280.0, 70.0, 28.0


def plot(sheets: Sequence[Sheet]) -> str:
    """All curves with axes, units and legend; a curve is broken where the loss is not finite."""
    scale = Scale.of([value for sheet in sheets for value in sheet.values])
    frame = f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="currentColor"/>'
    named, tall = legend(looks(sheet.label for sheet in sheets), LEFT, TOP + HEIGHT + 56, WIDTH)
    words = text(LEFT, TOP + HEIGHT + tall + 76, said(sheets[0]).partition(" Directions")[0], size=11, anchor="start")
    parts = [frame, *_ticks(sheets[0], scale), *_curves(sheets, scale), *named, words]
    return picture(LEFT + WIDTH + 20, TOP + HEIGHT + tall + 86, parts, _label(sheets))


def poster(sheets: Sequence[Sheet]) -> str:
    """The same as a file of its own."""
    return alone(plot(sheets))


def _curves(sheets: Sequence[Sheet], scale: Scale) -> Iterator[str]:
    for sheet, look in zip(sheets, looks(sheet.label for sheet in sheets), strict=True):
        points = [(x, row[0]) for x, row in zip(sheet.axes[0], sheet.losses, strict=True)]
        for known, run in groupby(points, key=lambda point: point[1] is not None):
            if known:
                yield stroke([_place(sheet, scale, x, value) for x, value in run if value is not None], look)
        yield marker(*_place(sheet, scale, 0.0, sheet.loss), look)


def _place(sheet: Sheet, scale: Scale, x: float, loss: float) -> tuple[float, float]:
    low, high = sheet.axes[0][0], sheet.axes[0][-1]
    return LEFT + WIDTH * (x - low) / (high - low), TOP + HEIGHT * (1 - scale.place(loss))


def _ticks(sheet: Sheet, scale: Scale) -> Iterator[str]:
    low, high = sheet.axes[0][0], sheet.axes[0][-1]
    for x in rounds(low, high):
        yield text(_place(sheet, scale, x, scale.low)[0], TOP + HEIGHT + 18, short(x))
    for value in scale.ticks():
        y = _place(sheet, scale, low, value)[1]
        yield path([(LEFT, y), (LEFT + WIDTH, y)], 'stroke="currentColor" stroke-opacity="0.15" fill="none"')
        yield text(LEFT - 6, y + 4, short(value), anchor="end")
    yield text(LEFT + WIDTH / 2, TOP + HEIGHT + 38, sheet.labels[0])
    units = f"loss ({sheet.unit}{', logarithmic' if scale.logarithmic else ''})"
    yield moved(18, TOP + HEIGHT / 2, [text(0, 0, units, more='transform="rotate(-90)"')])


def _label(sheets: Sequence[Sheet]) -> str:
    found = (f"{it.label} {it.loss:.3g} at the model, at most {max(it.values):.3g}" for it in sheets)
    return f"Loss along one line: {'; '.join(found)}"

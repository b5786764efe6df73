"""Loss surfaces as relief: the same numbers as the contour plots, in parallel projection, for print.

relief(sheets)                             # one SVG file with all panels, one scale of height and colour
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap as wrapped

from msam_bench.analysis.flatness.surfaces import Sheet
from msam_bench.reporting.flatness.contours import NARROWEST, said, title_of
from msam_bench.reporting.flatness.ink import Scale, alone, bar, moved, path, picture, short, text, tiled

WIDTH, HEIGHT = 380.0, 330.0
_ACROSS, _DOWN, _UP = 130.0, 62.0, 130.0
_MIDDLE, _FLOOR = 200.0, 236.0
_THIN = 'stroke="currentColor" stroke-opacity="0.55" stroke-width="0.8" fill="none"'


def relief(sheets: Sequence[Sheet], columns: int = 2) -> str:
    """All surfaces, drawn from far to near; a hole in the surface is left open."""
    scale = Scale.of([value for sheet in sheets for value in sheet.values])
    panels, width, bottom = tiled([_panel(sheet, scale) for sheet in sheets], WIDTH, HEIGHT, columns)
    width, below = max(width, NARROWEST), bottom + 74
    colours = moved(40, bottom + 18, [bar(scale, min(width - 80, 420), title_of(scale, sheets[0].unit))])
    words = wrapped(said(sheets[0]), int((width - 60) / 5.4))
    lines = [text(40, below + 14 * i, line, size=11, anchor="start") for i, line in enumerate(words)]
    return alone(picture(width, below + 14 * len(words), [*panels, colours, *lines], "Loss surfaces in relief"))


def _panel(sheet: Sheet, scale: Scale) -> Iterator[str]:
    yield text(WIDTH / 2, 18, sheet.title, size=14, more='font-weight="600"')
    yield path([_project(x, y, 0) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))], _THIN, closed=True)
    yield from _height(scale, sheet.unit)
    yield from _quads(sheet, scale)
    yield from _ends(sheet)


def _project(x: float, y: float, z: float) -> tuple[float, float]:
    """From the unit cube to the panel; the corner (1, 1) is nearest."""
    return _MIDDLE + _ACROSS * (x - y), _FLOOR + _DOWN * (x + y - 1) - _UP * z


def _quads(sheet: Sheet, scale: Scale) -> Iterator[str]:
    count, other = len(sheet.losses), len(sheet.losses[0])
    order = sorted(((i, j) for i in range(count - 1) for j in range(other - 1)), key=sum)
    for i, j in order:
        corners = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
        values = [value for a, b in corners if (value := sheet.losses[a][b]) is not None]
        if len(values) == 4:
            heights = [scale.place(value) for value in values]
            points = [_project(a / (count - 1), b / (other - 1), z) for (a, b), z in zip(corners, heights, strict=True)]
            colour = scale.colour(scale.value(sum(heights) / 4))
            yield path(
                points, f'fill="{colour}" stroke="#000000" stroke-opacity="0.25" stroke-width="0.4"', closed=True
            )


def _height(scale: Scale, unit: str) -> Iterator[str]:
    """The axis of the loss, at the left corner."""
    yield path([_project(0, 1, 0), _project(0, 1, 1)], _THIN)
    for tick in scale.ticks(3):
        x, y = _project(0, 1, scale.place(tick))
        yield path([(x - 4, y), (x, y)], _THIN)
        yield text(x - 7, y + 4, short(tick), anchor="end", size=11)
    x, y = _project(0, 1, 1)
    yield text(x, y - 12, f"loss ({unit})", size=11)


def _ends(sheet: Sheet) -> Iterator[str]:
    """Ends and titles of both axes, along the near edges."""
    (first, second), (one, other) = sheet.axes, sheet.labels
    for number, place in ((first[0], 0.0), (first[-1], 1.0)):
        x, y = _project(place, 1.0, 0)
        yield text(x - 10, y + 16, short(number), size=11)
    for number, place in ((second[0], 0.0), (second[-1], 1.0)):
        x, y = _project(1.0, place, 0)
        yield text(x + 12, y + 14, short(number), size=11)
    x, y = _project(0.5, 1.0, 0)
    yield text(x - 12, y + 34, one, size=11, more=f'transform="rotate(25 {x - 12:.0f} {y + 34:.0f})"')
    x, y = _project(1.0, 0.5, 0)
    yield text(x + 12, y + 34, other, size=11, more=f'transform="rotate(-25 {x + 12:.0f} {y + 34:.0f})"')

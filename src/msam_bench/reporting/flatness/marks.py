"""How methods are told apart in drawings of several: line, marker, legend; the looks of the other reports.

looks(["joint", "msam"])                   # the first is drawn in the text's colour
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from msam_bench.reporting.figures.palette import INK, Look
from msam_bench.reporting.figures.palette import looks as palette
from msam_bench.reporting.flatness.ink import moved, path, text

_LINE, _LETTER = 40.0, 6.4


def looks(names: Iterable[str], *, on_colours: bool = False) -> list[Look]:
    """A look for each name; over a colour map the first is black, whatever the page's ink."""
    order = list(names)
    found = palette(order, ink=order[0] if order else None)
    return [replace(it, colour="#000000") if on_colours and it.colour == INK else it for it in found]


def trace(points: Sequence[tuple[float, float]], look: Look) -> str:
    """A line on a light edge, which keeps it visible on any colour, with its marker at the end."""
    edge = path(points, 'stroke="#ffffff" stroke-opacity="0.8" stroke-width="3.2" fill="none"')
    return edge + stroke(points, look) + marker(*points[-1], look)


def stroke(points: Sequence[tuple[float, float]], look: Look) -> str:
    """The line of a method."""
    dashes = f'stroke-dasharray="{" ".join(map(str, look.dash))}"' if look.dash[1] else ""
    return path(points, f'stroke="{look.colour}" stroke-width="1.6" fill="none" {dashes}')


def marker(x: float, y: float, look: Look) -> str:
    """The marker of a method."""
    return (
        f'<path d="{look.shape}" transform="translate({x:.1f} {y:.1f}) scale(4)" fill="{look.colour}" '
        f'stroke="#ffffff" stroke-width="0.2"/>'
    )


def legend(found: Sequence[Look], x: float, y: float, width: float) -> tuple[list[str], float]:
    """Line, marker and name of each method, in rows; and how high they are."""
    parts, at, row = [], 0.0, 0
    for look in found:
        long = _LINE + _LETTER * len(look.name) + 18
        if at and at + long > width:
            at, row = 0.0, row + 1
        sample = [stroke([(0, 0), (_LINE - 8, 0)], look), marker((_LINE - 8) / 2, 0, look)]
        parts.append(moved(x + at, y + 18 * row + 4, [*sample, text(_LINE, 4, look.name, anchor="start")]))
        at += long
    return parts, 18.0 * (row + 1) if found else 0.0

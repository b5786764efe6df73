"""How many times as sharp as the reference: one panel a measure, blocks and methods as labelled rows.

panel(study, "eigenvalue")                 # SVG for a page; every row is named, nothing relies on colour
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from msam_bench.analysis.flatness.comparison import Line, Study
from msam_bench.analysis.flatness.measurement import JOINT
from msam_bench.analysis.flatness.measures import MEASURES
from msam_bench.analysis.statistics import Comparison
from msam_bench.reporting.flatness.ink import path, picture, short, text

SHOWN = ("ball", "adaptive", "eigenvalue", "trace")
_LEFT, _WIDE, _ROW, _TOP = 132.0, 250.0, 15.0, 26.0
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def panel(study: Study, measure: str) -> str | None:
    """Ratios of one measure with their 95 % intervals, under the loss of all modalities; None without any."""
    lines = [line for line in study.lines if line.view == JOINT and line.measure == measure and line.ratios]
    if not lines:
        return None
    ends = [end for line in lines for found in line.ratios.values() for end in _ends(found)]
    low, high = min(*ends, -0.1) - 0.1, max(*ends, 0.1) + 0.1
    rows = sum(1 + len(line.ratios) for line in lines)
    height = _TOP + rows * _ROW + 46
    title = f"{MEASURES[measure][0].partition(' (')[0]}, ratio to {study.reference}"
    parts = [text(4, 14, title, anchor="start", size=13, more='font-weight="600"'), *_axis(low, high, rows, study)]
    return picture(_LEFT + _WIDE + 20, height, [*parts, *_rows(lines, low, high)], _words(title, lines))


def _ends(found: Comparison) -> list[float]:
    return [value for value in (found.difference, found.low, found.high) if value is not None]


def _x(value: float, low: float, high: float) -> float:
    return _LEFT + _WIDE * (value - low) / (high - low)


def _rows(lines: Sequence[Line], low: float, high: float) -> Iterator[str]:
    y = _TOP
    for line in lines:
        y += _ROW
        yield text(4, y, line.block, anchor="start", more='font-weight="600"')
        for method, found in line.ratios.items():
            y += _ROW
            yield text(_LEFT - 8, y, method, anchor="end", size=11)
            ends = sorted(_x(end, low, high) for end in _ends(found))
            yield path([(ends[0], y - 4), (ends[-1], y - 4)], 'stroke="currentColor" stroke-width="1.5" fill="none"')
            fill = "currentColor" if found.differs else "var(--paper, #ffffff)"
            x = _x(found.difference, low, high)
            yield f'<circle cx="{x:.1f}" cy="{y - 4:.1f}" r="3.6" fill="{fill}" stroke="currentColor"/>'


def _axis(low: float, high: float, rows: int, study: Study) -> Iterator[str]:
    bottom = _TOP + rows * _ROW + 6
    for tick in _TICKS:
        if low <= math.log(tick) <= high:
            x = _x(math.log(tick), low, high)
            dashes = 'stroke-dasharray="4 3" stroke-opacity="0.8"' if tick == 1 else 'stroke-opacity="0.15"'
            yield path([(x, _TOP), (x, bottom)], f'stroke="currentColor" fill="none" {dashes}')
            yield text(x, bottom + 14, short(tick), size=11)
    yield text(_LEFT + _WIDE / 2, bottom + 32, f"times {study.reference}, 95 % interval; filled: p <= 0.05", size=11)


def _words(title: str, lines: Sequence[Line]) -> str:
    """The panel for those who do not see it."""
    found = [f"{line.block} {m} {math.exp(c.difference):.2f}" for line in lines for m, c in line.ratios.items()]
    return f"{title}: {'; '.join(found)}"

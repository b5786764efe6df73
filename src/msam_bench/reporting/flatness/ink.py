"""Small SVG: text, lines, a colour scale, and pictures that can be looked at outside a page too.

scale = Scale.of([0.01, 2.0])              # logarithmic where values span more than a factor of ten
scale.colour(0.5), scale.ticks()
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
_VIRIDIS = (
    "440154",
    "482475",
    "414487",
    "355f8d",
    "2a788e",
    "21918c",
    "22a884",
    "44bf70",
    "7ad151",
    "bddf26",
    "fde725",
)
_STOPS = [tuple(int(colour[i : i + 2], 16) for i in (0, 2, 4)) for colour in _VIRIDIS]


@dataclass(frozen=True)
class Scale:
    """Values to places in [0, 1] and to colours (viridis, which reads in grey and for the colour-blind).

    Args:
        low: the value at 0.
        high: the value at 1.
        logarithmic: whether equal ratios, not equal differences, are equally far.
    """

    low: float
    high: float
    logarithmic: bool

    @classmethod
    def of(cls, values: Iterable[float]) -> Scale:
        """A scale from the smallest to the largest value."""
        found = list(values)
        low, high = min(found), max(found)
        if high <= low:
            low, high = low - abs(low) / 20 - 1e-9, high + abs(high) / 20 + 1e-9
        return cls(low, high, low > 0 and high / low > 10)

    def place(self, value: float) -> float:
        """Where a value lies between the ends."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def value(self, place: float) -> float:
        """The value at a place."""
        if self.logarithmic:
            return float(self.low * (self.high / self.low) ** place)
        return self.low + place * (self.high - self.low)

    def colour(self, value: float) -> str:
        """The colour of a value."""
        at = min(max(self.place(value), 0.0), 1.0) * (len(_STOPS) - 1)
        below = min(int(at), len(_STOPS) - 2)
        mixed = (round(a + (at - below) * (b - a)) for a, b in zip(_STOPS[below], _STOPS[below + 1], strict=True))
        return "#" + "".join(f"{part:02x}" for part in mixed)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values, so many or a few less; where there are not two round ones, the ends."""
        found = _powers(self.low, self.high, count) if self.logarithmic else rounds(self.low, self.high, count)
        return found if len(found) > 1 else [self.low, self.high]


def rounds(low: float, high: float, count: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between two numbers, at most so many."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if math.floor((high - low) / (power * factor)) < count)
    return [round(i * step, 12) for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _powers(low: float, high: float, count: int) -> list[float]:
    """1, 2 and 5 times powers of ten, or only powers, or every n-th of them: at most so many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = range(first, last + 1)
    choices = [[m * 10.0**k for k in decades for m in (1, 2, 5)]]
    choices += [[10.0**k for k in decades if k % every == 0] for every in range(1, len(decades) + 1)]
    kept = [[value for value in some if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)] for some in choices]
    return next((some for some in kept if len(some) <= count), [])


def text(x: float, y: float, words: str, *, size: int = 12, anchor: str = "middle", more: str = "") -> str:
    """A line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" {more}>{escape(words)}</text>'


def path(points: Sequence[tuple[float, float]], style: str, *, closed: bool = False) -> str:
    """A line through points."""
    steps = "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<path d="M{steps}{"Z" if closed else ""}" {style}/>'


def moved(x: float, y: float, parts: Iterable[str]) -> str:
    """Parts shifted to a place."""
    return f'<g transform="translate({x:.1f} {y:.1f})">{"".join(parts)}</g>'


def tiled(panels: Sequence[Iterable[str]], width: float, height: float, columns: int) -> tuple[list[str], float, float]:
    """Panels in rows of as many columns at most, and the width and height of them all."""
    columns = min(columns, len(panels))
    parts = [moved((i % columns) * width, (i // columns) * height, panel) for i, panel in enumerate(panels)]
    return parts, columns * width, -(-len(panels) // columns) * height


def bar(scale: Scale, length: float, title: str) -> str:
    """The colour scale as a horizontal bar with its title above and numbers below."""
    steps = 60
    cells = [
        f'<rect x="{length * i / steps:.1f}" y="8" width="{length / steps + 0.5:.1f}" height="12" '
        f'fill="{scale.colour(scale.value((i + 0.5) / steps))}"/>'
        for i in range(steps)
    ]
    numbers = [text(length * scale.place(tick), 36, short(tick)) for tick in scale.ticks()]
    return "".join([text(0, 0, title, anchor="start"), *cells, *numbers])


def short(value: float) -> str:
    """A number with three significant digits at most."""
    return f"{value:.3g}"


def picture(width: float, height: float, parts: Iterable[str], label: str) -> str:
    """An SVG for a page: it takes the page's width and ink."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="{escape(label)}" font-family="{escape(FONT)}" '
        f'fill="currentColor">{"".join(parts)}</svg>'
    )


def alone(svg: str) -> str:
    """The same SVG as a file of its own: black on white."""
    background = '<rect width="100%" height="100%" fill="#ffffff"/>'
    head, _, body = svg.replace("currentColor", "#1c1f24").partition(">")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}>{background}{body}\n'


def png(svg: str, scale: float = 2.0) -> bytes:
    """A file of its own as PNG."""
    import vl_convert

    return bytes(vl_convert.svg_to_png(svg, scale=scale))

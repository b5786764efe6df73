"""The styles of methods and modalities in figures: never colour alone.

Every name has a colour (Okabe and Ito's, safe for the colour-blind), a dash pattern and a marker, and keeps them
through the whole report.

    joint, msam = series_styles(["joint", "msam"], reference="joint")
    msam.colour, msam.dash, msam.shape
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito, without black and yellow
DASHES = ((1, 0), (7, 3), (2, 2), (10, 3, 2, 3), (4, 2), (14, 3), (1, 3))  # seven to six colours: 42 pairs differ
SHAPES = (
    "M-1,0A1,1 0 1,1 1,0A1,1 0 1,1 -1,0Z",  # circle
    "M-.9,-.9H.9V.9H-.9Z",  # square
    "M0,-1.1L1.1,.9H-1.1Z",  # triangle
    "M0,-1.3L1.1,0L0,1.3L-1.1,0Z",  # diamond
    "M-.4,-1.2H.4V-.4H1.2V.4H.4V1.2H-.4V.4H-1.2V-.4H-.4Z",  # cross
    "M0,1.1L1.1,-.9H-1.1Z",  # triangle, tip down
    "M-1.1,0L.9,-1.1V1.1Z",  # triangle, tip left
)
MARKERS = ("o", "s", "^", "D", "P", "v", "<")
"""The same seven as matplotlib names them."""
INK = "currentColor"
INK_ON_PAPER = "#1c1f24"
"""The text's colour in a file that stands alone."""


@dataclass(frozen=True)
class SeriesStyle:
    """How one method or modality is drawn, in every figure; the lower its rank, the sooner it stands out."""

    name: str
    colour: str
    dash: tuple[int, ...]
    shape: str
    rank: int = 0

    @property
    def stroke(self) -> dict[str, Any]:
        """The options of a line in matplotlib."""
        dashes = (0, self.dash) if self.dash[1] else "solid"
        return {"color": self.colour, "linestyle": dashes, "linewidth": 1.6}

    @property
    def line(self) -> dict[str, Any]:
        """The options of a line with markers in matplotlib."""
        marker = MARKERS[SHAPES.index(self.shape)]
        return {**self.stroke, "marker": marker, "markersize": 7, "markeredgecolor": "white"}


def series_styles(names: Iterable[str], reference: str | None = None, ink: str = INK) -> list[SeriesStyle]:
    """Gives each name its colour, dash and marker, in the order of their ranks.

    The reference is drawn in ink and solid; the others are drawn the same whether or not it is there.
    """
    numbers = itertools.count()
    styles = []
    for rank, name in enumerate(names):
        number = -1 if name == reference else next(numbers)
        colour = ink if name == reference else COLOURS[number % len(COLOURS)]
        place = number + (reference is not None)  # the first dash and marker are the reference's
        styles.append(SeriesStyle(name, colour, DASHES[place % len(DASHES)], SHAPES[place % len(SHAPES)], rank))
    return styles

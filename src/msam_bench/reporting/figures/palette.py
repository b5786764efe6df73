"""How methods and modalities are told apart, never by colour alone.

Every name has a colour (Okabe and Ito's, safe for the colour-blind), a dash pattern and a marker, and keeps them
through the whole report.

    joint, msam = looks(["joint", "msam"], ink="joint")
    msam.colour, msam.dash, msam.shape
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

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
INK = "currentColor"


@dataclass(frozen=True)
class Look:
    """How one method or modality is drawn, in every figure; the lower its rank, the sooner it stands out."""

    name: str
    colour: str
    dash: tuple[int, ...]
    shape: str
    rank: int = 0


def looks(names: Iterable[str], ink: str | None = None) -> list[Look]:
    """Gives each name its colour, dash and marker, the foremost name first.

    The one called `ink` is drawn in the text's colour and solid; the others look the same whether or not it is there.
    """
    numbers = itertools.count()
    found = []
    for rank, name in enumerate(names):
        number = -1 if name == ink else next(numbers)
        colour = INK if name == ink else COLOURS[number % len(COLOURS)]
        place = number + (ink is not None)  # the first dash and marker are the ink's
        found.append(Look(name, colour, DASHES[place % len(DASHES)], SHAPES[place % len(SHAPES)], rank))
    return found

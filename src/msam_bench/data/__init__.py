"""The data sets of the bench, one file each, by name.

    source("digits6").load(seed=0).splits["train"]

Importing this package imports no torch: only `load` does.
"""

from __future__ import annotations

from msam_bench.names import nearest

from .base import SPLITS, Dataset, Source, Split
from .digits6 import DIGITS6
from .smartwatch import SMARTWATCH

__all__ = ["SPLITS", "Dataset", "Source", "Split", "source", "sources"]


def sources() -> dict[str, Source]:
    """Every data set by its name; the first one is the default."""
    return {"digits6": DIGITS6, "smartwatch": SMARTWATCH}


def source(name: str) -> Source:
    """The data set of that name.

    Raises:
        ValueError: There is none; the message has the nearest name.
    """
    known = sources()
    if name in known:
        return known[name]
    advice = nearest(name, known, otherwise="see 'msam data list'")
    raise ValueError(f"Expected one of the data sets {', '.join(known)}, found '{name}': {advice}.")

"""Names: advice for an unknown one, and short ones for paths."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


def nearest(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """Advice for an unknown name: the nearest known one, if any is near.

    Args:
        name: the unknown one.
        known: all names.
        otherwise: the advice where nothing is near; all names if None.
    """
    names = list(known)
    near = get_close_matches(name, names, n=1, cutoff=0.4)
    if near:
        return f"write {near[0]!r} if you meant that"
    return otherwise or f"choose one of {', '.join(names)}"


def stem(data: str) -> str:
    """The name of a data set in names of files: its own, or the last part of its path."""
    return re.sub(r"[^\w.+=-]+", "-", Path(data).name) or "data"

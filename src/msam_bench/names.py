"""Names: what to say of one that is not known, and what to call a thing that was given by its path."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


def nearest(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """Advice for an unknown name: the nearest known one, if any is near.

    Args:
        name: what was found.
        known: what there is.
        otherwise: the advice where nothing is near; all names if None.
    """
    names = list(known)
    near = get_close_matches(name, names, n=1, cutoff=0.4)
    if near:
        return f"write {near[0]!r} if you meant that"
    return otherwise or f"choose one of {', '.join(names)}"


def stem(data: str) -> str:
    """What to call a data set in the names of files: its name, or the last part of its path."""
    return re.sub(r"[^\w.+=-]+", "-", Path(data).name) or "data"

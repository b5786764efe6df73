"""What to say about a name that is not known: the nearest one that is."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


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

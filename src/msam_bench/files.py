"""Files that are whole or absent: what is written here appears under its name only when all of it is there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, content: bytes | str) -> None:
    """Writes a file in one move: a reader, or a killed writer, finds the old content or the new one.

    Raises:
        OSError: the folder cannot be written or the disk is full; nothing is left behind.
    """
    data = content.encode() if isinstance(content, str) else content
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def nearest(name: str, known: list[str]) -> str:
    """Words for an unknown name: the nearest known one, if any is near."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1, cutoff=0.4)
    return f"write {near[0]!r} if you meant that" if near else f"choose one of {', '.join(known)}"

"""Files that are whole or absent: what is written here appears under its name only when all of it is there."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_whole(path: Path, content: bytes | str, keep: Path | None = None) -> None:
    """Writes a file in one move: a reader, or a killed writer, finds the old content or the new one.

    Args:
        path: the file.
        content: all of it.
        keep: where the file goes that was there before, if any; a writer killed in between leaves it there.

    Raises:
        OSError: the folder cannot be written or the disk is full; nothing is left behind, and the error names the file.
    """
    data = content.encode() if isinstance(content, str) else content
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())  # a move must not reach the disk before what it moves
        if keep is not None and path.exists():
            path.replace(keep)
        beside.replace(path)
    except OSError as error:
        raise _named(error, path) from None
    finally:
        beside.unlink(missing_ok=True)


def discard_parts(path: Path) -> None:
    """Removes what killed writers of a file have left beside it; for its only writer to call."""
    for part in path.parent.glob(f".{path.name}.*"):
        part.unlink()


def append(path: Path, text: str) -> None:
    """Adds to the end of a file.

    Raises:
        OSError: as `write_whole`; a part of the text may have been added.
    """
    try:
        with path.open("a", newline="") as stream:
            stream.write(text)
    except OSError as error:
        raise _named(error, path) from None


def _named(error: OSError, path: Path) -> OSError:
    """The error with the name of the file, which the system leaves out when a write fails."""
    return OSError(error.errno, error.strerror, str(path))


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same columns as CSV, with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()

"""Which endings of files become which kind of modality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from msam_bench.data.importing.numbers import is_missing

SOUND = (
    ".wav",
    ".flac",
    ".mp3",
    ".ogg",
    ".oga",
    ".opus",
    ".aiff",
    ".aif",
    ".aifc",
    ".au",
    ".caf",
    ".m4a",
    ".aac",
    ".wma",
)
PICTURE = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".avif", ".jp2"),
    *(".pgm", ".ppm", ".pbm", ".pnm", ".tga"),
)
VIDEO = (".mp4", ".flv", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".3gp", ".ogv")
ARRAY = (".npy",)

KINDS: Mapping[str, str] = {
    ending: kind
    for kind, endings in (("sounds", SOUND), ("pictures", PICTURE), ("videos", VIDEO), ("arrays", ARRAY))
    for ending in endings
}
"""Ending -> what such a file is."""


def ending_of(cell: Any) -> str:
    """The ending of the file that a cell names, in lower case."""
    return PurePath(str(cell).strip().replace("\\", "/")).suffix.lower()


def has_files(cells: Iterable[Any]) -> bool:
    """Whether most cells name files that can be read."""
    here = [cell for cell in cells if not is_missing(cell)]
    return 2 * sum(ending_of(cell) in KINDS for cell in here) > len(here)

"""MNIST as it is passed on: four idx files, packed or not, or a folder of png files a digit."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from msam_bench.data.media.images import picture
from msam_bench.data.media.opening import present

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMES = {"train": ("train", "train"), "test": ("t10k", "test")}
_MAGIC = {"images": 2051, "labels": 2049}


def mnist(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Images `[images, 784]` (bytes) and digits `[images]`, each of "train" and "test", in MNIST's order.

    Raises:
        ValueError: Neither form is there, or a file is not what it must be.
    """
    read = {part: _idx(folder, prefix) or _pngs(folder / name) for part, (prefix, name) in NAMES.items()}
    for part, arrays in read.items():
        if arrays is None:
            raise ValueError(
                f"Expected {NAMES[part][0]}-images-idx3-ubyte or {NAMES[part][1]}/0/*.png in {folder}, found neither."
            )
    pairs = {part: arrays for part, arrays in read.items() if arrays is not None}
    return {part: images for part, (images, _) in pairs.items()}, {part: digits for part, (_, digits) in pairs.items()}


def _idx(folder: Path, prefix: str) -> tuple[NDArray[Any], NDArray[Any]] | None:
    paths = [sorted(folder.glob(f"{prefix}-{kind}?idx*")) for kind in _MAGIC]
    if not all(paths):
        return None
    images, digits = (_content(matches[0], magic) for matches, magic in zip(paths, _MAGIC.values(), strict=True))
    if images.size != 784 * len(digits):
        raise ValueError(f"Expected {len(digits):,} images of 28 x 28 in {paths[0][0]}, found {images.size:,} bytes.")
    return images.reshape(-1, 784), digits


def _content(path: Path, magic: int) -> NDArray[Any]:
    """The bytes after the header of an idx file, which must be as many as the header says."""
    raw = present(path).read_bytes()
    try:
        content = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"Expected a packed file in {path}, found: {error}; fetch it again.") from None
    sizes = np.frombuffer(content[: 4 * (1 + magic % 256)], dtype=">u4")
    start = 4 * (1 + magic % 256)
    if len(content) < start or sizes[0] != magic or len(content) - start != int(np.prod(sizes[1:], dtype=np.int64)):
        raise ValueError(f"Expected an idx file of MNIST in {path}, found another or a damaged one: fetch it again.")
    return np.frombuffer(content, dtype=np.uint8, offset=start)


def _pngs(folder: Path) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Files in folders of their digit, in the order of their numbers."""
    paths = sorted(folder.glob("[0-9]/*.png"), key=lambda path: (len(path.stem), path.stem))
    if not paths:
        return None
    images = np.stack([picture(path, channels=1).reshape(-1).numpy() for path in paths])
    if images.shape[1] != 784:
        raise ValueError(f"Expected images of 28 x 28 in {folder}, found {images.shape[1]} pixels.")
    return images, np.array([int(path.parent.name) for path in paths])

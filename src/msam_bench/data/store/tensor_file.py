"""One tensor a file in the safetensors format, filled row by row and read as a view of the mapped file.

    create(path, "audio", "float16", (7442, 1, 257, 188))     # the whole file is reserved at once
    with Rows(path) as rows:
        rows.write(64, block)                                 # rows 64, 65, ...
    mapped(path)                                              # Tensor: pages are read when touched, and shared

The header is written here because the format's own writer needs the whole tensor in memory.
"""

from __future__ import annotations

import json
import os
import struct
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

CODES = {"float32": "F32", "float16": "F16", "uint8": "U8", "int16": "I16", "int32": "I32", "int64": "I64"}
"""Type of values -> its name in the format."""

_BYTES = {"F32": 4, "F16": 2, "U8": 1, "I16": 2, "I32": 4, "I64": 8}
_ALIGNMENT = 8


def create(path: Path, name: str, dtype: str, shape: tuple[int, ...]) -> None:
    """Makes the file with its header and reserves room for the values, so that a full disk shows at once.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    head = _header(name, CODES[dtype], shape)
    size = len(head) + _BYTES[CODES[dtype]] * prod(shape)
    with path.open("wb") as stream:
        stream.write(head)
        stream.flush()
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, size)
        stream.truncate(size)


def write_rows(path: Path, start: int, block: Tensor) -> None:
    """Puts `block` `[rows, *shape]` at row `start`, onto the disk before this returns.

    Raises:
        OSError: the disk is full or the file cannot be written.
    """
    content = block.contiguous().numpy()
    with path.open("r+b") as stream:
        begin = 8 + struct.unpack("<Q", stream.read(8))[0]
        stream.seek(begin + start * (content.nbytes // len(content)))
        stream.write(content.data)
        stream.flush()
        os.fsync(stream.fileno())


def mapped(path: Path) -> Tensor:
    """The one tensor of a file, as a view of the mapped file: do not write to it.

    Raises:
        ValueError: the file is missing, cut off or not of this format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            (name,) = file.keys()
            tensor: Tensor = file.get_tensor(name)
            return tensor
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(f"Expected a tensor in {path}, found: {error}; prepare the data again.") from None


def _header(name: str, code: str, shape: tuple[int, ...]) -> bytes:
    """Length and JSON header, padded so that the values are aligned."""
    size = _BYTES[code] * prod(shape)
    text = json.dumps({name: {"dtype": code, "shape": list(shape), "data_offsets": [0, size]}}, separators=(",", ":"))
    content = text.encode()
    content += b" " * (-len(content) % _ALIGNMENT)
    return struct.pack("<Q", len(content)) + content

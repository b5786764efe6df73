"""Arrays of the user's own: npy (mapped), npz and safetensors (mapped). Nothing that could run code is read.

arrays(Path("data.npz"))            # {"audio": [n, 64, 100], "label": [n]}
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msam_bench.data.media.opening import brief, present

ARCHIVES = (".npz", ".npy", ".safetensors")
"""Endings of files that hold arrays."""


def arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    """The arrays of a file by name; that of an npy is named as the file is.

    Raises:
        ValueError: The file is damaged, or holds Python objects, whose loading could run code.
    """
    present(path)
    try:
        if path.suffix.lower() == ".safetensors":
            return _tensors(path)
        if path.suffix.lower() == ".npy":
            return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            return {name: loaded[name] for name in loaded.files}
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise ValueError(
                f"Expected arrays of numbers or texts in {path}, found Python objects: convert them."
            ) from None
        raise ValueError(f"Expected arrays in {path}, found: {brief(error, path)}.") from None
    except (OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"Expected arrays in {path}, found: {brief(error, path)}.") from None


def _tensors(path: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError, safe_open
    from torch import bfloat16

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    return {name: (tensor.float() if tensor.dtype is bfloat16 else tensor).numpy() for name, tensor in tensors.items()}

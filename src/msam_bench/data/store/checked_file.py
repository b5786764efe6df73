"""Files of tensors that are checked against a known sha256 before anything is read from them.

file = Stored(path, sha256, recipe=1)
file.tensors()          # {"label": Tensor, ...}: read and checked once a process, then remembered
file.fingerprint        # changes with the file and with the recipe that turns it into samples
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Stored:
    """A safetensors file and what it must be.

    Args:
        path: The file.
        sha256: Its sha256, in hexadecimal digits.
        recipe: Raised whenever the way from this file to samples changes (split, windows, scaling).
    """

    path: Path
    sha256: str
    recipe: int

    @property
    def fingerprint(self) -> str:
        """sha256 over the file's sha256 and the recipe's number."""
        return hashlib.sha256(f"{self.sha256} recipe {self.recipe}".encode()).hexdigest()

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors in the file, shared by all callers of the process: do not write to them.

        Raises:
            ValueError: The file is missing or its sha256 is another one.
        """
        return _read(self)


@cache
def _read(file: Stored) -> Mapping[str, Tensor]:
    from safetensors.torch import load

    return MappingProxyType(load(_checked(file)))


def _checked(file: Stored) -> bytes:
    if not file.path.is_file():
        raise ValueError(f"Expected the data file {file.path}, found none: install the package again.")
    content = file.path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise ValueError(
            f"Expected {file.path} with sha256 {file.sha256[:12]}, found {digest[:12]} in {len(content)} bytes: "
            "the file is damaged, install the package again."
        )
    return content

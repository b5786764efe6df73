"""A data set that ships with the package: one file of tensors beside its card, and pictures of four bits.

@dataclass(frozen=True, kw_only=True)
class Leaves(Shipped): ...                  # writes `load` and `sizes`
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.data.base import Source
from msam_bench.data.store.checked_file import Stored

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Shipped(Source):
    """The loader of a data set that ships with the package.

    Args:
        file: The file of its tensors.
    """

    file: Stored

    @property
    def fingerprint(self) -> str:
        """See `Source.fingerprint`."""
        return self.file.fingerprint


def embedded(name: str, sha256: str, recipe: int = 1) -> Stored:
    """The file `NAME.safetensors` that ships with the package."""
    return Stored(Path(__file__).parent / "embedded" / f"{name}.safetensors", sha256, recipe)


def unpack_pictures(packed: Tensor, side: int) -> Tensor:
    """Square pictures `[pictures, 1, side, side]` (uint8, 0 to 15) of bytes with two pixels each, the first on top."""
    import torch

    return torch.stack([packed >> 4, packed & 15], dim=-1).reshape(-1, 1, side, side)

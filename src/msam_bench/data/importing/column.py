"""One modality of data that are being imported: what it is like, and how it is read sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from msam_bench.data.modality import Modality


@dataclass(frozen=True)
class Column:
    """A modality.

    Args:
        name: Of the modality.
        look: What it is like.
        read: The tensor of a sample, by its row.
        says: Where it comes from and what is done to it, in a few words.
        overrides: The options that change that.
        recipe: The same as plain values, for the manifest.
    """

    name: str
    look: Modality
    read: Callable[[int], Tensor]
    says: str
    overrides: str = "--kind"
    recipe: Mapping[str, Any] = field(default_factory=dict)

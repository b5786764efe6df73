"""One modality of data that are being imported: its specification, and how it is read sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from msam_bench.data.modality import Modality


class Gap(NamedTuple):
    """A missing value: what was expected, and what stands there."""

    expected: str
    found: str


@dataclass(frozen=True)
class Column:
    """A modality.

    Args:
        name: Of the modality.
        spec: Kind, type of values and encoder; the shape is read from the first sample.
        read: The tensor of a sample, by its row; NaN where a value is missing.
        description: Where it comes from and what is done to it, in a few words.
        options: The options that change that.
        recipe: The same as plain values, for the manifest.
        absent: Row -> why a sample lacks the whole modality.
        gaps: Row -> why a sample lacks some of its values.
        files: The files that it is read from.
        fillable: Whether a sample without any of its values can be read all the same, as NaN.
    """

    name: str
    spec: Modality
    read: Callable[[int], Tensor]
    description: str
    options: str = "--kind"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    absent: Mapping[int, Gap] = field(default_factory=dict)
    gaps: Mapping[int, Gap] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    fillable: bool = False

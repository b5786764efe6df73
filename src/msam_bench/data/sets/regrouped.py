"""The features of a data set in any number of modalities: `digits6x16` is digits6 in 16 equal parts.

source("digits6x16").load(seed=0).shapes          # {"part01": (41,), ..., "part16": (40,)}
source("smartwatchx6").load(seed=0).shapes        # {"part01": (1, 75), ..., "part06": (1, 75)}, a channel each

For questions about the number of modalities: the features, samples and splits are the data set's own, in its order.
Vectors are parted by features, series by channels.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msam_bench.data.base import Dataset, Source, Split

if TYPE_CHECKING:
    from torch import Tensor

_NAME = re.compile(r"(?P<base>.+)x(?P<parts>[1-9]\d*)")


@dataclass(frozen=True, kw_only=True)
class Regrouped(Source):
    """The loader of a regrouped data set.

    Args:
        base: The data set whose features are regrouped.
    """

    base: Source

    @property
    def fingerprint(self) -> str:
        """See `Dataset.fingerprint`."""
        return hashlib.sha256(f"{self.base.fingerprint} in {len(self.modalities)} parts".encode()).hexdigest()

    def load(self, seed: int) -> Dataset:
        """See `Source.load`.

        Raises:
            ValueError: The modalities are not all vectors, or all series of one length; or there are fewer features
                than parts.
        """
        dataset = self.base.load(seed)
        if (features := parted(dataset)) < len(self.modalities):
            raise ValueError(
                f"'{dataset.name}' has {features} features, too few for {len(self.modalities)} modalities."
            )
        splits = {name: self._regroup(split) for name, split in dataset.splits.items()}
        return Dataset(self.name, splits, dataset.classes, self.fingerprint)

    def sizes(self, seed: int = 0) -> dict[str, int]:
        """See `Source.sizes`."""
        return self.base.sizes(seed)

    def fold(self, seed: int) -> int | None:
        """See `Source.fold`."""
        return self.base.fold(seed)

    def _regroup(self, split: Split) -> Split:
        inputs, target = split.take(slice(None))
        return Split(self._parts(inputs), target, samples=split.ids, groups=split.groups)

    def _parts(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        import torch

        parts = torch.cat(list(inputs.values()), 1).tensor_split(len(self.modalities), 1)
        return {name: part.contiguous() for name, part in zip(self.modalities, parts, strict=True)}


def parted(dataset: Dataset) -> int:
    """How many parts a data set can be regrouped into at most: its features, or channels.

    Raises:
        ValueError: The modalities are not all vectors, or all series of one length.
    """
    kinds = {(spec.kind, spec.shape[1:]) for spec in dataset.modality_specs.values()}
    if len(kinds) > 1 or next(iter(kinds))[0] not in ("vector", "series"):
        raise ValueError(
            "Only vectors, or series of one length, can be regrouped, "
            f"but '{dataset.name}' has modalities {dataset.shapes}."
        )
    return sum(spec.shape[0] for spec in dataset.modality_specs.values())


def regrouped(base: Source, parts: int) -> Regrouped:
    """A data set's features in so many equal parts (as equal as whole features allow)."""
    return Regrouped(
        name=f"{base.name}x{parts}",
        summary=f"The features of {base.name} in {parts} equal parts.",
        modalities=tuple(f"part{number:02}" for number in range(1, parts + 1)),
        classes=base.classes,
        licence=base.licence,
        citation=base.citation,
        origin=base.origin,
        group=base.group,
        base=base,
    )


def split_name(name: str) -> tuple[str, int] | None:
    """`digits6x16` as ("digits6", 16); None for a name that is not written like this."""
    match = _NAME.fullmatch(name)
    return (match["base"], int(match["parts"])) if match else None

"""av-digits-small: 6,800 pairs of a reduced handwritten digit and a spoken digit in noise, ready to use.

The first images of each split of av-digits; the split is the same for every seed, as there. No recording and no noise
is in two splits, the speakers are in all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msam_bench.data.base import Dataset, Split, check_seed
from msam_bench.data.modality import Modality
from msam_bench.data.sets.shipped import Shipped, embedded
from msam_bench.data.splits_to_tensors import standardised

if TYPE_CHECKING:
    from torch import Tensor

SIZES = {"train": 4000, "valid": 800, "test": 2000}


@dataclass(frozen=True, kw_only=True)
class AVDigitsSmall(Shipped):
    """The loader of av-digits-small: pictures `[pairs, 1, 28, 28]`, log-mel spectrograms `[pairs, 1, 32, 32]`."""

    def load(self, seed: int) -> Dataset:
        """See `Source.load`; every seed gives the same split."""
        check_seed(seed)
        stored = self.file.tensors()
        specs = {"image": Modality("image", (1, 28, 28)), "audio": Modality("spectrogram", (1, 32, 32))}
        splits = standardised({part: pairs(stored, part) for part in SIZES})
        return Dataset(self.name, splits, self.classes, self.fingerprint, specs)

    def sizes(self, seed: int = 0) -> dict[str, int]:
        """See `Source.sizes`."""
        return dict(SIZES)


def pairs(stored: Mapping[str, Tensor], part: str) -> Split:
    """The pairs of a split, pictures from 0 to 255 and spectrograms from 0 to 63."""
    audio = stored[f"{part}_audio"][stored[f"{part}_pair"].long()][:, None]
    image = pictures(stored["mean"], stored["axes"], stored[f"{part}_scores"])
    return Split({"image": image, "audio": audio}, stored[f"{part}_digit"].long())


def pictures(mean: Tensor, axes: Tensor, scores: Tensor) -> Tensor:
    """`mean + scores @ axes` in whole grey levels, uint8 `[pictures, 1, 28, 28]`.

    The terms are added one after the other in float64, so that every machine rounds the same numbers.
    """
    import torch

    values = mean.double().expand(len(scores), -1).clone()
    for score, axis in zip(scores.double().T, axes.double(), strict=True):
        values += score[:, None] * axis
    return values.clamp(0, 255).round().to(torch.uint8).reshape(-1, 1, 28, 28)


AV_DIGITS_SMALL = AVDigitsSmall(
    name="av-digits-small",
    summary="Handwritten digits with most of their energy removed, and spoken digits in noise: 6,800 of av-digits.",
    modalities=("image", "audio"),
    classes=tuple("0123456789"),
    licence="CC BY-SA 4.0 (images CC BY-SA 3.0, noise CC0 and CC BY 3.0)",
    citation="MNIST (LeCun et al.); Free Spoken Digit Dataset (Jackson); ESC, Piczak 2015, doi:10.1145/2733373.2806390",
    origin="MNIST, Free Spoken Digit Dataset and ESC-10, mixed by msam; ships with this package",
    file=embedded("av-digits-small", "9478de785efd78941ec2e2e5a53bdc78d1a45ac0ca10723edbcd379e84c804dc"),
)

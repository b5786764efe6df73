"""The models that steps are timed on, with a batch each: towers that cost much, and some that cost next to nothing.

family = FAMILIES["two ResNet-18"]
model, batch = family.model("late"), family.data()
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from msam import EarlyFusion, FusionModel, LateFusion
from msam_bench.data.modality import Modality
from msam_bench.encoders import encoder

CLASSES = 6


@dataclass(frozen=True)
class Family:
    """A kind of model, with the bench's encoders.

    Args:
        looks: what each modality looks like.
        features: size of each encoder's output.
        batch: samples in a batch.
        encoder: name of the encoders; each modality's usual one if None.
    """

    looks: Mapping[str, Modality]
    features: int
    batch: int
    encoder: str | None = None

    def model(self, fusion: str = "late") -> FusionModel:
        """A fresh model, the same each time."""
        torch.manual_seed(0)
        widths = dict.fromkeys(self.looks, self.features)
        fused = LateFusion(widths, CLASSES) if fusion == "late" else EarlyFusion(widths, CLASSES, hidden=(512, 256))
        encoders = {name: encoder(look, self.features, name=self.encoder) for name, look in self.looks.items()}
        return FusionModel(encoders, fused)

    def data(self, batch: int | None = None) -> tuple[dict[str, Tensor], Tensor]:
        """A batch of noise, the same each time."""
        generator, count = torch.Generator().manual_seed(0), batch or self.batch
        inputs = {name: torch.randn(count, *look.shape, generator=generator) for name, look in self.looks.items()}
        return inputs, torch.arange(count) % CLASSES


def mlps(count: int) -> Family:
    """So many MLPs on 76 numbers each; six of them are nearly the model of the embedded `digits6`."""
    return Family({f"view{i}": Modality("vector", (76,)) for i in range(count)}, 64, 64)


def towers(count: int) -> Family:
    """So many ResNet-18 of half the width (2.8 million parameters) on pictures of 48 x 48, in batches of 64."""
    return Family({f"view{i}": Modality("image", (3, 48, 48)) for i in range(count)}, 256, 64, "resnet18")


FAMILIES: dict[str, Family] = {
    "two ResNet-18": Family(
        {"audio": Modality("spectrogram", (1, 64, 64)), "image": Modality("image", (3, 64, 64))}, 512, 32, "resnet18"
    ),
    "two CNNs": Family(
        {"audio": Modality("spectrogram", (1, 56, 56)), "image": Modality("image", (1, 28, 28))}, 64, 64
    ),
    "three Transformers": Family(
        {name: Modality("sequence", (20, width)) for name, width in {"video": 371, "audio": 81, "text": 300}.items()},
        64,
        32,
    ),
    "six MLPs": mlps(6),
}

"""The models that steps are timed on, with a batch each: towers that cost much, and some that cost next to nothing.

two ResNet-18 (11.2 million parameters each), two small CNNs, three Transformers, MLPs in any number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam import EarlyFusion, FusionModel, LateFusion
from msam_bench.backbones import encoder

CLASSES = 6


class Block(nn.Module):
    """Two convolutions and a shortcut (He et al. 2016, arXiv 1512.03385)."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        first = [nn.Conv2d(width, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        self.body = nn.Sequential(*first, nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out))
        projection = [nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out)]
        self.short = nn.Sequential(*(projection if stride > 1 or width != out else []))

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, width, side, side]` to `[batch, out, side / stride, side / stride]`."""
        return F.relu(self.body(x) + self.short(x))


def resnet18(channels: int = 3) -> nn.Module:
    """Images `[batch, channels, side, side]` to features `[batch, 512]`."""
    widths = (64, 64, 128, 256, 512)
    stages = [
        block
        for i in range(4)
        for block in (Block(widths[i], widths[i + 1], 1 if i == 0 else 2), Block(widths[i + 1], widths[i + 1], 1))
    ]
    stem = [nn.Conv2d(channels, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Transformer(nn.Module):
    """Sequences `[batch, time, features]` to features `[batch, width]`: a linear layer, two blocks, the mean."""

    def __init__(self, features: int, width: int = 64) -> None:
        super().__init__()
        self.enter = nn.Linear(features, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.1, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        """The mean over time of what the blocks make of it."""
        pooled: Tensor = self.blocks(self.enter(x)).mean(1)
        return pooled


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Args:
        shapes: modality -> shape of one sample.
        width: of each encoder's features.
        batch: samples in a batch.
        encode: shape of a sample -> encoder.
    """

    shapes: Mapping[str, tuple[int, ...]]
    width: int
    batch: int
    encode: Callable[[tuple[int, ...]], nn.Module]

    def model(self, fusion: str = "late") -> FusionModel:
        """A fresh model, the same each time."""
        torch.manual_seed(0)
        widths = dict.fromkeys(self.shapes, self.width)
        fused = LateFusion(widths, CLASSES) if fusion == "late" else EarlyFusion(widths, CLASSES, hidden=(512, 256))
        return FusionModel({name: self.encode(shape) for name, shape in self.shapes.items()}, fused)

    def data(self, batch: int | None = None) -> tuple[dict[str, Tensor], Tensor]:
        """A batch of noise."""
        generator, count = torch.Generator().manual_seed(0), batch or self.batch
        inputs = {name: torch.randn(count, *shape, generator=generator) for name, shape in self.shapes.items()}
        return inputs, torch.arange(count) % CLASSES


def mlps(count: int, features: int = 76) -> Family:
    """So many MLPs of 64 units; six of 76 features are those of the embedded `digits6`, nearly."""
    return Family({f"m{i}": (features,) for i in range(count)}, 64, 64, encoder)


FAMILIES: dict[str, Family] = {
    "two ResNet-18": Family({"audio": (1, 64, 64), "image": (3, 64, 64)}, 512, 16, lambda shape: resnet18(shape[0])),
    "two CNNs": Family({"audio": (1, 56, 56), "image": (1, 28, 28)}, 64, 64, encoder),
    "three Transformers": Family(
        {"audio": (20, 81), "image": (20, 371), "text": (20, 300)}, 64, 32, lambda shape: Transformer(shape[1])
    ),
    "six MLPs": mlps(6),
}

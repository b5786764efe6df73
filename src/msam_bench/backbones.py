"""Encoders, chosen by the shape of a modality: plain modules from `[batch, *shape]` to features `[batch, width]`.

encoder((76,), width=64)            # MLP
encoder((3, 75), width=64)          # 1-D CNN over time
encoder((1, 28, 28), width=64)      # LeNet
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn


def encoder(shape: tuple[int, ...], width: int = 64, hidden: int = 64) -> nn.Module:
    """The default encoder of a modality.

    Args:
        shape: of one sample: `(features,)`, `(channels, time)` or `(channels, height, width)`.
        width: size of the feature vector.
        hidden: size of hidden layers.

    Raises:
        ValueError: if the shape is none of these.
    """
    builders = {1: mlp, 2: cnn1d, 3: lenet}
    if len(shape) not in builders:
        raise ValueError(f"Expected samples of one to three dimensions, found shape {list(shape)}; name an encoder.")
    return builders[len(shape)](shape[0], width, hidden)


def mlp(features: int, width: int, hidden: int) -> nn.Module:
    """Two hidden layers and a feature layer, ReLU after each."""
    sizes = (features, hidden, hidden, width)
    return nn.Sequential(*[layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())])


def cnn1d(channels: int, width: int, hidden: int) -> nn.Module:
    """Three strided convolutions over time, then the mean over time."""
    sizes = (channels, hidden, hidden, width)
    blocks = [
        layer
        for a, b in pairwise(sizes)
        for layer in (nn.Conv1d(a, b, 5, stride=2, padding=2), nn.BatchNorm1d(b), nn.ReLU())
    ]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten())


def lenet(channels: int, width: int, hidden: int) -> nn.Module:
    """Three convolutions with pooling, then the mean over the picture."""
    sizes = (channels, hidden // 2, hidden, width)
    blocks = [
        layer
        for a, b in pairwise(sizes)
        for layer in (
            nn.Conv2d(a, b, 3, padding=1, bias=False),
            nn.BatchNorm2d(b),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
        )
    ]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())

"""A multilayer perceptron: the encoder of vectors, and of anything else flattened."""

from __future__ import annotations

from itertools import pairwise
from math import prod

from torch import nn

from msam_bench.encoders.base import ModalitySpec, encodes


@encodes("vector", "series", "image", "spectrogram", "frames", "sequence", usual_for="vector")
def mlp(spec: ModalitySpec, features: int, hidden: int = 64) -> nn.Module:
    """Two hidden layers and a feature layer, ReLU after each."""
    sizes = (prod(spec.shape), hidden, hidden, features)
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*([] if spec.kind == "vector" else [nn.Flatten()]), *layers)

"""A multilayer perceptron: the encoder of vectors, and of anything else flattened."""

from __future__ import annotations

from itertools import pairwise
from math import prod

from torch import nn

from msam_bench.data.modality import Modality


def mlp(look: Modality, features: int, hidden: int = 64) -> nn.Module:
    """Two hidden layers and a feature layer, ReLU after each."""
    sizes = (prod(look.shape), hidden, hidden, features)
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*([] if look.kind == "vector" else [nn.Flatten()]), *layers)

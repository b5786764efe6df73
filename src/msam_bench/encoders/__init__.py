"""Encoders: plain modules from one modality `[batch, *shape]` to features `[batch, features]`.

    encoder(Modality("vector", (76,)), 64)                                  # an MLP, as the kind says
    encoder(Modality("image", (3, 224, 224)), 512, name="resnet18")         # the usual width, 64 channels
    encoder(Modality("sequence", (50, 301)), 768, name="transformer", layers=8, pool="first")

The width of every encoder is the size of its features: a ResNet-18 of 512 features is the usual one, one of 16 is a
narrow one for a quick look.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from msam_bench.data.modality import Modality
from msam_bench.encoders.convolutions import cnn1d, cnn2d, lenet
from msam_bench.encoders.dense import mlp
from msam_bench.encoders.resnet import resnet18
from msam_bench.encoders.transformer import transformer
from msam_bench.names import nearest

ENCODERS: Mapping[str, tuple[Callable[..., nn.Module], tuple[str, ...]]] = {
    "mlp": (mlp, ("vector", "series", "image", "spectrogram", "frames", "sequence")),
    "cnn1d": (cnn1d, ("series",)),
    "cnn2d": (cnn2d, ("image", "spectrogram", "frames")),
    "lenet": (lenet, ("image", "spectrogram", "frames")),
    "resnet18": (resnet18, ("image", "spectrogram", "frames")),
    "transformer": (transformer, ("sequence", "tokens")),
}
"""Name -> what makes it of a modality and a number of features, and the kinds of modality that it takes."""

BY_KIND = {
    "vector": "mlp",
    "series": "cnn1d",
    "image": "cnn2d",
    "spectrogram": "cnn2d",
    "frames": "cnn2d",
    "sequence": "transformer",
    "tokens": "transformer",
}
"""Kind -> the encoder where nobody names one."""


def encoder(look: Modality, features: int, hidden: int = 64, name: str | None = None, **own: Any) -> nn.Module:
    """The encoder of a modality.

    Args:
        look: The modality, with its shape.
        features: Size of the feature vector.
        hidden: Width of hidden layers, for encoders that have them.
        name: One of `ENCODERS`; the modality's own, or that of its kind, if None.
        **own: Further arguments of that encoder.

    Raises:
        ValueError: An unknown name or argument, or an encoder that does not take this kind of modality.
    """
    name = name or look.encoder or BY_KIND[look.kind]
    if name not in ENCODERS:
        raise ValueError(f"Expected an encoder among {', '.join(ENCODERS)}, found '{name}': {nearest(name, ENCODERS)}.")
    build, kinds = ENCODERS[name]
    if look.kind not in kinds:
        fitting = ", ".join(other for other, (_, takes) in ENCODERS.items() if look.kind in takes)
        raise ValueError(
            f"Expected {', '.join(kinds)} for '{name}', found a modality of kind '{look.kind}': use {fitting}."
        )
    known = list(inspect.signature(build).parameters)[2:]
    for key in own:
        if key not in known:
            raise ValueError(f"Encoder '{name}' has no argument '{key}': {nearest(key, known, 'it takes none')}.")
    shared = {"hidden": hidden} if "hidden" in known else {}
    return build(look, features, **{**shared, **own})

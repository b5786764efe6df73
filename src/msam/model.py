"""Fusion models: one encoder a modality, then a fusion that turns features into logits.

    model = FusionModel({"audio": audio_net, "image": image_net}, LateFusion({"audio": 64, "image": 512}, classes=6))
    logits = model({"audio": audio, "image": image})

A model of your own that has the same two names, `encoders` and `fuse`, is as good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from msam.features import FeatureHook, FeatureReader
from msam.types import Features, Inputs


class FusionModel(nn.Module):
    """`fuse({m: encoders[m](inputs[m])})`.

    Args:
        encoders: modality -> module from `[batch, ...]` to features `[batch, ...]`; the order is the canonical one.
        fusion: module from features to logits `[batch, classes]`.
        features: what the feature of an encoder's output is, for encoders that return more than a tensor; see
            `msam.features`.

    Raises:
        ValueError: if there is no encoder, or (when called) if an input is missing.
    """

    def __init__(
        self, encoders: Mapping[str, nn.Module], fusion: nn.Module, features: FeatureHook | None = None
    ) -> None:
        super().__init__()
        self.features_of = features
        if not encoders:
            raise ValueError("FusionModel needs at least one encoder, found none.")
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = fusion

    def fuse(self, features: Features) -> Tensor:
        """Logits `[batch, classes]` of encoder outputs."""
        logits: Tensor = self.fusion(features)
        return logits

    @property
    def partial(self) -> Callable[[Features], dict[str, Tensor]] | None:
        """The fusion's additive parts (see `LateFusion.partial`), or None if it is not additive."""
        return getattr(self.fusion, "partial", None)

    @property
    def heads(self) -> Mapping[str, nn.Module] | None:
        """The part of the fusion that belongs to each modality, or None if all of it is shared."""
        return getattr(self.fusion, "heads", None)

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits `[batch, classes]`."""
        if not inputs.keys() >= self.encoders.keys():
            missing = [name for name in self.encoders if name not in inputs]
            raise ValueError(
                f"The model expects the modalities {list(self.encoders)}, found {list(inputs)}; add {missing}."
            )
        outputs = {name: encoder(inputs[name]) for name, encoder in self.encoders.items()}
        if self.features_of is None and set(map(type, outputs.values())) == {Tensor}:
            return self.fuse(outputs)
        reader = FeatureReader(self.features_of)
        return self.fuse({name: reader(name, output) for name, output in outputs.items()})


class LateFusion(nn.Module):
    """One linear layer on the concatenated features: `logits = sum_m W_m h_m + b`.

    The layer is stored as one bias-free head a modality and one bias, so that what belongs to a modality is a module
    of its own; the initial values are those of `nn.Linear` on the concatenation.

    Args:
        widths: modality -> size of its feature vector.
        classes: number of logits.
    """

    def __init__(self, widths: Mapping[str, int], classes: int) -> None:
        super().__init__()
        bound = sum(widths.values()) ** -0.5
        self.heads = nn.ModuleDict({name: nn.Linear(width, classes, bias=False) for name, width in widths.items()})
        self.bias = nn.Parameter(torch.empty(classes))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def partial(self, features: Features) -> dict[str, Tensor]:
        """Each modality's additive part of the logits, with an equal share of the bias: they sum to `forward`."""
        share = self.bias / len(self.heads)
        return {name: head(features[name].flatten(1)) + share for name, head in self.heads.items()}

    def forward(self, features: Features) -> Tensor:
        """Logits `[batch, classes]` of features `[batch, width]` (or anything that flattens to that)."""
        logits: Tensor = self.bias + sum([head(features[name].flatten(1)) for name, head in self.heads.items()])
        return logits


class Maxout(nn.Module):
    """Largest of `pieces` affine maps, elementwise (Goodfellow et al. 2013, arXiv 1302.4389)."""

    def __init__(self, width: int, units: int, pieces: int = 2) -> None:
        super().__init__()
        self.pieces = pieces
        self.affine = nn.Linear(width, units * pieces)

    def forward(self, features: Tensor) -> Tensor:
        """`[batch, width]` to `[batch, units]`."""
        affine: Tensor = self.affine(features)
        return affine.reshape(*affine.shape[:-1], -1, self.pieces).amax(-1)


class EarlyFusion(nn.Module):
    """A maxout network on the concatenated features, as in the early-fusion experiments of AGM and M-SAM.

    Batch normalisation, then for each hidden layer maxout, batch normalisation and dropout, then one linear layer.

    Args:
        widths: modality -> size of its feature vector.
        classes: number of logits.
        hidden: units of the maxout layers.
        pieces: affine maps a maxout unit chooses from.
        dropout: probability of zeroing a hidden unit, in [0, 1).
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        hidden: tuple[int, ...] = (2048, 1024),
        pieces: int = 2,
        dropout: float = 0.3,
    ) -> None:
        sizes = (sum(widths.values()), *hidden)
        layers: list[nn.Module] = [nn.BatchNorm1d(sizes[0])]
        for width, units in pairwise(sizes):
            layers += [Maxout(width, units, pieces), nn.BatchNorm1d(units), nn.Dropout(dropout)]
        super().__init__()
        self.names = tuple(widths)
        self.trunk = nn.Sequential(*layers, nn.Linear(sizes[-1], classes))

    def forward(self, features: Features) -> Tensor:
        """Logits `[batch, classes]` of features `[batch, width]` (or anything that flattens to that)."""
        logits: Tensor = self.trunk(torch.cat([features[name].flatten(1) for name in self.names], dim=1))
        return logits

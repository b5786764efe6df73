"""A Transformer encoder (Vaswani et al. 2017, arXiv 1706.03762) for sequences of features or of words.

A position whose values are all zero is padding, and so is word 0: attention does not see it and pooling leaves it out.
An input that is absent is all zero, hence all padding: it passes as one position of zeros, so that its feature is
finite. Attention is written out, so that its second derivatives exist (flatness needs them).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from msam_bench.encoders.base import ModalitySpec, encodes


@encodes("sequence", "tokens", usual_for=("sequence", "tokens"))
def transformer(
    spec: ModalitySpec,
    features: int,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 4,
    dropout: float = 0.1,
    pool: Literal["mean", "first"] = "mean",
    positions: bool = True,
) -> nn.Module:
    """The Transformer of a modality; see `Transformer`."""
    first = nn.Embedding(spec.vocabulary, features) if spec.vocabulary else nn.Linear(spec.shape[-1], features)
    return Transformer(first, features, hidden, layers, heads, dropout, pool, positions)


class Transformer(nn.Module):
    """Embedding, layers, and one feature vector of what they say at the positions that are no padding.

    AGM and M-SAM use 768 features, 8 layers of 4 heads and 2048 hidden units, no positions and the first token.

    Args:
        first: From words or features to `features`, position by position.
        features: Width of all layers and of the result.
        hidden: Units of the feed-forward layers.
        layers: How many.
        heads: Of attention; a divisor of the features.
        dropout: Probability, in [0, 1).
        pool: The mean over positions, or the first one.
        positions: Whether sines of its place among those that are no padding are added to each position.

    Raises:
        ValueError: Heads that do not divide the features, or an unknown pool.
    """

    def __init__(
        self,
        first: nn.Module,
        features: int,
        hidden: int,
        layers: int,
        heads: int,
        dropout: float,
        pool: str,
        positions: bool,
    ) -> None:
        if features % heads:
            raise ValueError(f"Expected a number of heads that divides {features} features, found {heads}.")
        if pool not in ("mean", "first"):
            raise ValueError(f"Expected the pool 'mean' or 'first', found '{pool}'.")
        super().__init__()
        self.first, self.pool, self.positions = first, pool, positions
        self.layers = nn.ModuleList(Layer(features, hidden, heads, dropout) for _ in range(layers))

    def forward(self, sequence: Tensor) -> Tensor:
        """`[batch, times, values]`, or words `[batch, times]`, to `[batch, features]`."""
        here = present(sequence)
        states = self.first(sequence)
        if self.positions:
            states = states + sines(here, states.shape[-1]).to(states.dtype)
        for layer in self.layers:
            states = layer(states, here)
        weights = here.to(states.dtype) if self.pool == "mean" else first_of(here).to(states.dtype)
        pooled: Tensor = (states * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)
        return pooled


class Layer(nn.Module):
    """Attention and two feed-forward layers, each added to its input and then normalised.

    Args:
        features: Width.
        hidden: Units between the feed-forward layers.
        heads: Of attention.
        dropout: Of attention weights, hidden units and what is added.
    """

    def __init__(self, features: int, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attend, self.mix = nn.Linear(features, 3 * features), nn.Linear(features, features)
        self.norm1, self.norm2 = nn.LayerNorm(features), nn.LayerNorm(features)
        self.forward1, self.forward2 = nn.Linear(features, hidden), nn.Linear(hidden, features)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, here: Tensor) -> Tensor:
        """`[batch, times, features]` to the same; `here [batch, times]` says which positions are no padding."""
        states = self.norm1(states + self.dropout(self.attention(states, here)))
        inner = self.dropout(torch.relu(self.forward1(states)))
        out: Tensor = self.norm2(states + self.dropout(self.forward2(inner)))
        return out

    def attention(self, states: Tensor, here: Tensor) -> Tensor:
        """`softmax(Q K^T / sqrt(d)) V` in each head, over the positions that are here."""
        query, key, value = self.attend(states).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = query @ key.mT / math.sqrt(key.shape[-1])
        shares = scores.masked_fill(~here[:, None, None], -math.inf).softmax(-1)
        mixed: Tensor = self.mix((self.dropout(shares) @ value).transpose(1, 2).flatten(2))
        return mixed


def present(sequence: Tensor) -> Tensor:
    """Which positions are no padding, `[batch, times]`; the first one, where all would be."""
    here = sequence != 0
    here = here.any(-1) if here.dim() == 3 else here
    return here | (first_of(torch.ones_like(here)) & ~here.any(1, keepdim=True))


def first_of(here: Tensor) -> Tensor:
    """Only the first of the positions that are here, `[batch, times]`."""
    return here & (here.cumsum(1) == 1)


def sines(here: Tensor, features: int) -> Tensor:
    """`[batch, times, features]`: sines and cosines of the place among positions that are here, counted from 0."""
    place = (here.cumsum(1) - 1).clamp(min=0)
    rates = 10_000.0 ** (-torch.arange(0, features, 2, device=here.device) / features)
    angles = place[..., None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(2)[..., :features]

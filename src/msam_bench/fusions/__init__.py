"""Fusions beside late and early: modules from features by modality `[batch, width]` to logits `[batch, outputs]`.

    fusion("gated", {"audio": 64, "image": 512}, outputs=6, hidden=64)

None of them is additive in the modalities' logits, so methods that need an additive fusion are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from msam.types import Features


class Joined(nn.Module):
    """What fusions share: one linear layer a modality, in the order of the modalities.

    Args:
        widths: modality -> size of its feature vector.
        size: of each layer's output.
    """

    def __init__(self, widths: Mapping[str, int], size: int) -> None:
        super().__init__()
        self.projections = nn.ModuleDict({name: nn.Linear(width, size) for name, width in widths.items()})

    def projected(self, features: Features) -> list[Tensor]:
        """`[batch, size]` of each modality."""
        return [layer(features[name].flatten(1)) for name, layer in self.projections.items()]


class SumFusion(Joined):
    """`W relu(sum_m W_m h_m)`: projected features are added, then classified."""

    def __init__(self, widths: Mapping[str, int], outputs: int, hidden: int) -> None:
        super().__init__(widths, hidden)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, features: Features) -> Tensor:
        """Logits."""
        logits: Tensor = self.head(torch.stack(self.projected(features)).sum(0).relu())
        return logits


class GatedFusion(Joined):
    """Gated units (Arevalo et al., arXiv 1702.01992): `W sum_m sigmoid(V_m h) tanh(W_m h_m)`, h all features."""

    def __init__(self, widths: Mapping[str, int], outputs: int, hidden: int) -> None:
        super().__init__(widths, hidden)
        whole = sum(widths.values())
        self.gates = nn.ModuleDict({name: nn.Linear(whole, hidden) for name in widths})
        self.head = nn.Linear(hidden, outputs)

    def forward(self, features: Features) -> Tensor:
        """Logits."""
        whole = torch.cat([features[name].flatten(1) for name in self.gates], 1)
        gates = [gate(whole).sigmoid() for gate in self.gates.values()]
        parts = [gate * part.tanh() for gate, part in zip(gates, self.projected(features), strict=True)]
        logits: Tensor = self.head(torch.stack(parts).sum(0))
        return logits


class FilmFusion(Joined):
    """Feature-wise linear modulation (Perez et al., arXiv 1709.07871): the other modalities scale and shift the first.

    `W relu((1 + gamma(h_rest)) W_1 h_1 + beta(h_rest))`; with a single modality, nothing modulates it.
    """

    def __init__(self, widths: Mapping[str, int], outputs: int, hidden: int) -> None:
        first, *self.others = widths
        super().__init__({first: widths[first]}, hidden)
        rest = sum(widths[name] for name in self.others)
        self.modulation = nn.Linear(rest, 2 * hidden) if rest else None
        self.head = nn.Linear(hidden, outputs)

    def forward(self, features: Features) -> Tensor:
        """Logits."""
        (states,) = self.projected(features)
        if self.modulation is not None:
            rest = torch.cat([features[name].flatten(1) for name in self.others], 1)
            gamma, beta = self.modulation(rest).chunk(2, 1)
            states = (1 + gamma) * states + beta
        logits: Tensor = self.head(states.relu())
        return logits


class BilinearFusion(Joined):
    """Low-rank fusion (Liu et al., arXiv 1806.00064): `b + sum_r w_r prod_m W_m^r [h_m, 1]`.

    Args:
        widths: modality -> size of its feature vector.
        outputs: number of logits.
        hidden: not used; the rank is what sets the size.
        rank: number of products.
    """

    def __init__(self, widths: Mapping[str, int], outputs: int, hidden: int, rank: int = 4) -> None:
        super().__init__(widths, rank * outputs)
        self.rank = rank
        self.weights = nn.Parameter(torch.full((rank,), rank**-0.5))
        self.bias = nn.Parameter(torch.zeros(outputs))
        for layer in self.projections.values():
            nn.init.ones_(layer.bias)  # type: ignore[arg-type]  # products of many factors start near 1, not near 0

    def forward(self, features: Features) -> Tensor:
        """Logits."""
        product = torch.stack(self.projected(features)).prod(0)
        return torch.einsum("r,bro->bo", self.weights, product.reshape(len(product), self.rank, -1)) + self.bias


class TransformerFusion(Joined):
    """Late fusion by attention: one token a modality and one that is classified; absent modalities are masked.

    A modality whose feature is all zeros is absent, as coalitions and samples that lack it make it: nothing attends to
    it. It is the simple baseline with modality masks of SimBaMM (arXiv 2512.22991).

    Args:
        widths: modality -> size of its feature vector.
        outputs: number of logits.
        hidden: size of tokens.
        layers: of the encoder.
        heads: of attention.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        outputs: int,
        hidden: int,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        if hidden % heads:
            raise ValueError(f"Expected a number of heads that divides {hidden} hidden units, found {heads}.")
        super().__init__(widths, hidden)
        self.places = nn.Parameter(0.02 * torch.randn(len(widths) + 1, hidden))
        layer = nn.TransformerEncoderLayer(hidden, heads, 4 * hidden, dropout, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(hidden), enable_nested_tensor=False)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, features: Features) -> Tensor:
        """Logits."""
        parts = self.projected(features)
        tokens = torch.stack([torch.zeros_like(parts[0]), *parts], 1) + self.places
        here = [features[name].flatten(1).any(1) for name in self.projections]
        absent = ~torch.stack([torch.ones_like(here[0]), *here], 1)
        logits: Tensor = self.head(self.encoder(tokens, src_key_padding_mask=absent)[:, 0])
        return logits


FUSIONS: dict[str, Callable[[Mapping[str, int], int, int], nn.Module]] = {
    "sum": SumFusion,
    "gated": GatedFusion,
    "film": FilmFusion,
    "bilinear": BilinearFusion,
    "transformer": TransformerFusion,
}
"""Fusion by name, beside `late` and `early`."""

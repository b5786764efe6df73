"""Unimodal classifiers that a method holds beside the model: one linear layer on each encoder's output.

An example.

    heads = Heads({"audio": 64, "image": 512}, classes=6)
    losses = heads.losses(objective, live, target)                # modality -> its own loss, with graph
    losses, gradients = heads.alone(objective, live, target)      # [modalities]; modality -> weight -> gradient
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from msam.objective import Objective, Pass
from msam.types import Features, Gradients


class Heads(nn.ModuleDict):
    """`z_m = W_m h_m + b_m` for each modality.

    Initialised like `nn.Linear`, from a generator of their own: making them does not advance the random stream, and
    every rank makes the same.

    Args:
        widths: modality -> size of its encoder's output, flattened.
        classes: number of logits.
        seed: of the initial values.

    Raises:
        ValueError: if no modality is named, a size is not positive, or (when called) features do not fit.
    """

    def __init__(self, widths: Mapping[str, int], classes: int, seed: int = 0) -> None:
        if not widths or min(*widths.values(), classes) < 1:
            raise ValueError(f"Unimodal heads need a positive width a modality and classes, found {widths}, {classes}.")
        super().__init__({name: nn.Linear(width, classes, device="meta") for name, width in widths.items()})
        self.to_empty(device="cpu")
        generator = torch.Generator().manual_seed(seed)
        for name, width in widths.items():
            for parameter in self[name].parameters():
                nn.init.uniform_(parameter, -(width**-0.5), width**-0.5, generator=generator)

    def forward(self, features: Features) -> dict[str, Tensor]:
        """Logits of each modality alone, `[batch, classes]`."""
        return {name: head(self._fitting(name, features)) for name, head in self.items()}

    def losses(self, objective: Objective, live: Pass, target: Tensor) -> dict[str, Tensor]:
        """The criterion of each modality alone, in canonical order, with its graph."""
        logits = self(live.features)
        return {name: objective.loss(logits[name], target) for name in objective.encoders}

    def alone(self, objective: Objective, live: Pass, target: Tensor) -> tuple[Tensor, dict[str, Gradients]]:
        """Those losses without graph, `[modalities]`, and the gradients of each in its encoder and classifier."""
        losses = self.losses(objective, live, target)
        gradients = {
            name: objective.compute_gradients(loss, [*objective.parameters(name), *self[name].parameters()])
            for name, loss in losses.items()
        }
        return torch.stack([loss.detach() for loss in losses.values()]), gradients

    def weight(self, name: str) -> Tensor:
        """`W_m`, `[classes, width]`."""
        weight = self[name].weight
        assert isinstance(weight, Tensor)
        return weight

    def _fitting(self, name: str, features: Features) -> Tensor:
        if name not in features:
            raise ValueError(
                f"A unimodal head needs the output of the encoder {name!r}, which the model's forward pass did not "
                "show; call each encoder once, as a module, without full backward hooks, in no reentrant checkpoint; "
                "a compiled model needs `fuse`."
            )
        weight, feature = self.weight(name), features[name].flatten(1)
        if feature.shape[1] != weight.shape[1]:
            raise ValueError(
                f"The head of {name!r} expects features of width {weight.shape[1]}, found {feature.shape[1]}."
            )
        return feature.to(weight.dtype)

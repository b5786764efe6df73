"""MMCosine: the logits are sums of cosines, so that no modality wins by the length of its features or weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam.features import required
from msam.losses import Losses, LossMethod
from msam.method import in_range
from msam.objective import Objective, Pass
from msam.types import Features, Inputs, Outcome


class MMCosine(LossMethod):
    """Multi-modal cosine loss (Xu et al. 2023, arXiv 2303.05338).

        z_k = scale sum_m <h_m, W_mk> / |h_m||W_mk|,   loss = l(z)

    `W_mk` is the row of class k in the model's own linear head of modality m. Biases take no part, here and at test:
    `predict` uses the same logits. The loss and logits of an outcome, and whatever asks the model itself (coalitions,
    contributions), are those of its fusion as it is, without normalisation; the trained loss is the note `loss/cosine`.

    Passes a batch: 1 forward, 1 backward.

    Limits: with features and rows of length one, no bias and `scale=1`, joint training.

    Args:
        scale: of the cosines, above 0; 10 in the code.

    Raises:
        ValueError: if an argument is out of its range.
    """

    name, family = "mmcosine", "balance"
    paper = "Xu et al. 2023, arXiv 2303.05338"
    # scale: 10 in the paper's code, 15 in BalanceBenchmark
    search = {"scale": [3.0, 5.0, 8.0, 10.0, 12.0, 15.0, 20.0]}

    needs = frozenset({"separate_encoders", "additive_fusion", "heads"})

    def __init__(self, scale: float = 10.0) -> None:
        super().__init__()
        self.scale = in_range("scale", scale, 1e-6)

    def check(self, objective: Objective) -> None:
        """Refuses heads that are not linear."""
        super().check(objective)
        heads = getattr(objective.bare, "heads", None) or {}
        others = [name for name in objective.encoders if name not in heads or not isinstance(heads[name], nn.Linear)]
        if others:
            raise ValueError(
                f"MMCosine needs one nn.Linear a modality in the model's `heads`, found none for {others}; LateFusion "
                "has them."
            )

    def losses(self, objective: Objective, live: Pass, inputs: Inputs, target: Tensor) -> Losses:
        """The cosine loss."""
        loss = objective.loss(self.cosines(objective, live.features), target)
        return Losses(loss, record={"loss/cosine": loss.detach()})

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient of the cosine loss, which does not reach the fusion's bias."""
        live = objective.forward(inputs, target, local=True)
        losses = self.losses(objective, live, inputs, target)
        gradients = objective.compute_gradients(losses.total(), objective.parameters())
        objective.add_gradients(gradients)
        objective.share_gradients(gradients)
        return live.outcome(**losses.record)

    def predict(self, objective: Objective, inputs: Inputs) -> Tensor:
        """The scaled sum of cosines, in evaluation mode."""
        with torch.no_grad():
            return self.cosines(objective, objective.features(inputs))

    def cosines(self, objective: Objective, features: Features) -> Tensor:
        """`z` of some features, `[batch, classes]`."""
        parts = [
            F.linear(F.normalize(feature.flatten(1).to(weight.dtype)), F.normalize(weight))
            for feature, weight in ((required(features, m), objective.bare.heads[m].weight) for m in objective.encoders)
        ]
        return self.scale * torch.stack(parts).sum(0)

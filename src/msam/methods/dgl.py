"""DGL: encoders learn from their own losses only, the fusion from the fused loss only."""

from __future__ import annotations

import torch
from torch import Tensor

from msam.additive import alone_logits
from msam.method import Method, in_range
from msam.objective import Objective
from msam.types import Inputs, Outcome


class DGL(Method):
    """Disentangled Gradient Learning (Wei et al. 2025, ICCV, arXiv 2507.10213).

    With `z_m` the logits that the model's own fusion gives to modality m alone, the other features being zeros:

        fusion      G_f = grad_f l(fuse(h_1, ..., h_M))
        encoder m   g_m = alpha grad_m l(z_m)

    The fused loss does not reach the encoders, and the losses of single modalities do not reach the fusion. Since no
    encoder depends on another, the encoders are those of M separate trainings through one shared head; the method is
    therefore to be compared with separate trainings first.

    The authors back-propagate `alpha sum_m l_m`, delete the fusion's gradient and back-propagate `l`; here each loss is
    differentiated by its own weights, which is the same. They clip the gradient's norm at 40, which is left to the
    optimizer here.

    Passes a batch: 1 forward, 1 backward of the fusion, 1 of the encoders, and M passes of the fusion.

    Limits: with an additive fusion and `alpha=1`, the encoder's gradient is that of a model of its modality alone
    with the same head.

    Args:
        alpha: weight of the unimodal losses, above 0; the authors' script for CREMA-D uses 4 and 5.

    Raises:
        ValueError: if an argument is out of its range.
    """

    name, family = "dgl", "balance"
    paper = "Wei et al. 2025, ICCV, arXiv 2507.10213"
    # alpha: 4 and 5 on CREMA-D, in the authors' script
    search = {"alpha": [0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 8.0]}

    needs = frozenset({"separate_encoders", "fuse"})

    def __init__(self, alpha: float = 4.0) -> None:
        super().__init__()
        self.alpha = in_range("alpha", alpha, 0)

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the fusion's gradient of the fused loss and each encoder's of its own."""
        live = objective.forward(inputs, target)
        logits = alone_logits(objective, live, inputs)
        losses = torch.stack([objective.loss(each, target) for each in logits])
        encoders = dict.fromkeys(weight for name in objective.encoders for weight in objective.parameters(name))
        fusion = [weight for weight in objective.parameters() if weight not in encoders]
        gradients = objective.compute_gradients(live.loss, fusion)
        objective.add_gradients(gradients | objective.compute_gradients(self.alpha * losses.sum(), encoders))
        return live.outcome(**{f"loss/{m}": l for m, l in zip(objective.encoders, losses.detach(), strict=True)})

"""SynIB: a prediction without one of the modalities must not be confident."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from msam.losses import Losses, LossMethod
from msam.method import class_indices, in_range
from msam.objective import Objective, Pass
from msam.types import Inputs


class SynIB(LossMethod):
    """Penalty on the confidence of predictions that lack a modality, after SynIB (2026, arXiv 2606.09853).

    With `z_-m` the logits when modality m's feature is zero, and U the uniform distribution over C classes:

        R    = 1/M sum_m mean KL(softmax(z_-m) | U),   KL(p | U) = log C - H(p)
        loss = l + beta R

    The penalty leaves room for what only all modalities together can tell (synergy); it is the opposite of a loss of
    each modality alone. The abstract states a variational form with zero, noise or learned masks; the paper's
    equations and code were not at hand, so this is the simplest member of the family: zero masks, a uniform prior.
    R is in units of the criterion (`Objective.unit`), so that the sum is proportional to it.

    Passes a batch: 1 forward, 1 backward, and M passes of the fusion.

    Limits: `beta=0`, or one modality, is joint training.

    Args:
        beta: weight of the penalty, at least 0.

    Raises:
        ValueError: if an argument is out of its range, or targets are no class indices.
    """

    name, family = "synib", "balance"
    paper = "2026, arXiv 2606.09853"
    # beta: not published in what was at hand; a decade around CML's weight
    search = {"beta": [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]}

    needs = frozenset({"encoders", "fuse"})

    def __init__(self, beta: float = 0.1) -> None:
        super().__init__()
        self.beta = in_range("beta", beta, 0)

    def losses(self, objective: Objective, live: Pass, inputs: Inputs, target: Tensor) -> Losses:
        """The loss and its penalty."""
        count = len(objective.encoders)
        if self.beta == 0 or count == 1:
            return Losses(live.loss, record={"confidence": 0.0})
        class_indices(self, live.logits, target)
        without = ~torch.eye(count, dtype=torch.bool)
        logits = objective.coalitions.training_logits(live, inputs, without, "zero-feature")
        excess = confidence(logits)
        penalty = self.beta * objective.unit(live.logits, target) * excess
        return Losses(live.loss, penalty=penalty, record={"confidence": excess.detach()})


def confidence(logits: Tensor) -> Tensor:
    """Mean `KL(softmax(z) | uniform)` in nats, 0-d, of logits `[..., classes]`."""
    log_p = logits.log_softmax(-1, torch.promote_types(logits.dtype, torch.float32))
    return (log_p.exp() * (log_p + log(logits.shape[-1]))).sum(-1).mean()

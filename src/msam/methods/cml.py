"""CML: a prediction must not become more confident because a modality has been taken away."""

from __future__ import annotations

import random
from typing import Literal

import torch
from torch import Tensor

from msam.losses import Losses, LossMethod
from msam.method import class_indices, in_range, one_of
from msam.objective import Objective, Pass
from msam.remembering import Remembering
from msam.types import Inputs


class CML(Remembering, LossMethod):
    """Calibrating Multimodal Learning (Ma et al. 2023, arXiv 2306.01265).

    The modalities are taken away one after the other in a random order, `S_1` all of them, `S_2`, ..., `S_M` one. With
    `c_k` the largest probability that the model gives when only those of `S_k` are present:

        loss = l + weight sum_k mean(max(0, c_{k+1} - c_k))

    `faithful="code"` follows the authors' published code in two more respects: the task's loss is the mean of those of
    `S_1`, ..., `S_M`, and of the samples whose larger coalition is wrong, only those count that the smaller one gets
    wrong as well, with `c_k` held constant. `paper` is the default: the code is that of another network (which also
    sums where this takes means).

    An absent modality is a feature of zeros, so any fusion will do; the coalitions are fused with the random draws of
    the pass. The order is drawn for each batch from a stream of the method's own, made from `seed` and the number of
    the batch: a resumed run draws the same, and so do all ranks. The penalty is in units of the criterion
    (`Objective.unit`), so that the sum is proportional to it.

    Passes a batch: 1 forward, 1 backward, and M - 1 passes of the fusion.

    Limits: `weight=0` is joint training (of the mean of the losses in `code`); so is one modality.

    Args:
        weight: of the penalty (lambda), at least 0.
        faithful: see above.
        seed: of the orders.

    Raises:
        ValueError: if an argument is out of its range.
    """

    name, family = "cml", "balance"
    paper = "Ma et al. 2023, arXiv 2306.01265"
    # weight: 0.1 in BalanceBenchmark
    search = {"weight": [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]}

    remembers = ("batches",)

    needs = frozenset({"encoders", "fuse"})

    def __init__(self, weight: float = 0.1, faithful: Literal["paper", "code"] = "paper", seed: int = 0) -> None:
        super().__init__()
        self.weight, self.seed = in_range("weight", weight, 0), seed
        self.faithful = one_of("faithful", faithful, ("paper", "code"))
        self._batches = 0

    def losses(self, objective: Objective, live: Pass, inputs: Inputs, target: Tensor) -> Losses:
        """The loss and its penalty."""
        self._batches += 1
        count = len(objective.encoders)
        if count == 1 or (self.weight == 0 and self.faithful == "paper"):
            return Losses(live.loss, record={"rise": 0.0})
        labels = class_indices(self, live.logits, target)
        logits = objective.coalitions.training_logits(live, inputs, self.chain(count), "zero-feature")
        rise = self.rise(logits, labels)
        loss = live.loss
        if self.faithful == "code":
            loss = torch.stack([loss, *(objective.loss(each, target) for each in logits[1:])]).mean()
        penalty = self.weight * objective.unit(live.logits, target) * rise
        return Losses(loss, penalty=penalty, record={"rise": rise.detach()})

    def chain(self, count: int) -> Tensor:
        """The coalitions, from all modalities to one, booleans `[modalities, modalities]`."""
        order = list(range(count))
        random.Random(self.seed * 1_000_003 + self._batches).shuffle(order)
        return torch.tensor([[order.index(m) >= gone for m in range(count)] for gone in range(count)])

    def rise(self, logits: Tensor, target: Tensor) -> Tensor:
        """By how much confidence rises where a modality is taken away, summed over the chain, a mean over the batch."""
        confidence, named = logits.softmax(-1, torch.promote_types(logits.dtype, torch.float32)).max(-1)
        larger, smaller = confidence[:-1], confidence[1:]
        if self.faithful == "code":
            right = named == target
            larger = torch.where(right[:-1], larger, larger.detach())
            counts = right[:-1] | ~right[1:]
            return ((smaller - larger).clamp(min=0) * counts).mean(-1).sum()
        return (smaller - larger).clamp(min=0).mean(-1).sum()

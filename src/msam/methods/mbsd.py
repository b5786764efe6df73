"""MBSD: modalities that disagree about the true class are drawn together, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor

from msam.heads import Heads
from msam.losses import Losses, LossMethod
from msam.method import class_indices, in_range
from msam.objective import Objective, Pass
from msam.types import Inputs


class MBSD(LossMethod):
    """Balanced self-distillation after Liu et al. 2023 (WSDM), in the version of BalanceBenchmark (arXiv 2502.10816).

    With `l_m`, `z_m`, `p_m` the loss, logits and probabilities of a linear classifier on encoder m, for each sample and
    pair of modalities:

        w = |p_m[y] - p_n[y]|   if one of the two is right, else 0
        D = b (log b - a)       a the larger, b the smaller of p_m[y] and p_n[y]
        R = mean over pairs and samples of w (|z_m - z_n|^2 / C + D)
        loss = l + sum_m l_m + weight R

    The paper distils a pre-trained single-stream model, and its equations could not be compared; this is the one
    published form for classifiers of this kind, from which the numbers in comparisons come. Its `D` is a
    Kullback-Leibler divergence but for a logarithm that is missing at `a`, and gradients flow through all of R, `w`
    included. It takes the parts of a linear fusion for `z_m`; here the classifiers are the method's own, so that any
    fusion will do. For three modalities it takes probabilities in place of logits; here pairs are alike for any number.
    R is in units of the criterion (`Objective.unit`), so that the sum is proportional to it.

    Passes a batch: 1 forward, 1 backward.

    Limits: `weight=0`, or one modality, is the gradient of `l + sum_m l_m`.

    Args:
        widths: modality -> size of its encoder's output, flattened.
        classes: number of logits.
        weight: of R, at least 0; 1 in BalanceBenchmark.
        seed: of the classifiers' initial values.

    Raises:
        ValueError: if an argument is out of its range.
    """

    name, family = "mbsd", "balance"
    paper = "Liu et al. 2023, WSDM; arXiv 2502.10816"
    # weight: 1 in BalanceBenchmark
    search = {"weight": [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]}
    remedies = {"mbsd": "support"}

    needs = frozenset({"separate_encoders"})

    def __init__(self, widths: Mapping[str, int], classes: int, weight: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        self.weight, self.heads = in_range("weight", weight, 0), Heads(widths, classes, seed)

    def losses(self, objective: Objective, live: Pass, inputs: Inputs, target: Tensor) -> Losses:
        """All losses and the reconcilement."""
        labels = class_indices(self, live.logits, target)
        logits = self.heads(live.features)
        own = {name: objective.loss(logits[name], target) for name in objective.encoders}
        apart = reconcilement(torch.stack([logits[name] for name in objective.encoders]), labels)
        penalty = self.weight * objective.unit(live.logits, target) * apart
        return Losses(live.loss, own, penalty, record={"apart": apart.detach()})


def reconcilement(logits: Tensor, target: Tensor) -> Tensor:
    """`R`, 0-d, of `[modalities, batch, classes]`; 0 for one modality."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    labels = target.clamp(min=0).expand(len(logits), -1)[..., None]
    true = logits.log_softmax(-1).gather(-1, labels)[..., 0]
    right, labelled = logits.argmax(-1) == target, (target >= 0).sum().clamp(min=1)
    terms = []
    for m, n in combinations(range(len(logits)), 2):
        smaller, larger = torch.minimum(true[m], true[n]), torch.maximum(true[m], true[n]).exp()
        weight = (larger - smaller.exp()) * (right[m] | right[n])
        distance = (logits[m] - logits[n]).square().mean(-1)
        terms.append((weight * (distance + smaller.exp() * (smaller - larger))).sum() / labelled)
    return torch.stack(terms).mean() if terms else logits.new_zeros(())

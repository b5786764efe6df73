"""LFM: the modalities learn first to agree with each other, then to name the class."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import log

import torch
from torch import Tensor

from msam.heads import Heads
from msam.methods.base import Method, in_range
from msam.objective import Objective
from msam.types import Inputs, Outcome


class LFM(Method):
    """Dynamically learning the modality gap (Yang et al. 2024, NeurIPS): classification and alignment of predictions.

    With `l_m` the loss of a linear classifier on encoder m, `p_m` its probabilities, `a` the share of the alignment:

        A    = mean over pairs m, n of (KL(q | p_m) + KL(q | p_n)) / 2,   q = (p_m + p_n) / 2
        loss = (1 - a) (l + sum_m l_m) + a A

    `a` falls over the epochs: by default as the polynomial that the authors fitted to what they had learned, 0.80 in
    the first epoch, 0.46 in the hundredth, 0.05 from the 168th on. How it is learned, from products of a Hessian with a
    gradient on a part of one held-out batch, read off a single tensor, is not done again here; give a number for a
    constant.

    The code's Kullback-Leibler divergences have their arguments the other way round than in the Jensen-Shannon
    divergence that they are named after; so have these. A later version of the code contrasts features instead; the
    paper's text could not be compared. Here the classifiers are the method's own, so that any fusion will do, where the
    authors fuse by the mean of the modalities' logits. The alignment is in units of the criterion (`Objective.unit`),
    so that the sum is proportional to it.

    Passes a batch: 1 forward, 1 backward.

    Limits: `align=0`, or one modality, is the gradient of `l + sum_m l_m`.

    Args:
        widths: modality -> size of its encoder's output, flattened.
        classes: number of logits.
        align: share of the alignment, in [0, 1]; the authors' polynomial if None.
        seed: of the classifiers' initial values.

    Raises:
        ValueError: if an argument is out of its range.
    """

    needs = frozenset({"separate_encoders"})

    def __init__(self, widths: Mapping[str, int], classes: int, align: float | None = None, seed: int = 0) -> None:
        super().__init__()
        self.align = align if align is None else in_range("align", align, 0, 1)
        self.heads = Heads(widths, classes, seed)
        self._epoch = 0

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient of classification and alignment."""
        live = objective.forward(inputs, target)
        logits = self.heads(live.features)
        alone = [objective.loss(logits[name], target) for name in objective.encoders]
        apart = alignment(torch.stack([logits[name] for name in objective.encoders]))
        share = self.share if len(alone) > 1 else 0.0
        unit = objective.unit(live.logits, target)
        objective.backpropagate((1 - share) * torch.stack([live.loss, *alone]).sum() + share * unit * apart)
        return live.outcome(share=share, apart=apart.detach())

    @property
    def share(self) -> float:
        """`a` in this epoch."""
        return fitted(self._epoch) if self.align is None else self.align

    def next_epoch(self, objective: Objective, train: object = None, valid: object = None) -> None:
        """Moves on in the schedule."""
        self._epoch += 1

    def get_extra_state(self) -> dict[str, int]:
        """The number of epochs that have ended, for `state_dict`."""
        return {"epoch": self._epoch}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Continues where `get_extra_state` left off."""
        self._epoch = state["epoch"]


def alignment(logits: Tensor) -> Tensor:
    """`A`, 0-d, of logits `[modalities, batch, classes]`; 0 for one modality."""
    log_p = logits.log_softmax(-1, torch.promote_types(logits.dtype, torch.float32))
    gaps = [_gap(left, right) for left, right in combinations(log_p, 2)]
    return torch.stack(gaps).mean() if gaps else log_p.new_zeros(())


def _gap(left: Tensor, right: Tensor) -> Tensor:
    """`(KL(q | p) + KL(q | p')) / 2` of log-probabilities `[batch, classes]`, a mean over the batch."""
    q = torch.logaddexp(left, right) - log(2)
    return (q.exp() * (q - (left + right) / 2)).sum(-1).mean()


def fitted(epoch: int) -> float:
    """The authors' polynomial, kept in [0.05, 0.95] as in their code; it would rise again after epoch 180."""
    found = sum(coefficient * float(min(epoch, 180)) ** power for power, coefficient in enumerate(FITTED))
    return min(max(found, 0.05), 0.95)


FITTED = (7.95376296e-01, -3.35472727e-03, -1.22989557e-04, 2.92947416e-06, -2.23835486e-08, 5.39717505e-11)

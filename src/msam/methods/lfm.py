"""LFM: the modalities learn first to agree with each other, then to name the class."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import log
from typing import Literal

import torch
from torch import Tensor

from msam.additive import additive_parts
from msam.heads import Heads
from msam.losses import Losses, LossMethod
from msam.method import class_indices, in_range, one_of
from msam.objective import Objective, Pass
from msam.remembering import Remembering
from msam.types import Inputs, Note


class LFM(Remembering, LossMethod):
    """Dynamically learning the modality gap (Yang et al. 2024, NeurIPS): classification and alignment of predictions.

    With `l_m` the loss of a classifier of modality m, `p_m` its probabilities, `a` the share of the alignment:

        A    = mean over pairs m, n of (KL(q | p_m) + KL(q | p_n)) / 2,   q = (p_m + p_n) / 2
        loss = (1 - a) (l + sum_m l_m) + a A       faithful="paper", the default
               2 ((1 - a) l + a A)                 faithful="code"

    `a` falls over the epochs: by default as the polynomial that the authors fitted to what they had learned, 0.80 in
    the first epoch, 0.46 in the hundredth, 0.05 from the 168th on. How it is learned, from products of a Hessian with a
    gradient on a part of one held-out batch, read off a single tensor, is not done again here; give a number for a
    constant.

    The code's Kullback-Leibler divergences have their arguments the other way round than in the Jensen-Shannon
    divergence that they are named after; so have these. A later version of the code contrasts features instead; the
    paper's text could not be compared, so that `paper` is its idea in the code's alignment.

    With `paper` the classifiers are linear layers of the method's own, trained by losses of their own, so that any
    fusion will do. The authors' code has no unimodal losses: it fuses by the mean of the modalities' logits and aligns
    these. So does `code`, which needs an additive fusion and has no parameters: `p_m = softmax(M f_m)` with `f_m` the
    part of the logits that comes from m, of which the model's logits are the sum. The alignment is in units of the
    criterion (`Objective.unit`), so that the sum is proportional to it.

    Passes a batch: 1 forward, 1 backward; with `code` M + 1 passes of the fusion besides.

    Limits: `align=0`, or one modality, is the gradient of `l + sum_m l_m` (`code`: twice that of `l`).

    Args:
        widths: modality -> size of its encoder's output, flattened; not used by `code`.
        classes: number of logits; not used by `code`.
        align: share of the alignment, in [0, 1]; the authors' polynomial if None.
        seed: of the classifiers' initial values.
        faithful: which losses are blended, see above.

    Raises:
        ValueError: if an argument is out of its range.
    """

    name, family = "lfm", "balance"
    paper = "Yang et al. 2024, NeurIPS"
    # share of the alignment, which the authors' code keeps between 0.05 and 0.95; its course over the training if
    # not given
    search = {"align": [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9]}
    remedies = {"lfm": "support"}

    remembers = ("epoch",)

    needs = frozenset({"separate_encoders"})

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        align: float | None = None,
        seed: int = 0,
        faithful: Literal["paper", "code"] = "paper",
    ) -> None:
        super().__init__()
        self.align = align if align is None else in_range("align", align, 0, 1)
        self.faithful = one_of("faithful", faithful, ("paper", "code"))
        self.heads: Heads | None = None
        if faithful == "paper":
            self.heads = Heads(widths, classes, seed)
        else:
            self.needs = frozenset({"separate_encoders", "additive_fusion"})
        self._epoch = 0

    def losses(self, objective: Objective, live: Pass, inputs: Inputs, target: Tensor) -> Losses:
        """Classification and alignment."""
        class_indices(self, live.logits, target)
        logits = self.logits(objective, live, inputs)
        apart = alignment(logits)
        share = self.share if len(logits) > 1 else 0.0
        penalty = share * objective.unit(live.logits, target) * apart
        record: dict[str, Note] = {"share": share, "apart": apart.detach()}
        if self.faithful == "code":
            return Losses(live.loss, {}, 2 * penalty, 2 * (1 - share), record)
        own = {name: objective.loss(each, target) for name, each in zip(objective.encoders, logits, strict=True)}
        return Losses(live.loss, own, penalty, 1 - share, record)

    def logits(self, objective: Objective, live: Pass, inputs: Inputs) -> Tensor:
        """Logits of each modality alone, with their graph, `[modalities, batch, classes]`."""
        if self.heads is None:
            return len(objective.encoders) * additive_parts(objective, live, inputs)
        logits = self.heads(live.features)
        return torch.stack([logits[name] for name in objective.encoders])

    @property
    def share(self) -> float:
        """`a` in this epoch."""
        return fitted(self._epoch) if self.align is None else self.align

    def next_epoch(self, objective: Objective, train: object = None, valid: object = None) -> None:
        """Moves on in the schedule."""
        self._epoch += 1


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
    fitted = sum(coefficient * float(min(epoch, 180)) ** power for power, coefficient in enumerate(FITTED))
    return min(max(fitted, 0.05), 0.95)


FITTED = (7.95376296e-01, -3.35472727e-03, -1.22989557e-04, 2.92947416e-06, -2.23835486e-08, 5.39717505e-11)

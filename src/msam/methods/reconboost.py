"""ReconBoost: the modalities take turns, each learning what the others get wrong; then all are rectified together."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Literal

import torch
from torch import Tensor

from msam.additive import additive_parts
from msam.method import Method, class_indices, in_range, one_of
from msam.objective import Objective
from msam.remembering import Remembering
from msam.types import Inputs, Outcome


class ReconBoost(Remembering, Method):
    """Modality-alternating boosting with reconcilement (Hua et al. 2024, arXiv 2405.09321).

    With `f_m` the additive part of the logits that comes from modality m (bias shared equally), and `F = sum_m f_m`,
    stage s is the turn of modality `m = s mod M`:

        boost epochs     p = softmax(f_m),  q = softmax(sum of the others' f, held constant)
                         loss = mean of -(w1 - w2 q[y]) log p[y]        encoder and head of m only
        rectify epochs   loss = l(F)                                    everything

    so that a sample the others already know counts less. The stage is known from the number of epochs that have ended
    (`next_epoch`).

    `faithful="paper"` (the default) adds the paper's memory consolidation, in the code's form as the paper's could not
    be compared: `+ memory mean((p - p_before)^2)`, the prediction of the modality whose turn was before held constant.

    `faithful="code"` is what the authors' code computes (w1 and w2 were chosen with it). That term has no effect there,
    because both of its sides are constants. The boosting loss is divided by the number of classes, being averaged over
    them too. And without pretraining the ensemble F grows: a modality joins it with its first turn, so that in the
    first stage nobody else is there, `q = 1`, and all samples weigh `w1 - w2`. With `pretrained=True` all are in it
    from the first stage, as after the authors' training of each encoder alone, which is not done here.

    Deviations in both modes. The authors make new optimizers at each phase; what stands in for `loss.backward()`
    cannot, so momentum lives on from phase to phase. Weights that have no part in a phase receive no gradient, and
    PyTorch's optimizers pass over them. In the authors' networks the modalities share a head, and a trained rate, 1 at
    first, multiplies F; here the heads are the model's own, and the rate is 1. Their memory term runs the previous
    encoder once more in the mode of training, which moves its running statistics twice a batch; here each batch moves
    them once. Their commands start from encoders trained alone, and count stages, up to a thousand, instead of epochs:
    compare at equal numbers of gradients. A shared fusion has no parts f_m; a model that has one is refused, although
    the M-SAM paper lists such results. The boosting loss is in units of the criterion (`Objective.unit`).

    Passes a batch: 1 forward, 1 backward; while boosting, the backward is into one encoder, and M + 1 passes of the
    fusion are added.

    Limits: `boost=0` is joint training.

    Args:
        w1: weight of the likelihood, at least 0; 5 on CREMA-D, 4 on AVE, 1 on MOSEI.
        w2: by how much samples that the others know count less, at least 0 and at most w1; 1, and 0.25 on MOSEI.
        boost: epochs of a stage that train one modality.
        rectify: epochs of a stage that train everything.
        faithful: see above.
        memory: weight of the memory term, for `faithful="paper"`; 0.5 in the code.
        pretrained: for `faithful="code"`, whether all modalities are in the ensemble from the first stage.

    Raises:
        ValueError: if an argument is out of its range, or a stage has no epoch.
    """

    name, family = "reconboost", "balance"
    paper = "Hua et al. 2024, arXiv 2405.09321"
    # w1 1 on MOSEI, 4 on AVE, 5 on CREMA-D; stages of 4 and 4 epochs
    search = {
        "boost": [1, 1, 1, 2, 2, 4, 4],
        "rectify": [1, 1, 1, 2, 2, 4, 4],
        "w1": [1.0, 4.0, 5.0, 1.0, 5.0, 1.0, 5.0],
    }

    remembers = ("epoch",)

    stands_alone = "its gradient is of another loss in each stage, and of one modality at a time"
    needs = frozenset({"separate_encoders", "additive_fusion"})

    def __init__(
        self,
        w1: float = 5.0,
        w2: float = 1.0,
        boost: int = 4,
        rectify: int = 4,
        faithful: Literal["paper", "code"] = "paper",
        memory: float = 0.5,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.w1, self.w2 = in_range("w1", w1, 0), in_range("w2", w2, 0, w1)
        self.boost, self.rectify = int(in_range("boost", boost, 0)), int(in_range("rectify", rectify, 0))
        if not self.boost + self.rectify:
            raise ValueError("A stage of ReconBoost has at least one epoch, found boost=0 and rectify=0.")
        self.faithful, self.memory = one_of("faithful", faithful, ("paper", "code")), in_range("memory", memory, 0)
        self.pretrained = pretrained
        self._epoch = 0

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient of the phase at hand."""
        stage, epoch = divmod(self._epoch, self.boost + self.rectify)
        boosts, names = epoch < self.boost, list(objective.encoders)
        members = range(self.joined(stage if boosts else stage + 1, len(names)))
        if not boosts and len(members) == len(names):
            return objective.accumulate_gradient(inputs, target).outcome(stage=float(stage))
        turn = stage % len(names)
        live = objective.forward(inputs, target, local=True)
        parts = additive_parts(objective, live, inputs)
        if boosts:
            labels = class_indices(self, live.logits, target)
            others = parts.detach()[[member for member in members if member != turn]] if members else None
            loss = objective.unit(live.logits, target) * self.boosting(parts, others, labels, turn, stage > 0)
        else:
            loss = objective.loss(parts[: len(members)].sum(0), target)
        block = _block(objective, [turn] if boosts else members)
        objective.add_gradients(objective.compute_gradients(loss, block))
        objective.share_gradients(block)
        return live.outcome(stage=float(stage), **({"boosted": names[turn]} if boosts else {}))

    def joined(self, stage: int, count: int) -> int:
        """How many modalities, in order, are in the ensemble before a stage."""
        return min(stage, count) if self.faithful == "code" and not self.pretrained else count

    def boosting(self, parts: Tensor, others: Tensor | None, target: Tensor, turn: int, remembers: bool) -> Tensor:
        """The loss of one modality's turn.

        Args:
            parts: `f_m`, `[modalities, batch, classes]`.
            others: those of the ensemble but m, `[members, batch, classes]`; None for no ensemble, `q = 1`.
            target: `[batch]`.
            turn: m.
            remembers: whether some modality had its turn before.
        """
        logits, fixed = parts[turn], parts.detach()
        log_p, q = logits.log_softmax(-1), torch.ones_like(logits) if others is None else others.sum(0).softmax(-1)
        labelled, labels = target >= 0, target.clamp(min=0)[:, None]
        rows = (self.w2 * q.gather(1, labels) - self.w1) * log_p.gather(1, labels)
        loss = (rows[:, 0] * labelled).sum() / labelled.sum().clamp(min=1)
        if self.faithful == "code":
            return loss / logits.shape[-1]
        if remembers:
            loss = loss + self.memory * (log_p.exp() - fixed[turn - 1].softmax(-1)).square().mean()
        return loss

    def next_epoch(self, objective: Objective, train: Any = None, valid: Any = None) -> None:
        """Moves on in the stages."""
        self._epoch += 1


def _block(objective: Objective, chosen: Container[int]) -> list[Tensor]:
    """All weights but those of the other modalities' encoders and heads."""
    head = getattr(objective.bare, "heads", None) is not None
    names = [name for index, name in enumerate(objective.encoders) if index not in chosen]
    others = {weight for name in names for weight in objective.parameters(name, head=head)}
    return [weight for weight in objective.parameters() if weight not in others]

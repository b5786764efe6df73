"""Auxiliary losses: every modality also has to name the class on its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from msam.additive import alone_logits
from msam.heads import Heads
from msam.losses import Losses, LossMethod
from msam.method import in_range, one_of
from msam.objective import Objective, Pass
from msam.types import Inputs

CLASSIFIERS = ("own", "fusion")


class Auxiliary(LossMethod):
    """The fused loss and one loss a modality, the plainest way to keep every encoder learning.

    With `l` the fused loss and `l_m` that of a linear classifier on encoder m:

        loss = l + weight sum_m l_m

    It is the base that G-Blending (arXiv 1905.12681), MMPareto (arXiv 2405.17730) and MBSD (WSDM 2023) refine: with
    equal weights G-Blending is this scaled by `1 / (1 + M)`, MBSD adds a penalty, MMPareto turns the gradients where
    they conflict. What such a method gains over this rival is what its refinement gains.

    The classifiers are the method's own, so any fusion will do; the fusion follows `l` alone. With
    `classifiers="fusion"` there are none: `l_m` is the loss of the model's own logits when the others' features are
    zeros, with late fusion those of m's head, and the fusion follows all losses.

    Passes a batch: 1 forward, 1 backward; `fusion` adds M passes of the fusion.

    Limits: `weight=0` is joint training; `weight=1` is MBSD with `weight=0`.

    Args:
        widths: modality -> size of its encoder's output, flattened.
        classes: number of logits.
        weight: of each modality's loss, at least 0.
        classifiers: `own` linear ones, or the model's `fusion`.
        seed: of the classifiers' initial values.

    Raises:
        ValueError: if an argument is out of its range.
    """

    name, family = "auxiliary", "balance"
    paper = "in G-Blending, arXiv 1905.12681"
    # weight: 1 in MMPareto and BalanceBenchmark
    search = {"weight": [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]}
    variants = {"auxiliary-fusion": {"classifiers": "fusion"}}
    remedies = {"auxiliary": "support"}

    needs = frozenset({"separate_encoders"})

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        weight: float = 1.0,
        classifiers: Literal["own", "fusion"] = "own",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.weight, self.classifiers = in_range("weight", weight, 0), one_of("classifiers", classifiers, CLASSIFIERS)
        self.heads = Heads(widths, classes, seed) if classifiers == "own" else None
        if self.heads is None:
            self.needs = self.needs | {"fuse"}

    def losses(self, objective: Objective, live: Pass, inputs: Inputs, target: Tensor) -> Losses:
        """The fused loss and those of the modalities."""
        alone = self._alone(objective, live, inputs, target)
        record = {f"loss/{name}": loss.detach() for name, loss in alone.items()}
        own = alone if self.weight == 1 else {name: self.weight * loss for name, loss in alone.items()}
        return Losses(live.loss, own, record=record)

    def _alone(self, objective: Objective, live: Pass, inputs: Inputs, target: Tensor) -> dict[str, Tensor]:
        """`l_m`, with their graph."""
        if self.heads is not None:
            return self.heads.losses(objective, live, target)
        logits = alone_logits(objective, live, inputs)
        return {name: objective.loss(each, target) for name, each in zip(objective.encoders, logits, strict=True)}

"""Auxiliary losses: every modality also has to name the class on its own."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from msam.heads import Heads
from msam.losses import Losses, LossMethod
from msam.methods.base import in_range
from msam.objective import Objective, Pass
from msam.types import Inputs


class Auxiliary(LossMethod):
    """The fused loss and one loss a modality, the plainest way to keep every encoder learning.

    With `l` the fused loss and `l_m` that of a linear classifier on encoder m:

        loss = l + weight sum_m l_m

    It is the base that G-Blending (arXiv 1905.12681), MMPareto (arXiv 2405.17730) and MBSD (WSDM 2023) refine: with
    equal weights G-Blending is this scaled by `1 / (1 + M)`, MBSD adds a penalty, MMPareto turns the gradients where
    they conflict. What such a method gains over this rival is what its refinement gains.

    The classifiers are the method's own, so any fusion will do; the fusion follows `l` alone.

    Passes a batch: 1 forward, 1 backward.

    Limits: `weight=0` is joint training; `weight=1` is MBSD with `weight=0`.

    Args:
        widths: modality -> size of its encoder's output, flattened.
        classes: number of logits.
        weight: of each modality's loss, at least 0.
        seed: of the classifiers' initial values.

    Raises:
        ValueError: if an argument is out of its range.
    """

    needs = frozenset({"separate_encoders"})

    def __init__(self, widths: Mapping[str, int], classes: int, weight: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        self.weight, self.heads = in_range("weight", weight, 0), Heads(widths, classes, seed)

    def losses(self, objective: Objective, live: Pass, inputs: Inputs, target: Tensor) -> Losses:
        """The fused loss and those of the modalities."""
        alone = self.heads.losses(objective, live, target)
        record = {f"loss/{name}": loss.detach() for name, loss in alone.items()}
        own = alone if self.weight == 1 else {name: self.weight * loss for name, loss in alone.items()}
        return Losses(live.loss, own, record=record)

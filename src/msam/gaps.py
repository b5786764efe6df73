"""Generalisation gaps: by how much each modality does better on what it was trained on than on what it was not.

gaps = Gaps(absent="zero-input")
gaps.measure(objective, train, valid, heads)      # at the end of an epoch
gaps.contributions(objective)                     # .values by modality, .shares, .dominant: the largest gap
"""

from __future__ import annotations

import torch
from torch import Tensor

from msam.batches import average_over
from msam.coalition import Absent
from msam.heads import Heads
from msam.objective import Objective
from msam.remembering import Remembering
from msam.types import Batches, Contributions, Inputs

LEAST = 0.001
"""A gap in cross-entropies is at least this: one that generalises better than it fits has no negative share."""


class Gaps(Remembering):
    """`gap_m = max(0.001, held-out loss - training loss)` of modality m alone, in evaluation mode.

    The losses are means over a set and over the ranks, in units of one cross-entropy (`Objective.unit`), so that the
    criterion's scale does not matter.

    Args:
        absent: what the other modalities look like where a modality has no classifier of its own.
    """

    remembers = ("values",)

    def __init__(self, absent: Absent = "zero-input") -> None:
        super().__init__()
        self.absent: Absent = absent
        self._values: Tensor | None = None

    @property
    def known(self) -> bool:
        """Whether they have been measured."""
        return self._values is not None

    def measure(self, objective: Objective, train: Batches, valid: Batches, heads: Heads | None = None) -> None:
        """Measures the gaps.

        Args:
            objective: the model and criterion.
            train: what it was trained on.
            valid: a held-out set.
            heads: classifiers of single modalities; those of the fused model's coalitions of one if None.
        """

        def losses(inputs: Inputs, target: Tensor) -> Tensor:
            logits = self._alone(objective, inputs, heads)
            alone = torch.stack([objective.loss(each, target).detach() for each in logits])
            return alone / objective.unit(logits[0], target)

        trained, held_out = (average_over(objective, batches, losses).cpu().double() for batches in (train, valid))
        self._values = held_out - trained

    def contributions(self, objective: Objective) -> Contributions:
        """The gaps as contributions, equal before they have been measured.

        The largest is dominant, also among those below the least, and shares are shares of the sum.
        """
        measured = torch.zeros(len(objective.encoders), dtype=torch.float64) if self._values is None else self._values
        values = measured.clamp(min=LEAST)
        return Contributions(tuple(objective.encoders), values, values / values.sum(), measured.argmax())

    def _alone(self, objective: Objective, inputs: Inputs, heads: Heads | None) -> Tensor:
        """Logits of each modality alone, `[modalities, batch, classes]`."""
        if heads is None:
            masks = torch.eye(len(objective.encoders), dtype=torch.bool)
            return objective.coalition_logits(inputs, masks, self.absent)
        with torch.no_grad():
            logits = heads(objective.features(inputs))
        return torch.stack([logits[name] for name in objective.encoders])

"""Methods that minimise a loss of their own: its parts, with their graph, are all that such a method says.

class Auxiliary(LossMethod):
    def losses(self, objective, live, inputs, target):
        own = self.heads.losses(objective, live, target)
        return Losses(live.loss, {name: self.weight * loss for name, loss in own.items()})
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from msam.method import Method
from msam.objective import Objective, Pass
from msam.types import Inputs, Note, Outcome

LossPart = Literal["all", "fused", "own"]
"""A part of a loss: the whole of it, the loss of the fused logits, or those of single modalities."""


@dataclass(frozen=True)
class Losses:
    """What is minimised on one batch: `weight (fused + sum_m own_m) + penalty`.

    Args:
        fused: the loss of the fused logits, 0-d.
        own: modality -> the loss of that modality alone, 0-d.
        penalty: what is added to them, 0-d; None for nothing.
        weight: of the fused and the modalities' losses together.
        record: measurements for the outcome.
    """

    fused: Tensor
    own: Mapping[str, Tensor] = field(default_factory=dict)
    penalty: Tensor | None = None
    weight: float | Tensor = 1.0
    record: Mapping[str, Note] = field(default_factory=dict)

    def total(self) -> Tensor:
        """The sum of all parts, 0-d."""
        losses = self._weighted([self.fused, *self.own.values()])
        return losses if self.penalty is None else losses + self.penalty

    def split(self, part: LossPart) -> tuple[Tensor, Tensor | None]:
        """One part and the rest, which sum to `total`; None where the rest is empty.

        Raises:
            ValueError: if there is no such part.
        """
        if part == "all":
            return self.total(), None
        own = [self._weighted([*self.own.values()])] if self.own else []
        if part == "own" and not own:
            raise ValueError("of_part='own' needs losses of single modalities, found none; use of_part='fused'.")
        fused = self._weighted([self.fused])
        chosen, others = (fused, own) if part == "fused" else (own[0], [fused])
        rest = [*others, *([] if self.penalty is None else [self.penalty])]
        return chosen, torch.stack(rest).sum() if rest else None

    def _weighted(self, losses: list[Tensor]) -> Tensor:
        total = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        return total if isinstance(self.weight, float) and self.weight == 1 else self.weight * total


class LossMethod(Method):
    """A method that is the gradient of a loss: subclasses say `losses`, the rest is here.

    An ascent can take such a method's gradient wherever it likes, of any part of the loss, and for one encoder alone.
    """

    kind = "loss"

    @abstractmethod
    def losses(self, objective: Objective, live: Pass, inputs: Inputs, target: Tensor) -> Losses:
        """The loss of one batch in its parts, with their graph.

        Args:
            objective: the model and criterion.
            live: the pass whose logits and features the loss is made of.
            inputs: modality -> `[batch, ...]`.
            target: `[batch, ...]`.
        """

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient of the loss."""
        live = objective.forward(inputs, target)
        losses = self.losses(objective, live, inputs, target)
        objective.backpropagate(losses.total())
        return live.outcome(**losses.record)

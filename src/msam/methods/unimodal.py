"""Training one modality alone inside the joint architecture: the reference for "how good could it be"."""

from __future__ import annotations

from torch import Tensor

from msam.coalition import Absent, masks_of
from msam.method import Method
from msam.objective import Objective
from msam.types import Inputs, Outcome


class Unimodal(Method):
    """`g = grad l(f({modality}))`: only this modality's encoder and the fusion are trained, the others are absent.

    With late fusion and zero features this is one encoder and a linear layer. Prediction uses the same coalition.

    Passes a batch: 1 forward and 1 backward of one encoder and the fusion.

    Args:
        modality: the one that is present.
        absent: what the others look like, see `msam.coalition`.
    """

    name, family = "unimodal", "reference"
    paper = ""
    controls = frozenset({"unimodal"})

    kind = "loss"
    needs = frozenset({"encoders", "fuse"})

    def __init__(self, modality: str, absent: Absent = "zero-feature") -> None:
        super().__init__()
        self.modality, self.absent = modality, absent

    def check(self, objective: Objective) -> None:
        """Refuses a model without the modality."""
        super().check(objective)
        if self.modality not in objective.encoders:
            raise ValueError(
                f"Unimodal expects a modality of the model, one of {list(objective.encoders)}, found {self.modality!r}."
            )

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient of the modality's own loss."""
        return objective.coalitions.accumulate_coalition_gradient(inputs, target, self.modality, self.absent).outcome()

    def predict(self, objective: Objective, inputs: Inputs) -> Tensor:
        """Logits of the modality alone."""
        mask = masks_of([frozenset({self.modality})], objective.modalities(inputs))
        return objective.coalition_logits(inputs, mask, self.absent)[0]

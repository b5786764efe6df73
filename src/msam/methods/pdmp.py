"""PDMP: the encoder of the modality that performs best alone is trained harder than the others, by fixed factors."""

from __future__ import annotations

from torch import Tensor

from msam.method import Method, in_range
from msam.objective import Objective
from msam.types import Inputs, Outcome


class PDMP(Method):
    """Performance-dominant modality prioritisation (2026, arXiv 2604.05773): the leader leads.

        g_m <- lead g_m     the encoder of the modality that is best when trained apart
        g_m <- rest g_m     the other encoders; the fusion keeps its gradient

    Methods of balance do the opposite, so this is the control for their claim. The ranking comes from separate
    trainings (`Unimodal`, or the apart rows of a diagnosis) and is an argument. The paper sets both factors for each
    data set; a grid over them, with `lead < rest` included, is the honest comparison.

    Passes a batch: 1 forward, 1 backward.

    Limits: `lead = rest = 1` is joint training.

    Args:
        leader: the modality that performs best alone.
        lead: factor of its encoder's gradient, at least 0.
        rest: factor of the others', at least 0.

    Raises:
        ValueError: if an argument is out of its range, or the model has no such modality.
    """

    name, family = "pdmp", "balance"
    controls = frozenset({"pdmp"})
    paper = "2026, arXiv 2604.05773"
    # rest: both factors are set for each data set in the paper
    search = {"rest": [0.1, 0.25, 0.5, 0.75, 1.25, 1.5, 2.0]}

    needs = frozenset({"separate_encoders"})

    def __init__(self, leader: str, lead: float = 1.0, rest: float = 0.5) -> None:
        super().__init__()
        self.leader, self.lead, self.rest = leader, in_range("lead", lead, 0), in_range("rest", rest, 0)

    def check(self, objective: Objective) -> None:
        """Refuses a model without the leading modality."""
        super().check(objective)
        if self.leader not in objective.encoders:
            raise ValueError(f"PDMP's leader must be one of {list(objective.encoders)}, found {self.leader!r}.")

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient with its encoders' parts multiplied."""
        if self.lead == self.rest == 1:
            return objective.accumulate_gradient(inputs, target).outcome()
        live = objective.forward(inputs, target)
        gradients = objective.compute_gradients(live.loss, objective.parameters())
        for modality in objective.encoders:
            factor = self.lead if modality == self.leader else self.rest
            gradients |= {w: factor * gradients[w] for w in objective.parameters(modality) if w in gradients}
        objective.add_gradients(gradients)
        return live.outcome()

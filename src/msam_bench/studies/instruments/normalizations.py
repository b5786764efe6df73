"""How well do normalised Shapley values predict which modality's encoder gets how much of the gradient?"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from msam import Method, Objective, Outcome, Shapley
from msam.attribution import NORMALIZATIONS
from msam.types import Inputs, Note
from msam_bench.studies.controls import gradient_norms, shares


class Normalizations(Method):
    """Joint training that measures how well each normalisation of the Shapley values predicts the gradient's shares.

    The truth of a batch is `t_m = |g_m| / sum_k |g_k|`, g_m the loss's gradient in modality m's encoder. Notes:
    `error/NAME` is the total variation distance `sum_m |v_m - t_m| / 2` of the shares that NAME gives (`uniform` is
    1 / M for every modality, what knowing nothing gives), `agrees` whether the largest Shapley value and the largest
    gradient are the same modality's, `chance` is 1 / M.

    Args:
        value: the value function of the Shapley values.
    """

    needs = frozenset({"encoders"})

    def __init__(self, value: Literal["accuracy", "probability", "loss"] = "accuracy") -> None:
        super().__init__()
        self.attribution = Shapley(value=value)

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the plain gradient, and compares."""
        live = objective.forward(inputs, target)
        gradients = objective.compute_gradients(live.loss, objective.parameters())
        names = objective.modalities(inputs)
        norms = gradient_norms(
            {name: [gradients[w] for w in objective.parameters(name) if w in gradients] for name in names}
        )
        contributions = self.attribution(objective, inputs, target, live.features)
        objective.add_gradients(gradients)
        truth = shares(norms)
        values = contributions.shapley.double()
        predicted = {name: normalize(values) for name, normalize in NORMALIZATIONS.items()}
        predicted["uniform"] = torch.full_like(values, 1 / len(values))
        agrees = (truth.argmax() == contributions.index).double()
        errors: dict[str, Note] = {
            f"error/{name}": (shares_of - truth).abs().sum() / 2 for name, shares_of in predicted.items()
        }
        return live.outcome(**errors, agrees=agrees, chance=1 / len(values), contributions=contributions)

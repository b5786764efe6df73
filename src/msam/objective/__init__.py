"""The objective: the only way a method asks a model anything, and the only place that back-propagates.

    objective = Objective(model, F.cross_entropy)
    step = objective.accumulate_gradient(inputs, target)                     # one forward, one backward, into .grad
    live = objective.forward(inputs, target)                                 # the same in parts:
    slopes = objective.compute_gradients(live.loss, objective.parameters())  # weight -> gradient, as often as needed,
    objective.add_gradients({weight: 0.5 * g for weight, g in slopes.items()})         # then once into .grad

A model shows as much as it has. Any module `forward(inputs) -> logits` will do; `encoders` says which parameters belong
to which modality; `fuse(features) -> logits` beside it lets coalitions and second passes reuse encoder outputs.
"""

from __future__ import annotations

from msam.objective.coalitions import Part
from msam.objective.objective import Objective
from msam.objective.passes import Pass

__all__ = ["Objective", "Part", "Pass"]

"""The objective: the only way a method asks a model anything, and the only place that back-propagates.

    objective = Objective(model, F.cross_entropy)
    step = objective.accumulate_gradient(inputs, target)                      # one forward, one backward, into .grad
    live = objective.forward(inputs, target)                      # the same in parts, for losses of one's own:
    found = objective.compute_gradients(live.loss, objective.parameters())     # weight -> gradient, as often as needed,
    objective.add_gradients({weight: 0.5 * g for weight, g in found.items()})    # then once into .grad
    logits = objective.coalition_logits(inputs, masks, "zero-input")   # [coalitions, batch, classes]

A model shows as much as it has. Any module `forward(inputs) -> logits` will do; `encoders` says which parameters belong
to which modality; `fuse(features) -> logits` beside it lets coalitions and second passes reuse encoder outputs.
"""

from __future__ import annotations

from msam.objective.curvature import Curvature
from msam.objective.forward import Part, Pass

__all__ = ["Objective", "Part", "Pass"]


class Objective(Curvature):
    """A model and a criterion, with everything a method may ask of them.

    Each file of this package adds one kind of question to those before: what the model shows (`View`), what its ranks
    have in common (`Distributed`), one pass (`Forward`), evaluation mode (`Evaluation`), training
    (`TrainingGradients`), some of the modalities (`Coalitions`), and second derivatives (`Curvature`).

    Args:
        model: any module; wrappers (`torch.compile`, DistributedDataParallel, Fabric) are looked through.
        criterion: (logits, target) -> scalar loss, a mean over the batch.
        encoders: modality -> module, for a model that has no attribute `encoders`.
        call: (model, inputs) -> logits, for a model whose forward does not take a mapping.
        backward: what to call instead of `loss.backward()`, e.g. `lambda loss: scaler.scale(loss).backward()`.
        context: makes a context for forward passes, e.g. `lambda: torch.autocast("cuda", torch.bfloat16)`; Fabric's own
            for a model that Fabric has set up, else none.
        parallel: the DistributedDataParallel that shares the model's gradients, where it wraps a module that holds the
            model instead of the model itself, as Lightning's does.

    Attributes:
        counts: passes made so far.
    """

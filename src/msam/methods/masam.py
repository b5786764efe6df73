"""MASAM: sharpness-aware in the one encoder that is ahead, plain in the others. Not M-SAM, whose name is like it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from msam.blocks import added, cosine, products
from msam.heads import Heads
from msam.methods.base import Method, in_range
from msam.model_state import perturbed
from msam.objective import Objective, Pass
from msam.perturbation import ball
from msam.types import Gradients, Inputs, Note, Outcome


class MASAM(Method):
    """Multimodal Adaptive SAM (ICLR 2026, OpenReview AUKeDukcUi), as its paper states it.

    With `l_0` the fused loss, `l_m` that of a linear classifier on encoder m, and `a_m`, `b_m` their gradients there:

        decay_m = max(0, l_m of the batch before - its running mean)
        cos_m   = a_m.b_m / |a_m||b_m|
        d       = argmax_m  mix decay_m + (1 - mix) cos_m
        epsilon = rho cos_d a_d / |a_d|                         in encoder d only
        g_d     = a_d(theta + epsilon) + weight b_d(theta)
        g_m     = a_m(theta) + weight b_m(theta)                for the others

    The fusion follows `l_0`, each classifier `weight l_m`. The perturbed pass runs encoder d and the fusion alone where
    the model allows it, with the features and dropout masks of the first.

    The authors' code differs: it projects tensor by tensor, scales all of them by the cosine of the last, takes the
    gradient of the total loss at the perturbed point, for the other encoders as well, and cannot run three modalities.
    This is the paper's method, for any number. So that scores do not depend on the criterion's scale, losses are
    measured in cross-entropies (`Objective.unit`), which changes nothing for cross-entropy. In data-parallel training
    scores are averaged over the ranks, so that all perturb the same encoder.

    Passes a batch: 1 forward, 1 backward, 1 backward of each encoder from its classifier, and 1 forward and backward of
    the chosen encoder and the fusion.

    Limits: `rho=0` is the gradient of `l_0 + weight sum_m l_m`.

    Args:
        widths: modality -> size of its encoder's output, flattened.
        classes: number of logits.
        rho: radius of the ball, at least 0; the authors use 0.3 and, on UR-Funny, 0.5.
        mix: share of the decay in the score, in [0, 1]; the authors use 0.8 and 0.5.
        momentum: of the running mean, in [0, 1); the authors use 0.91 and 0.9.
        weight: of the unimodal losses, at least 0.
        seed: of the classifiers' initial values.

    Raises:
        ValueError: if an argument is out of its range.
    """

    needs = frozenset({"separate_encoders"})

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        rho: float = 0.3,
        mix: float = 0.8,
        momentum: float = 0.91,
        weight: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.rho, self.mix = in_range("rho", rho, 0), in_range("mix", mix, 0, 1)
        self.momentum, self.weight = in_range("momentum", momentum, 0, 1), in_range("weight", weight, 0)
        self.heads = Heads(widths, classes, seed)
        self._last: Tensor | None = None
        self._mean: Tensor | None = None

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient, with the leading encoder's part taken at its perturbed weights."""
        live = objective.forward(inputs, target)
        fused = objective.compute_gradients(live.loss, objective.parameters())
        losses, alone = self.heads.alone(objective, live, target)
        cosines = torch.stack([cosine(products(fused, own, objective.parameters(m))) for m, own in alone.items()])
        found = torch.stack([losses.to(cosines) / objective.unit(live.logits, target), cosines])
        losses, cosines = objective.average(found, len(target))
        scores = self.mix * self.decay(losses) + (1 - self.mix) * cosines
        leader = int(scores.argmax())
        modality = list(alone)[leader]
        record: dict[str, Note] = {f"score/{m}": score for m, score in zip(alone, scores, strict=True)}
        if self.rho > 0:
            second, moved = self.climb(objective, live, inputs, target, modality, fused, self.rho * cosines[leader])
            fused, record["sharpness"] = fused | moved, second - live.loss.detach()
        for own in alone.values():
            fused = added(fused, own, self.weight)
        objective.add_gradients(fused)
        return live.outcome(dominant=modality, **record)

    def decay(self, losses: Tensor) -> Tensor:
        """`max(0, l_m of the batch before - its running mean)`, `[modalities]`; takes this batch in."""
        last, mean = (losses if state is None else state.to(losses) for state in (self._last, self._mean))
        self._last, self._mean = losses, torch.lerp(losses, mean, self.momentum)
        return (last - self._mean).clamp(min=0)

    def climb(
        self,
        objective: Objective,
        live: Pass,
        inputs: Inputs,
        target: Tensor,
        modality: str,
        fused: Gradients,
        radius: Tensor,
    ) -> tuple[Tensor, Gradients]:
        """Loss and gradient of one encoder at the end of its perturbation."""
        block = [weight for weight in objective.parameters(modality) if weight in fused]
        epsilon = ball([fused[weight] for weight in block], 1.0)
        with perturbed(block, [radius.to(step) * step for step in epsilon]):
            second = objective.forward_encoder_like(modality, live.detached(), inputs, target)
            return second.loss.detach(), objective.compute_gradients(second.loss, block)

    def get_extra_state(self) -> dict[str, Any]:
        """The last batch's losses and their running mean, for `state_dict`."""
        return {"last": self._last, "mean": self._mean}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Continues where `get_extra_state` left off."""
        self._last, self._mean = state["last"], state["mean"]

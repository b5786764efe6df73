"""MASAM: sharpness-aware in the one encoder that is ahead, plain in the others. Not M-SAM, whose name is like it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from msam.blocks import added, both, cosine, products
from msam.heads import Heads
from msam.method import Method, in_range, one_of
from msam.model_state import perturbed
from msam.objective import Objective, Pass
from msam.perturbation import ball
from msam.remembering import Remembering
from msam.types import Gradients, Inputs, Note, Outcome
from msam.weight_hooks import hooked


class MASAM(Remembering, Method):
    """Multimodal Adaptive SAM (ICLR 2026, OpenReview AUKeDukcUi).

    With `l_0` the fused loss, `l_m` that of a linear classifier on encoder m, and `a_m`, `b_m` their gradients there:

        decay_m = max(0, l_m of the batch before - its running mean)
        cos_m   = a_m.b_m / |a_m||b_m|
        d       = argmax_m  mix decay_m + (1 - mix) cos_m
        epsilon = rho cos_d a_d / |a_d|                         in encoder d only
        g_d     = a_d(theta + epsilon) + weight b_d(theta)
        g_m     = a_m(theta) + weight b_m(theta)                for the others

    The fusion follows `l_0`, each classifier `weight l_m`. The perturbed pass runs encoder d and the fusion alone where
    the model allows it, with the features and dropout masks of the first. Where the two gradients of encoder d conflict
    (`cos_d < 0`), epsilon points down the fused loss.

    That is `faithful="paper"`, the default. `faithful="code"` does what the authors' code does, with `t` a tensor of
    encoder d:

        cos_m     = mean over the tensors of m of a_t.b_t / |a_t||b_t|
        p_t       = (a_t.b_t / |a_t|^2) a_t  if a_t.b_t >= 0,  else a_t
        epsilon_t = rho c p_t / |p|           c: cosine of the last tensor of d if that is positive, else 1
        g_m       = gradient of l_0 + weight sum_k l_k at theta + epsilon, for every encoder

    so that a conflict is climbed with the full radius. That code cannot run three modalities; here both modes take any
    number. It draws new dropout masks for the second pass; here those of the first are used again.

    So that scores do not depend on the criterion's scale, losses are measured in cross-entropies (`Objective.unit`),
    which changes nothing for cross-entropy. In data-parallel training scores are averaged over the ranks, so that all
    perturb the same encoder.

    Passes a batch: 1 forward, 1 backward, 1 backward of each encoder from its classifier, and 1 forward and backward of
    the chosen encoder and the fusion (`code`: of everything, and of the encoders from their classifiers).

    Limits: `rho=0` is the gradient of `l_0 + weight sum_m l_m`.

    Args:
        widths: modality -> size of its encoder's output, flattened.
        classes: number of logits.
        rho: radius of the ball, at least 0; the authors use 0.3 and, on UR-Funny, 0.5.
        mix: share of the decay in the score, in [0, 1]; the authors use 0.8 and 0.5.
        momentum: of the running mean, in [0, 1); the authors use 0.91 and 0.9.
        weight: of the unimodal losses, at least 0.
        seed: of the classifiers' initial values.
        faithful: `paper` or `code`, see above.

    Raises:
        ValueError: if an argument is out of its range.
    """

    kind = "ascent"
    name, family = "masam", "sharpness"
    paper = "ICLR 2026, OpenReview AUKeDukcUi"
    # rho: 0.3 and 0.5 in the paper, 0.05 and 0.1 in the code's defaults
    search = {"rho": [0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0]}
    remedies = {"masam": "support"}

    remembers = ("last", "mean")

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
        faithful: Literal["paper", "code"] = "paper",
    ) -> None:
        super().__init__()
        self.rho, self.mix = in_range("rho", rho, 0), in_range("mix", mix, 0, 1)
        self.momentum, self.weight = in_range("momentum", momentum, 0, 1), in_range("weight", weight, 0)
        self.heads, self.faithful = Heads(widths, classes, seed), one_of("faithful", faithful, ("paper", "code"))
        self._last: Tensor | None = None
        self._mean: Tensor | None = None

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient, with the leading encoder's part taken at its perturbed weights."""
        live = objective.forward(inputs, target)
        fused = objective.compute_gradients(live.loss, objective.parameters())
        losses, alone = self.heads.alone(objective, live, target)
        cosines = torch.stack(
            [self.agreement(fused, unimodal, objective.parameters(m)) for m, unimodal in alone.items()]
        )
        measured = torch.stack([losses.to(cosines) / objective.unit(live.logits, target), cosines])
        losses, cosines = objective.average(measured, len(target))
        scores = self.mix * self.decay(losses) + (1 - self.mix) * cosines
        leader = int(scores.argmax())
        modality = list(alone)[leader]
        record: dict[str, Note] = {f"score/{m}": score for m, score in zip(alone, scores, strict=True)}
        total = fused
        for unimodal in alone.values():
            total = added(total, unimodal, self.weight)
        if self.rho > 0:
            step = fused, alone[modality], modality, cosines[leader]
            second, moved = self.perturbed_gradient(objective, live, inputs, target, *step)
            total, record["sharpness"] = total | moved, second - live.loss.detach()
        objective.add_gradients(total)
        return live.outcome(dominant=modality, **record)

    def agreement(self, fused: Gradients, alone: Gradients, block: list[Tensor]) -> Tensor:
        """`cos_m` of one encoder, 0-d."""
        if self.faithful == "paper":
            return cosine(products(fused, alone, block))
        each = [cosine(products(fused, alone, [weight])) for weight in block if weight in fused or weight in alone]
        return torch.stack(each).mean() if each else cosine(products(fused, alone, block))

    def decay(self, losses: Tensor) -> Tensor:
        """`max(0, l_m of the batch before - its running mean)`, `[modalities]`; takes this batch in."""
        last, mean = (losses if state is None else state.to(losses) for state in (self._last, self._mean))
        self._last, self._mean = losses, torch.lerp(losses, mean, self.momentum)
        return (last - self._mean).clamp(min=0)

    def perturbed_gradient(
        self,
        objective: Objective,
        live: Pass,
        inputs: Inputs,
        target: Tensor,
        fused: Gradients,
        alone: Gradients,
        modality: str,
        cos: Tensor,
    ) -> tuple[Tensor, Gradients]:
        """The fused loss at theta + epsilon, and the gradients that stand in for the plain ones."""
        block = [weight for weight in objective.parameters(modality) if weight in fused]
        climbing = hooked(fused)
        if self.faithful == "code":
            with perturbed(block, projected(climbing, hooked(alone), block, self.rho)):
                second = objective.second.forward_like(live.detached(), inputs, target)
                losses = torch.stack([second.loss, *self.heads.losses(objective, second, target).values()])
                weights = [weight for name in objective.encoders for weight in objective.parameters(name)]
                total = losses[0] + self.weight * losses[1:].sum()
                return second.loss.detach(), objective.compute_gradients(total, weights)
        epsilon = [self.rho * cos.to(step) * step for step in ball([climbing[weight] for weight in block], 1.0)]
        with perturbed(block, epsilon):
            second = objective.second.forward_encoder_like(modality, live.detached(), inputs, target)
            moved = objective.compute_gradients(second.loss, block)
        return second.loss.detach(), added(moved, {w: g for w, g in alone.items() if w in moved}, self.weight)


def projected(fused: Gradients, alone: Gradients, block: list[Tensor], rho: float) -> list[Tensor]:
    """`epsilon_t` of the authors' code for the weights of one encoder."""
    pairs = both(fused, alone, block)
    each = [products(fused, alone, [weight]) for weight, _, _ in pairs]
    shares = [torch.where((p[2] >= 0) & (p[0] > 0), p[2] / p[0].clamp(min=1e-300), (p[2] < 0).to(p)) for p in each]
    steps = [share.to(a) * a for share, (_, a, _) in zip(shares, pairs, strict=True)]
    last = cosine(each[-1]) if each else torch.ones(())
    length = torch.where(last > 0, last, 1.0) * rho
    return [length.to(step) * step for step in ball(steps, 1.0)]

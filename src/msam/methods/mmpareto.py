"""MMPareto: each encoder follows its fused and its unimodal loss without letting one undo the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from msam.blocks import both, cosine, products
from msam.heads import Heads
from msam.method import Method, in_range, one_of
from msam.objective import Objective
from msam.types import Gradients, Inputs, Outcome


class MMPareto(Method):
    """Pareto integration of multimodal and unimodal gradients (Wei and Hu 2024, arXiv 2405.17730).

    With `l_0` the fused loss, `l_m` that of a linear classifier on encoder m, and `a`, `b` their gradients there:

        k   = 1/2                               if a.b > 0
              (|b|^2 - a.b) / |a - b|^2         else: the smallest convex combination k a + (1 - k) b
        h   = 2 k a + 2 (1 - k) b
        g_m = gamma h max(1, |a + b| / |h|)     turned where the two conflict, never shortened

    The fusion follows `l_0`, each classifier its `l_m`. `k` is found for the encoder as a whole. The lengthening is
    done for the encoder as a whole in the paper (`faithful="paper"`, the default) and tensor by tensor in the authors'
    code (`"code"`). The two differ only where gradients conflict.

    In data-parallel training all ranks use the same `k`, from products averaged over their batches.

    Passes a batch: 1 forward, 1 backward, and 1 backward of each encoder from its classifier.

    Limits: where no encoder has a conflict and `gamma=1`, the gradient of the sum of all losses.

    Args:
        widths: modality -> size of its encoder's output, flattened.
        classes: number of logits.
        gamma: length of the encoders' gradients, at least 0; 1.5 in the code.
        faithful: what is lengthened as one, `paper` each encoder, `code` each tensor.
        seed: of the classifiers' initial values.

    Raises:
        ValueError: if an argument is out of its range.
    """

    name, family = "mmpareto", "balance"
    paper = "Wei and Hu 2024, arXiv 2405.17730"
    # gamma: 1.5 in the authors' code, above 1 in the paper
    search = {"gamma": [1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0]}
    remedies = {"mmpareto": "support"}

    needs = frozenset({"separate_encoders"})

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        gamma: float = 1.5,
        faithful: Literal["paper", "code"] = "paper",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.gamma, self.faithful = in_range("gamma", gamma, 0), one_of("faithful", faithful, ("paper", "code"))
        self.heads = Heads(widths, classes, seed)

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the integrated gradient."""
        live = objective.forward(inputs, target)
        fused = objective.compute_gradients(live.loss, objective.parameters())
        _, alone = self.heads.alone(objective, live, target)
        statistics = torch.stack([products(fused, unimodal, objective.parameters(m)) for m, unimodal in alone.items()])
        statistics = objective.average(statistics, len(target))
        gradients = dict(fused)
        for (modality, unimodal), k in zip(alone.items(), fused_weight(statistics), strict=True):
            gradients |= unimodal | self.integrated(fused, unimodal, objective.parameters(modality), k)
        objective.add_gradients(gradients)
        return live.outcome(**{f"cosine/{m}": value for m, value in zip(alone, cosine(statistics), strict=True)})

    def integrated(self, fused: Gradients, alone: Gradients, block: list[Tensor], k: Tensor) -> Gradients:
        """`gamma h max(1, |a + b| / |h|)` for the weights of one encoder."""
        pairs = both(fused, alone, block)
        mixed = [2 * k.to(a) * a + 2 * (1 - k.to(a)) * b for _, a, b in pairs]
        target, lengths = self._lengths([a + b for _, a, b in pairs]), self._lengths(mixed)
        factors = torch.where(lengths > 0, target / lengths, 1.0).clamp(min=1) * self.gamma
        return {weight: h * factor.to(h) for (weight, _, _), h, factor in zip(pairs, mixed, factors, strict=True)}

    def _lengths(self, gradients: list[Tensor]) -> Tensor:
        """Norm of each tensor, or for each that of all together."""
        each = torch.stack(torch._foreach_norm(gradients)) if gradients else torch.zeros(0)
        return each if self.faithful == "code" else each.norm().expand_as(each)


def fused_weight(products: Tensor) -> Tensor:
    """`k` of `[..., 3]` products: one half, or where the gradients conflict their min-norm weight (Désidéri 2012)."""
    fused, alone, product = products.unbind(-1)
    apart = fused + alone - 2 * product
    return torch.where((product > 0) | (apart <= 0), 0.5, (alone - product) / apart)

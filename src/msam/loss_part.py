"""Ascents of one part of a loss: `MSAM(of=MBSD(widths, classes), of_part="fused")`.

With `L = part + rest` the loss of a loss method, epsilon is made of the part's gradient and only the part is taken at
theta + epsilon:

    u = (1 - weight) grad part(theta) + weight grad part(theta + epsilon) + grad rest(theta)

    with first_pass(objective, inputs, target, of=of, make=partial(PartTwoPass, "fused")) as step:
        second = step.second_pass(ascend, weight)

Both gradients at theta come from one forward pass, so such a step takes 2 forwards and 3 backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from msam.gradient_source import MethodGradient, backpropagate_again
from msam.losses import LossMethod, LossPart
from msam.memory import mean_of_ranks
from msam.model_state import StashedGradients, perturbed, requires_grad_only, trainable
from msam.objective import Objective, Pass
from msam.perturbation import Ascent, TwoPass
from msam.types import Inputs
from msam.weight_hooks import hooked


class PartTwoPass(TwoPass):
    """A first pass whose loss is in two parts, and the second one that may follow for one of them."""

    def __init__(
        self,
        of_part: LossPart,
        objective: Objective,
        source: MethodGradient,
        inputs: Inputs,
        target: Tensor,
        earlier: StashedGradients,
        synchronised: bool,
        observed: bool,
        part: float,
        low_precision: bool,
        hooks: bool,
    ) -> None:
        self.objective, self.inputs, self.target, self.hooks = objective, inputs, target, hooks
        self.earlier, self.synchronised, self.low_precision = earlier, synchronised, low_precision
        self.rows = slice(max(2, round(part * len(target))))
        self.of_part, self._whole = of_part, source
        assert isinstance(source.method, LossMethod)
        self.of = source.method
        live = objective.forward(inputs, target, local=True)
        losses = self.of.losses(objective, live, inputs, target)
        self._part, self._rest = losses.split(of_part)
        self.first = replace(live.detached(), record=losses.record)

    def block(self, among: Sequence[Tensor] | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """Parameters that the part reaches, all or some of those given, and the part's gradients at theta."""
        reached = self.objective.compute_gradients(self._part, self.earlier.weights if among is None else among)
        weights, gradients = list(reached), list(reached.values())
        if self.synchronised and weights:
            gradients = mean_of_ranks(self.objective, gradients, 1)
        if self.hooks:
            gradients = list(hooked(dict(zip(weights, gradients, strict=True))).values())
        return weights, gradients

    def second_pass(self, ascend: Ascent, weight: float | Tensor, among: Sequence[Tensor] | None = None) -> Pass:
        """All parameters: the mixture of the part, and the rest at theta; only those `among` are perturbed."""
        block, gradients = self.block(among)
        perturbation = ascend(block, gradients)
        self._settle(weight)
        with perturbed(block, *perturbation), self._second() as (first, inputs, target):
            live = self.objective.second.forward_like(first, inputs, target)
            second = self._climbed(live, inputs, target, weight)
        self.finish()
        return second

    def second_pass_of_encoder(
        self, modality: str, among: Sequence[Tensor], ascend: Ascent, weight: float | Tensor
    ) -> Pass:
        """One modality's block mixes the part's gradients; every other parameter keeps its gradient at theta."""
        block, gradients = self.block(among)
        perturbation = ascend(block, gradients)
        self._settle(0.0)
        if not block:
            self.finish()
            return self.first
        with self.objective.distributed.on_this_rank():
            pairs = zip(block, gradients, strict=True)
            self.objective.add_gradients(
                {w: g * (-weight.to(g) if isinstance(weight, Tensor) else -weight) for w, g in pairs}
            )
        weights = trainable(self.objective.bare, self.objective.criterion, self.of)
        with perturbed(block, *perturbation), requires_grad_only(block, among=weights), self._second() as like:
            live = self.objective.second.forward_encoder_like(modality, *like)
            second = self._climbed(live, like[1], like[2], weight)
        self.finish()
        return second

    def _settle(self, weight: float | Tensor) -> None:
        """Back-propagates what is taken at theta: the rest, and `1 - weight` of the part."""
        terms = [] if self._rest is None else [self._rest]
        if isinstance(weight, Tensor) or weight != 1:
            terms.append((1 - weight) * self._part)
        if terms:
            backpropagate_again(self.objective, torch.stack([term.to(self._part) for term in terms]).sum())
        self._part, self._rest = self._part.detach(), None  # lets go of the graph

    def _climbed(self, live: Pass, inputs: Inputs, target: Tensor, weight: float | Tensor) -> Pass:
        """Back-propagates the part of a pass at theta + epsilon."""
        with self._whole.earlier_state():
            part, _ = self.of.losses(self.objective, live, inputs, target).split(self.of_part)
        backpropagate_again(self.objective, part, weight)
        return live.detached()

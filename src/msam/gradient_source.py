"""Where an ascent takes its gradients from: the objective's own loss, or another method.

    source = MethodGradient(objective, MBSD(widths, classes))
    first = source.accumulate_gradient(inputs, target)                       # MBSD's gradient, into .grad
    with perturbed(weights, epsilon):
        source.accumulate_gradient(inputs, target, 0.5, like=first)          # half of it there, with the same draws

A method's gradient at theta is what its `backward` adds to empty `.grad`; at other weights it is what the same call
adds there, with the random draws of the first pass, and running statistics and the method's own state as they were
before the first. What a method or a model remembers moves once a batch: it is that of the first pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from torch import Tensor, nn

from msam.losses import LossMethod
from msam.model_state import SavedState, collected_gradients, random_state, requires_grad_only, trainable, unrecorded
from msam.objective import Objective, Pass
from msam.types import Inputs

if TYPE_CHECKING:
    from msam.method import Method


class GradientSource(Protocol):
    """A gradient that can be taken at theta and again at other weights; `Objective` is one."""

    def accumulate_gradient(
        self,
        inputs: Inputs,
        target: Tensor,
        weight: float | Tensor = 1.0,
        *,
        local: bool = False,
        observed: bool = True,
        like: Pass | None = None,
    ) -> Pass:
        """Adds `weight` times the gradient to `.grad`, as `Passes.accumulate_gradient` does."""

    def second_pass_of_encoder(
        self,
        modality: str,
        block: Sequence[Tensor],
        first: Pass,
        inputs: Inputs,
        target: Tensor,
        weight: float | Tensor,
    ) -> Pass:
        """The same into one modality's block alone, as `SecondPasses.second_pass_of_encoder` does."""


class MethodGradient:
    """The gradient of a method, for one batch.

    Args:
        objective: the model and criterion.
        method: whose gradient.
    """

    def __init__(self, objective: Objective, method: Method) -> None:
        self.objective, self.method = objective, method
        self._before = SavedState(method, objective.bare)

    def accumulate_gradient(
        self,
        inputs: Inputs,
        target: Tensor,
        weight: float | Tensor = 1.0,
        *,
        local: bool = False,
        observed: bool = True,
        like: Pass | None = None,
    ) -> Pass:
        """Adds `weight` times the method's gradient, at theta or in a pass like an earlier one."""
        ranks = self.objective.distributed.on_this_rank() if local else nullcontext()
        with ranks, self.objective.runtime.weighted(weight):
            return self._first(inputs, target) if like is None else self._again(inputs, target, like)

    def second_pass_of_encoder(
        self,
        modality: str,
        block: Sequence[Tensor],
        first: Pass,
        inputs: Inputs,
        target: Tensor,
        weight: float | Tensor,
    ) -> Pass:
        """Adds `weight` times the method's gradient in one modality's block, on this rank.

        The loss of a loss method is computed again from the features of the first pass, of which one encoder's are new.
        Of another method the whole gradient is computed, and that of the other weights is let go of.
        """
        weights = trainable(self.objective.bare, self.objective.criterion, self.method)
        if not isinstance(self.method, LossMethod):
            chosen = set(block)
            with collected_gradients([each for each in weights if each not in chosen]):
                return self.accumulate_gradient(inputs, target, weight, local=True, like=first)
        with self.earlier_state(), requires_grad_only(block, among=weights):
            live = self.objective.second.forward_encoder_like(modality, first, inputs, target)
            losses = self.method.losses(self.objective, live, inputs, target)
            backpropagate_again(self.objective, losses.total(), weight)
        return live.detached()

    def earlier_state(self) -> EarlierState:
        """Inside, the method's state and the model's buffers are those before the first pass; for one pass."""
        return EarlierState(self.method, self.objective.bare, self._before)

    def _first(self, inputs: Inputs, target: Tensor) -> Pass:
        start = random_state([self.objective.device])
        with self.objective.passes.noted() as passes:
            outcome = self.method.backward(self.objective, inputs, target)
        first = passes[0] if passes else Pass(outcome.loss, outcome.logits, {}, start, {}, start)
        return replace(first, loss=outcome.loss, logits=outcome.logits, start=start, record=outcome.record)

    def _again(self, inputs: Inputs, target: Tensor, like: Pass) -> Pass:
        with (
            self.earlier_state(),
            self.objective.passes.repeated(like),
        ):
            outcome = self.method.backward(self.objective, inputs, target)
        return replace(like, loss=outcome.loss, logits=outcome.logits)


def backpropagate_again(objective: Objective, loss: Tensor, weight: float | Tensor = 1.0) -> None:
    """Adds `weight` times the gradient of a batch's further loss, on this rank, with no trace in running statistics."""
    quiet = unrecorded(objective.bare, save=objective.runtime.save)
    with quiet, objective.distributed.on_this_rank(), objective.runtime.weighted(weight):
        objective.backpropagate(loss)


class EarlierState:
    """Inside, a method's state and the model's buffers are earlier ones; afterwards, what they were."""

    def __init__(self, method: Method, model: nn.Module, earlier: SavedState) -> None:
        self.method, self.model, self.earlier = method, model, earlier

    def __enter__(self) -> None:
        self.after = SavedState(self.method, self.model)
        self.earlier.restore()

    def __exit__(self, *_: object) -> None:
        self.after.restore()

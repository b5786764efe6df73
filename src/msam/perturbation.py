"""The two-pass step that every sharpness-aware method shares.

    with first_pass(objective, inputs, target) as step:    # g(theta) in .grad
        second = step.second_pass(ascend, weight)    # (1 - weight) g(theta) + weight g(theta + epsilon)

with `ascend(weights, gradients)` giving epsilon, such as `lambda _, gradients: sam_perturbation(gradients, rho)`.

The mixture is made in place: the first gradient is scaled where it lies and the second pass accumulates onto it, so
no gradient is copied and one synchronised backward ends the step. With `weight=1` the first gradient is let go of
before the second pass. Both passes see the same loss scale, so gradient scaling needs nothing. If anything raises,
weights and gradients are what they were.

In data-parallel training each rank climbs by the gradient of its own samples (m-sharpness); `synchronised` makes all of
them climb by the gradient of the whole batch, for one more reduction of gradients a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from msam.blocks import dense
from msam.gradient_source import GradientSource, MethodGradient
from msam.model_state import StashedGradients, change_gradients, perturbed, scale_gradients, trainable
from msam.nested import rows_of
from msam.objective import Objective, Part, Pass
from msam.types import Inputs
from msam.weight_hooks import STEPPED, changed_by_hooks, deferred_optimizers, hooked, steps_in_backward, without_hooks

if TYPE_CHECKING:
    from msam.method import Method


class Perturbation(NamedTuple):
    """A perturbation `length * direction`; the direction can be the gradients themselves, so that nothing is copied.

    Args:
        direction: one tensor a weight.
        length: 0-d, so that nobody waits for the device.
    """

    direction: Sequence[Tensor]
    length: Tensor

    @property
    def epsilon(self) -> list[Tensor]:
        """The perturbation, one tensor a weight."""
        return list(torch._foreach_mul(list(self.direction), self.length)) if self.direction else []


class BlockPerturbation(NamedTuple):
    """The same with a length for each weight, of blocks that have a ball each.

    Args:
        direction: one tensor a weight.
        length: one 0-d tensor a weight.
    """

    direction: Sequence[Tensor]
    length: Sequence[Tensor]

    @property
    def epsilon(self) -> list[Tensor]:
        """The perturbation, one tensor a weight."""
        return list(torch._foreach_mul(list(self.direction), list(self.length))) if self.direction else []


def sam_perturbation(gradients: Sequence[Tensor], rho: float | Tensor) -> Perturbation:
    """`rho g / |g|`, the norm taken over all tensors together (SAM, Foret et al. 2021, arXiv 2010.01412, Eq. 2).

    Independent of the loss's scale, so mixed precision needs no unscaling. A zero gradient gives a zero perturbation.

    Args:
        gradients: one tensor a weight.
        rho: radius of the ball, in units of the weights.
    """
    norm = torch.nn.utils.get_total_norm(list(gradients))
    return Perturbation(gradients, torch.where(norm > 0, rho / norm, 0.0))


def asam_perturbation(
    weights: Sequence[Tensor], gradients: Sequence[Tensor], rho: float | Tensor, eta: float
) -> Perturbation:
    """`rho T^2 g / |T g|` with `T = |w| + eta` (ASAM, Kwon et al. 2021, arXiv 2102.11600, Eq. 4), scale-invariant.

    Args:
        weights: the tensors that the gradients belong to.
        gradients: one tensor a weight.
        rho: radius in the scaled space.
        eta: keeps weights at zero movable; the paper uses 0.01, 0 gives the commonly copied code.
    """
    scales = torch._foreach_abs([weight.detach() for weight in weights])
    torch._foreach_add_(scales, eta)
    once = torch._foreach_mul(scales, list(gradients))
    length = sam_perturbation(once, rho).length
    torch._foreach_mul_(once, scales)
    return Perturbation(once, length)


def ball(gradients: Sequence[Tensor], rho: float) -> list[Tensor]:
    """`sam_perturbation`, spelled out."""
    return sam_perturbation(gradients, rho).epsilon


def asam_epsilon(weights: Sequence[Tensor], gradients: Sequence[Tensor], rho: float, eta: float) -> list[Tensor]:
    """`asam_perturbation`, spelled out."""
    return asam_perturbation(weights, gradients, rho, eta).epsilon


Ascent = Callable[[list[Tensor], list[Tensor]], Perturbation | BlockPerturbation]
"""(weights, gradients) -> what is added to the weights."""


class TwoPass:
    """A first pass that has been made, and the second one that may follow.

    Attributes:
        source: whose gradient it is, the objective's or a method's.
        first: the first pass.
    """

    def __init__(
        self,
        objective: Objective,
        source: GradientSource,
        inputs: Inputs,
        target: Tensor,
        earlier: StashedGradients,
        synchronised: bool = False,
        observed: bool = True,
        part: float = 1.0,
        low_precision: bool = False,
        hooks: bool = False,
    ) -> None:
        self.objective, self.source, self.inputs, self.target = objective, source, inputs, target
        self.hooks = hooks  # whether those of weights wait for the end of the step
        self.earlier, self.synchronised, self.low_precision = earlier, synchronised, low_precision
        self.rows = slice(max(2, round(part * len(target))))  # two: normalisation refuses to train on one
        self.first: Pass = source.accumulate_gradient(inputs, target, local=True, observed=observed)
        if objective.passes.stepped:
            raise RuntimeError(STEPPED)
        if synchronised:
            self._synchronise()

    def block(self, among: Sequence[Tensor] | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """Parameters that received a gradient, all or some of those given, and the first pass's gradients.

        Sparse gradients (of embeddings) are given as dense ones.
        """
        weights, gradients = [], []
        for weight in self.earlier.weights if among is None else among:
            if (gradient := weight.grad) is not None:
                weights.append(weight)
                gradients.append(gradient if gradient.layout is torch.strided else dense(gradient))
        if self.hooks:
            gradients = list(hooked(dict(zip(weights, gradients, strict=True))).values())
        return weights, gradients

    def weights(self, among: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Parameters that received a gradient: all, or some of those given."""
        return self.block(among)[0]

    def gradients(self, among: Sequence[Tensor] | None = None) -> list[Tensor]:
        """The first pass's gradients, one for each of `weights(among)`."""
        return self.block(among)[1]

    def second_pass(self, ascend: Ascent, weight: float | Tensor, among: Sequence[Tensor] | None = None) -> Pass:
        """All parameters: `(1 - weight) g(theta) + weight g(theta + epsilon)`; only those `among` are perturbed."""
        block, gradients = self.block(among)
        with perturbed(block, *ascend(block, gradients)):
            del gradients
            scale_gradients(self.earlier.weights, 1 - weight)
            self.earlier.restore_earlier()
            with self._second() as (first, inputs, target):
                return self.source.accumulate_gradient(inputs, target, weight, like=first)

    def second_pass_of_encoder(
        self, modality: str, among: Sequence[Tensor], ascend: Ascent, weight: float | Tensor
    ) -> Pass:
        """One modality's block moves and mixes; every other parameter keeps its gradient at theta."""
        block, gradients = self.block(among)
        if not block:
            self.finish()
            return self.first
        with perturbed(block, *ascend(block, gradients)):
            del gradients
            scale_gradients(block, 1 - weight)
            with self._second() as like:
                second = self.source.second_pass_of_encoder(modality, block, *like, weight)
        self.finish()
        return second

    def second_pass_of_part(self, part: Part, ascend: Ascent, weight: float) -> Pass:
        """One Shapley part `g_d` of the gradient moves: `g(theta) + weight (g_d(theta + epsilon) - g_d(theta))`."""
        accumulate = self.objective.coalitions.accumulate_part_gradient
        with self._second() as like:
            with StashedGradients(self.earlier.weights):
                accumulate(*like, part, local=True)
                if self.synchronised:
                    self._synchronise()
                block, gradients = self.block()
                epsilon = ascend(block, gradients).epsilon
                scale_gradients(block, -weight)
            self.earlier.restore_earlier()
            with perturbed(block, epsilon):
                return accumulate(*like, part, weight)

    def rise(self, second: Pass) -> Tensor:
        """`l(theta + epsilon) - l(theta)` on the samples that the second pass saw, 0-d."""
        below = self.first.loss
        if len(second.logits) < len(self.target):
            below = self.objective.loss(self.first.logits[self.rows], self.target[self.rows])
        return second.loss - below

    def _second(self) -> AbstractContextManager[tuple[Pass, Inputs, Tensor]]:
        """The pass that a second one is like, and what it sees."""
        whole = len(self.target[self.rows]) == len(self.target) and not self.low_precision
        return nullcontext((self.first, self.inputs, self.target)) if whole else self._cheaper()

    @contextmanager
    def _cheaper(self) -> Iterator[tuple[Pass, Inputs, Tensor]]:
        """The same for a pass in low precision, or on the first samples of the batch."""
        runtime, target = self.objective.runtime, self.target[self.rows]
        first, inputs = self.first, self.inputs
        if len(target) < len(self.target):
            size = len(self.target)
            self.objective.evaluation.assumptions.require_rows_apart(inputs, size, "A part of the batch (part=)")
            first = first.rows(self.rows)
            inputs = {name: rows_of(value, self.rows, size) for name, value in inputs.items()}
        precision = runtime.low_precision() if self.low_precision else nullcontext()
        with runtime.on_part(len(target) / len(self.target)), precision:
            yield first, inputs, target

    def _synchronise(self) -> None:
        self.objective.distributed.average_gradients(self.earlier.weights)

    def finish(self) -> None:
        """Ends a step whose last pass stayed on its rank."""
        self.earlier.restore_earlier()
        self.objective.share_gradients()


@contextmanager
def first_pass(
    objective: Objective,
    inputs: Inputs,
    target: Tensor,
    synchronised: bool = False,
    observed: bool = True,
    part: float = 1.0,
    low_precision: bool = False,
    of: Method | None = None,
    make: Callable[..., TwoPass] | None = None,
) -> Iterator[TwoPass]:
    """Makes the first pass with earlier gradients set aside; see the module's docstring.

    Args:
        objective: the model and criterion.
        inputs: modality -> `[batch, ...]`.
        target: `[batch, ...]`.
        synchronised: let all ranks have the gradient of the whole batch.
        observed: note the features, for whom they are read.
        part: of the samples that the second pass sees, the first ones of the batch, above 0 and at most 1.
        low_precision: run the second forward pass in bfloat16.
        of: the method whose gradient it is; the objective's own if None.
        make: makes the first pass; `TwoPass` if None.
    """
    source: GradientSource = objective if of is None else MethodGradient(objective, of)
    weights = trainable(objective.bare, objective.criterion, of)
    optimizers = deferred_optimizers(weights) if any(map(steps_in_backward, weights)) else nullcontext()
    hooks = any(map(changed_by_hooks, weights)) and not objective.distributed.active
    waiting = without_hooks(weights) if hooks else nullcontext()
    with optimizers, StashedGradients(weights, until_the_end=hooks) as earlier:
        with waiting:
            yield (make or TwoPass)(
                objective, source, inputs, target, earlier, synchronised, observed, part, low_precision, hooks
            )
        if hooks:
            change_gradients(hooked({weight: weight.grad for weight in weights if weight.grad is not None}))
        if objective.passes.stepped:
            raise RuntimeError(STEPPED)

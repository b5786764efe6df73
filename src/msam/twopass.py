"""The two-pass step that every sharpness-aware method shares.

    with first_pass(objective, inputs, target) as step:            # g(theta) in .grad
        second = step.again(ascend, weight)                        # (1 - weight) g(theta) + weight g(theta + epsilon)

with `ascend(weights, gradients)` saying what epsilon is, such as `lambda _, gradients: steepest(gradients, rho)`.

The mixture is made in place: the first gradient is scaled where it lies and the second pass accumulates onto it, so
no gradient is copied and one synchronised backward ends the step. With `weight=1` the first gradient is let go of
before the second pass. Both passes see the same loss scale, so gradient scaling needs nothing. If anything raises,
weights and gradients are what they were.

In data-parallel training each rank climbs by the gradient of its own samples (m-sharpness); `synchronised` makes all of
them climb by the gradient of the whole batch, for one more reduction of gradients a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor

from msam.ascent import Climb
from msam.blocks import dense
from msam.interventions import Aside, perturbed, scale_gradients
from msam.objective import Objective, Part, Pass
from msam.types import Inputs

Ascend = Callable[[list[Tensor], list[Tensor]], Climb]
"""(weights, gradients) -> what is added to the weights."""


class TwoPass:
    """A first pass that has been made, and the second one that may follow."""

    def __init__(
        self,
        objective: Objective,
        inputs: Inputs,
        target: Tensor,
        earlier: Aside,
        synchronised: bool = False,
        observed: bool = True,
    ) -> None:
        self.objective, self.inputs, self.target = objective, inputs, target
        self.earlier, self.synchronised = earlier, synchronised
        self.first: Pass = objective.descend(inputs, target, local=True, observed=observed)
        self._synchronise()

    def weights(self, among: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Parameters that received a gradient: all, or some of those given."""
        candidates = self.earlier.weights if among is None else among
        return [weight for weight in candidates if weight.grad is not None]

    def gradients(self, among: Sequence[Tensor] | None = None) -> list[Tensor]:
        """The first pass's gradients, one for each of `weights(among)`; sparse ones (of embeddings) as dense ones."""
        return [dense(weight.grad) for weight in self.weights(among) if weight.grad is not None]

    def again(self, ascend: Ascend, weight: float | Tensor) -> Pass:
        """All parameters: `(1 - weight) g(theta) + weight g(theta + epsilon)`."""
        block = self.weights()
        with perturbed(block, *ascend(block, self.gradients())):
            scale_gradients(block, 1 - weight)
            self.earlier.rejoin()
            return self.objective.again(self.first, self.inputs, self.target, weight)

    def again_within(self, modality: str, among: Sequence[Tensor], ascend: Ascend, weight: float | Tensor) -> Pass:
        """One modality's block moves and mixes; every other parameter keeps its gradient at theta."""
        block = self.weights(among)
        if not block:
            self.finish()
            return self.first
        with perturbed(block, *ascend(block, self.gradients(block))):
            scale_gradients(block, 1 - weight)
            second = self.objective.again_within(modality, block, self.first, self.inputs, self.target, weight)
        self.finish()
        return second

    def again_along(self, part: Part, ascend: Ascend, weight: float) -> Pass:
        """One Shapley part `g_d` of the gradient moves: `g(theta) + weight (g_d(theta + epsilon) - g_d(theta))`."""
        arguments = (self.first, self.inputs, self.target, part)
        with Aside(self.earlier.weights):
            self.objective.descend_along(*arguments, local=True)
            self._synchronise()
            block = self.weights()
            epsilon = ascend(block, self.gradients()).epsilon
            scale_gradients(block, -weight)
        self.earlier.rejoin()
        with perturbed(block, epsilon):
            return self.objective.descend_along(*arguments, weight)

    def _synchronise(self) -> None:
        if self.synchronised:
            self.objective.average_gradients(self.earlier.weights)

    def finish(self) -> None:
        """Ends a step whose last pass stayed on its rank."""
        self.earlier.rejoin()
        self.objective.share_gradients()


@contextmanager
def first_pass(
    objective: Objective, inputs: Inputs, target: Tensor, synchronised: bool = False, observed: bool = True
) -> Iterator[TwoPass]:
    """Makes the first pass with earlier gradients set aside; see the module's docstring.

    Args:
        objective: the model and criterion.
        inputs: modality -> `[batch, ...]`.
        target: `[batch, ...]`.
        synchronised: let all ranks have the gradient of the whole batch.
        observed: note the features, for whom they are read.
    """
    with Aside(objective.parameters()) as earlier:
        yield TwoPass(objective, inputs, target, earlier, synchronised, observed)

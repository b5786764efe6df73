"""Ascents of another method's gradient: `SAM(of=MBSD(widths, classes))`.

An ascent says where gradients are taken; what is minimised there, or how its gradients are recombined, another method
may say. With `g` the gradient of that method, `SAM(of=...)` is `g(theta + rho g / |g|)`.
"""

from __future__ import annotations

from torch import Tensor

from msam.methods.base import Method
from msam.objective import Objective
from msam.types import Batches, Inputs, Outcome


class AscentMethod(Method):
    """A method that says where gradients are taken: its own, `of` says whose.

    What the method `of` needs of the model, learns after an epoch and predicts at test time holds for both together.

    Attributes:
        of: the method whose gradient is taken; None for the objective's own.
    """

    kind = "ascent"
    of: Method | None

    def __init__(self, of: Method | None = None) -> None:
        super().__init__()
        self.of = None if of is None else _composable(type(self), of)
        if self.of is not None:
            self.needs = self.needs | self.of.needs
            self.learns_from = self.learns_from | self.of.learns_from

    def plain_gradient(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient at theta."""
        if self.of is None:
            return objective.accumulate_gradient(inputs, target, observed=False).outcome()
        return self.of.backward(objective, inputs, target)

    def predict(self, objective: Objective, inputs: Inputs) -> Tensor:
        """Logits at test time, `[batch, classes]`, those of the method `of`."""
        return super().predict(objective, inputs) if self.of is None else self.of.predict(objective, inputs)

    def next_epoch(self, objective: Objective, train: Batches | None = None, valid: Batches | None = None) -> None:
        """Tells the method `of` that an epoch has ended."""
        if self.of is not None:
            self.of.next_epoch(objective, train, valid)

    def check(self, objective: Objective) -> None:
        """Refuses a model that does not suit both."""
        super().check(objective)
        if self.of is not None:
            self.of.check(objective)


def _composable(ascent: type[AscentMethod], of: Method) -> Method | None:
    """The method, if its gradient can be taken elsewhere; None for one whose gradient is the objective's own.

    Raises:
        TypeError: if it is no method.
        ValueError: if it cannot, with the reason.
    """
    if not isinstance(of, Method):
        raise TypeError(f"{ascent.__name__} takes the gradient of a method, found of={of!r}; pass of=MBSD(...).")
    name = type(of).__name__
    if of.kind == "ascent":
        raise ValueError(
            f"{ascent.__name__}(of={name}(...)) would climb from the end of another climb; choose one of the two."
        )
    if of.stands_alone:
        raise ValueError(f"{ascent.__name__} cannot take the gradient of {name}: {of.stands_alone}.")
    return None if of.plain else of

"""Ascents of another method's gradient: `SAM(of=MBSD(widths, classes))`.

An ascent says where gradients are taken; what is minimised there, or how its gradients are recombined, another method
may say. With `g` the gradient of that method, `SAM(of=...)` is `g(theta + rho g / |g|)`.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from msam.method import Method, in_range, one_of
from msam.objective import Objective
from msam.types import Batches, Inputs, Outcome

RhoSchedule = Literal["constant", "lr"]
"""How a radius changes over the training: not at all, or as the learning rate does."""


class AscentMethod(Method):
    """A method that says where gradients are taken: its own, `of` says whose.

    What the method `of` needs of the model, learns after an epoch and predicts at test time holds for both together.

    It may climb in the last part of the training alone, where most of what SAM gains is gained (Zhou et al. 2025, arXiv
    2410.10373), and its radius may follow the learning rate (GSAM, arXiv 2203.08065). Both have to be told how far
    training is, by `Backward.progress`.

    Args:
        of: the method whose gradient is taken; None for the objective's own.
        start: share of the training before which the gradient at theta is taken, in [0, 1].
        rho_schedule: `constant`, or `lr`: the radius times the learning rate in units of the first one.

    Raises:
        TypeError: if `of` is no method.
        ValueError: if an argument is out of its range, or the gradient of `of` cannot be taken elsewhere.
    """

    kind = "ascent"
    of: Method | None

    def __init__(self, of: Method | None = None, start: float = 0.0, rho_schedule: RhoSchedule = "constant") -> None:
        super().__init__()
        self.start = in_range("start", start, 0, 1)
        self.rho_schedule = one_of("rho_schedule", rho_schedule, get_args(RhoSchedule))
        self.scheduled = start > 0 or rho_schedule != "constant"
        self._done: float | None = None
        self._rate = 1.0
        self.of = None if of is None else _composable(type(self), of)
        if self.of is not None:
            self.needs = self.needs | self.of.needs
            self.learns_from = self.learns_from | self.of.learns_from

    def plain_gradient(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient at theta."""
        if self.of is None:
            return objective.accumulate_gradient(inputs, target, observed=False).outcome()
        return self.of.backward(objective, inputs, target)

    def progress(self, done: float, rate: float) -> None:
        """Keeps how far training is, and the learning rate."""
        self._done, self._rate = done, rate if self.rho_schedule == "lr" else 1.0
        if self.of is not None:
            self.of.progress(done, rate)

    def waits(self) -> bool:
        """Whether the part of the training in which it climbs has not begun.

        Raises:
            ValueError: if nobody has said how far training is.
        """
        if self._done is None:
            raise ValueError(
                f"{type(self).__name__} with start={self.start:g} or rho_schedule={self.rho_schedule!r} has to know "
                "how far training is; call backward.progress(done, rate) before each epoch."
            )
        return self._done < self.start

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

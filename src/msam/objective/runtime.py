"""How the user runs the model: by which call and backward, in which context; and what has been run so far.

with runtime.on_part(0.5), runtime.low_precision():
    ...                                          # passes on half a batch, in bfloat16
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from msam.model_state import device_of
from msam.objective.model_view import ModelView
from msam.objective.wrappers import fabric_context
from msam.side_effects import SideEffects
from msam.types import Counts, Gradients, Inputs


class Runtime:
    """The user's own ways, in which every pass is made.

    Args:
        view: the model.
        call: (model, inputs) -> logits; `model(inputs)` if None.
        backward: what to call instead of `loss.backward()`.
        context: makes a context for forward passes; Fabric's own for a model that Fabric has set up, else none.

    Attributes:
        counts: passes made so far.
        weight: what every back-propagation is multiplied by, see `weighted`; None for nothing.
        effects: what passes may write besides buffers, None for nothing.
        save: keeps it for passes that are not a batch's first, None for nothing.
    """

    def __init__(
        self,
        view: ModelView,
        call: Callable[[Any, Inputs], Tensor] | None = None,
        backward: Callable[[Tensor], Any] = Tensor.backward,
        context: Callable[[], AbstractContextManager[Any]] | None = None,
    ) -> None:
        self.view = view
        self.call = call or operator.call
        self.backward = backward
        self.context = context or (fabric_context(view.model) if view.entry is not view.model else None) or nullcontext
        self.counts = Counts()
        self.weight: float | Tensor | None = None
        self.effects: SideEffects | None = None
        self.find_effects()

    def find_effects(self) -> None:
        """Looks for what passes may write besides buffers; again after the first pass, which may have made some."""
        users = (self.view.criterion, *([] if self.call is operator.call else [self.call]))
        earlier = self.effects
        self.effects = SideEffects.of(self.view.bare, *users)
        if self.effects is not None:
            self.effects.follow(earlier)
        self.save = None if self.effects is None else self.effects.save

    @contextmanager
    def weighted(self, weight: float | Tensor) -> Iterator[None]:
        """What is back-propagated inside counts `weight` times; losses and the user's loss scale are as before."""
        self.weight = weight
        try:
            yield
        finally:
            self.weight = None

    def times_weight(self, loss: Tensor) -> Tensor:
        """A loss as often as it counts, see `weighted`."""
        if self.weight is None:
            return loss
        return loss * (self.weight.to(loss) if isinstance(self.weight, Tensor) else self.weight)

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Passes inside do not count, such as those that measure a model."""
        counts, self.counts = self.counts, Counts()
        try:
            yield
        finally:
            self.counts = counts

    @contextmanager
    def on_part(self, part: float) -> Iterator[None]:
        """Passes inside are made on this part of the batch, and count as that."""
        if part == 1:
            yield
            return
        whole, self.counts = self.counts, Counts()
        try:
            yield
        finally:
            whole.add(self.counts, part)
            self.counts = whole

    @contextmanager
    def low_precision(self) -> Iterator[None]:
        """Forward passes inside run in bfloat16 autocast, unless the user's own context says otherwise."""
        users = self.context

        @contextmanager
        def both() -> Iterator[None]:
            with torch.autocast(device_of(self.view.bare).type, torch.bfloat16), users():
                yield

        self.context = both
        try:
            yield
        finally:
            self.context = users

    def count_backward(self, reached: Iterable[str]) -> None:
        """Counts a back-propagation that reached these encoders."""
        self.counts.backwards += 1
        self.counts.encoder_backwards.update(reached)

    def count_encoder_backward(self, name: str) -> None:
        """Counts a back-propagation into an encoder beside that of the same call into its first pass."""
        self.counts.encoder_backwards[name] += 1

    def count_gradients(self, reached: Gradients) -> None:
        """Counts a back-propagation if it went into the model, not only to its outputs."""
        if any(weight in reached for weight in self.view.bare.parameters()):
            encoders = self.view.encoders.items()
            self.count_backward(name for name, each in encoders if any(w in reached for w in each.parameters()))

"""One forward pass, and what is kept of it so that it can be repeated.

    made = objective.forward(inputs, target)          # a Pass: loss, logits, features, random states

This is where the model is called, and where passes are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from math import log
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from msam.coalition import Absent
from msam.model_state import Capture, RandomState, captured, random_state
from msam.objective.distributed import Distributed
from msam.presence import zero_absent_rows
from msam.types import Counts, Criterion, Features, Gradients, Inputs, Note, Outcome


@dataclass(frozen=True)
class Pass:
    """One training pass: with its graph as `Objective.forward` makes it, detached once it has been back-propagated.

    Args:
        loss: the unweighted loss, 0-d.
        logits: `[batch, classes]`.
        features: encoder outputs `[batch, ...]`, empty if they were not to be, or could not be observed (shared or
            uncalled encoders).
        start: random state before the forward pass.
        before: random state before each encoder.
        between: random state between the encoders and the fusion.
    """

    loss: Tensor
    logits: Tensor
    features: Features
    start: RandomState
    before: Mapping[str, RandomState]
    between: RandomState

    def rows(self, rows: slice) -> Pass:
        """The same for some of its samples; the loss stays that of all."""
        features = {name: feature[rows] for name, feature in self.features.items()}
        return replace(self, logits=self.logits[rows], features=features)

    def detached(self) -> Pass:
        """The same without its graph."""
        features = {name: feature.detach() for name, feature in self.features.items()}
        return replace(self, loss=self.loss.detach(), logits=self.logits.detach(), features=features)

    def outcome(self, **record: Note) -> Outcome:
        """This pass as the outcome of a method."""
        return Outcome(self.loss.detach(), self.logits.detach(), record)


@dataclass(frozen=True)
class Part:
    """A linear combination of coalitions' logits, such as one modality's Shapley logits.

    Args:
        masks: coalitions, booleans `[coalitions, modalities]`.
        coefficients: `[coalitions]`.
        absent: what an absent modality looks like.
    """

    masks: Tensor
    coefficients: Tensor
    absent: Absent


class Forward(Distributed):
    """Forward passes of a model, and their loss."""

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        *,
        encoders: Mapping[str, nn.Module] | None = None,
        call: Callable[[Any, Inputs], Tensor] | None = None,
        backward: Callable[[Tensor], Any] = Tensor.backward,
        context: Callable[[], AbstractContextManager[Any]] | None = None,
        parallel: DistributedDataParallel | None = None,
    ) -> None:
        super().__init__(model, criterion, encoders, parallel)
        self._call = call or (lambda module, inputs: module(inputs))
        self._backward = backward
        self._context = context or (self._shell._strategy.precision.forward_context if self._shell else nullcontext)
        self.counts = Counts()
        self._sparse: dict[Tensor, int] = {}  # weights whose gradients are sparse, and in how many dimensions

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
        users = self._context

        @contextmanager
        def both() -> Iterator[None]:
            with torch.autocast(self.device.type, torch.bfloat16), users():
                yield

        self._context = both
        try:
            yield
        finally:
            self._context = users

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """The criterion's value, 0-d.

        Raises:
            TypeError: if the model's output or the criterion's is not a tensor.
            ValueError: if the model's output has another batch size than the target, or the loss is not a scalar.
        """
        if not isinstance(logits, Tensor):
            raise TypeError(
                f"The model must return a tensor of logits, found {type(logits).__name__}; "
                "pass call=lambda model, inputs: ... to pick it out."
            )
        if logits.dim() == 0 or len(logits) != len(target):
            raise ValueError(
                f"The model must return logits [batch={len(target)}, ...], found shape {list(logits.shape)}; "
                "check the fusion or pass call=lambda model, inputs: ..."
            )
        loss = self.criterion(logits, target)
        if not isinstance(loss, Tensor):
            raise TypeError(f"The criterion must return a scalar tensor, found {type(loss).__name__}.")
        if loss.dim() != 0:
            raise ValueError(
                f"The criterion must return a scalar mean, found shape {list(loss.shape)}; reduce it first."
            )
        return loss

    def unit(self, logits: Tensor, target: Tensor) -> Tensor:
        """What one cross-entropy is in units of the criterion: its value for equal logits over `log(classes)`.

        1 for cross-entropy, 1/4 for a quarter of it; 1 where the criterion gives no scale (a single output, a loss that
        vanishes). For methods that compare or add a loss to a number without a unit.
        """
        even = torch.zeros_like(logits, dtype=torch.promote_types(logits.dtype, torch.float32))
        loss = self.loss(even, target).detach()
        entropy = log(logits.shape[1]) if logits.dim() > 1 else 0.0
        return loss / entropy if entropy and loss.isfinite() and loss > 0 else torch.ones_like(loss)

    def _pass(self, inputs: Inputs, target: Tensor, observed: bool = True) -> Pass:
        start = self._random_state()
        logits, capture = self._forward(inputs, observed)
        with self._context():
            loss = self.loss(logits, target)
        return Pass(loss, logits, self._observed(capture), start, capture.states, capture.end)

    def _forward(self, inputs: Inputs, observed: bool) -> tuple[Tensor, Capture]:
        self.modalities(inputs)
        inputs = zero_absent_rows(inputs)
        self._count_forward()
        with self._context():
            if self._joint is not None:
                capture = Capture([self.device])
                logits, capture.outputs = self._joint(inputs)
                return logits, capture
            watched = self._capturable if observed or self._compiled else {}  # a graph is compiled with its hooks
            with captured(watched, [self.device]) as capture:
                return self._call(self.wrappers[1] if self._shell else self.model, inputs), capture

    @cached_property
    def _joint(self) -> Callable[[Inputs], tuple[Tensor, dict[str, Tensor]]] | None:
        """For a compiled model that can fuse: one compiled graph that also returns the features."""
        if not self._joins:
            return None

        def joint(inputs: Inputs) -> tuple[Tensor, dict[str, Tensor]]:
            features = self._encode(inputs)
            return self.bare.fuse(features), features

        compiled = next(wrapper for wrapper in self.wrappers if hasattr(wrapper, "_orig_mod"))
        return getattr(compiled, "dynamo_ctx", torch.compile)(joint)  # the user's backend and options

    def _encode(self, inputs: Inputs) -> dict[str, Tensor]:
        return {name: encoder(inputs[name]) for name, encoder in self.encoders.items()}

    def _observed(self, capture: Capture) -> dict[str, Tensor]:
        """Features of a pass, or nothing if some encoder was not called as a module."""
        if len(capture.outputs) < len(self.encoders):
            return {}
        return {name: capture.outputs[name] for name in self.encoders}

    def _random_state(self) -> RandomState:
        return random_state([self.device])

    def _count_forward(self) -> None:
        self.counts.forwards += 1
        self.counts.fusions += 1
        self.counts.encoder_forwards.update(self.encoders.keys())

    def _count_backward(self, reached: Iterable[str]) -> None:
        self.counts.backwards += 1
        self.counts.encoder_backwards.update(reached)

    def _count_encoder_backward(self, name: str) -> None:
        """Counts a back-propagation into an encoder beside that of the same call into its first pass."""
        self.counts.encoder_backwards[name] += 1

    def _count_gradients(self, reached: Gradients) -> None:
        """Counts a back-propagation if it went into the model, not only to its outputs."""
        if any(weight in reached for weight in self.bare.parameters()):
            encoders = self.encoders.items()
            self._count_backward(name for name, each in encoders if any(w in reached for w in each.parameters()))

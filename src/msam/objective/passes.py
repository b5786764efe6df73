"""One training pass: forward, loss and backward, the only place where a training step calls the model.

    step = passes.accumulate_gradient(inputs, target)                   # one forward, one backward, into .grad
    second = passes.accumulate_gradient(inputs, target, like=step)      # at other weights: same draws, no trace

What is kept of a pass makes it repeatable. Passes are counted here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from msam.model_state import Capture, RandomState, device_of, random_state, unrecorded
from msam.objective.distributed import Distributed
from msam.objective.model_view import ModelView
from msam.objective.runtime import Runtime
from msam.objective.wrappers import compile_alike, compiled, keeping_buffers
from msam.presence import check_absent_rows, is_mask, zero_absent_rows
from msam.types import Features, Inputs, Note, Outcome
from msam.weight_hooks import STEPPED, fingerprint

_trained, _version = attrgetter("requires_grad"), attrgetter("_version")


@dataclass(frozen=True)
class Pass:
    """One training pass: with its graph as `Objective.forward` makes it, detached once it has been back-propagated.

    Args:
        loss: the unweighted loss, 0-d.
        logits: `[batch, classes]`.
        features: encoder outputs `[batch, ...]`, empty if they were not to be, or could not be observed (shared or
            uncalled encoders), or if it is not clear which part of an output is meant.
        start: random state before the forward pass.
        before: random state before each encoder.
        between: random state between the encoders and the fusion.
        record: measurements of the method whose pass it was.
    """

    loss: Tensor
    logits: Tensor
    features: Features
    start: RandomState
    before: Mapping[str, RandomState]
    between: RandomState
    record: Mapping[str, Note] = field(default_factory=dict)

    def rows(self, rows: slice) -> Pass:
        """The same for some of its samples; the loss stays that of all."""
        features = {name: feature[rows] for name, feature in self.features.items()}
        return replace(self, logits=self.logits[rows], features=features)

    def detached(self) -> Pass:
        """The same without its graph."""
        features = self.features and {name: feature.detach() for name, feature in self.features.items()}
        return replace(self, loss=self.loss.detach(), logits=self.logits.detach(), features=features)

    def outcome(self, **record: Note) -> Outcome:
        """This pass as the outcome of a method; measurements of its own by names in use get the prefix `of/`."""
        if self.record:
            record = {f"of/{name}" if name in record else name: note for name, note in self.record.items()} | record
        return Outcome(self.loss.detach(), self.logits.detach(), record)


class Passes:
    """Training passes of the whole model.

    Args:
        view: the model and criterion.
        runtime: how the user runs them.
        distributed: the ranks that share gradients.

    Attributes:
        stepped: whether weights have moved in a backward pass of this batch.
    """

    def __init__(self, view: ModelView, runtime: Runtime, distributed: Distributed) -> None:
        self.view, self.runtime, self.distributed = view, runtime, distributed
        self._noted: list[Pass] | None = None
        self._repeats = False
        self._is_watched = True  # whether the first backward pass is still to come
        self.stepped = False
        self._is_first = True  # whether no pass has been made yet
        self._is_second = False  # whether the last forward pass was not the batch's first
        self._differentiated: set[Tensor] = set()  # by which weights the batch's first pass has been differentiated
        self._checked = False  # whether the rows of samples that lack a modality were looked at

    @contextmanager
    def repeated(self, like: Pass) -> Iterator[None]:
        """Every pass inside is one of a batch whose first pass has been made: same draws, no trace."""
        self._repeats = True
        try:
            with unrecorded(self.view.bare, replay=like.start, save=self.runtime.save):
                yield
        finally:
            self._repeats = False

    @contextmanager
    def noted(self) -> Iterator[list[Pass]]:
        """The passes made inside, without their graphs, in their order."""
        passes: list[Pass] = []
        self._noted = passes
        try:
            yield passes
        finally:
            self._noted = None

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
        """Adds `weight` times the loss's gradient to `.grad`: one forward, one backward.

        Args:
            inputs: modality -> `[batch, ...]`.
            target: `[batch, ...]`.
            weight: of the gradient; the returned loss is the plain one.
            local: in data-parallel training, leave this gradient on its own rank.
            observed: note features and random states on the way, which takes two hooks an encoder.
            like: an earlier pass whose random draws are repeated, with no trace in running statistics.
        """
        quiet = nullcontext() if like is None else unrecorded(self.view.bare, replay=like.start, save=self.runtime.save)
        with quiet, self.distributed.on_this_rank() if local and self.distributed.active else nullcontext():
            step = self.run(inputs, target, observed and like is None, like)
            self.backpropagate(step.loss * (weight.to(step.loss) if isinstance(weight, Tensor) else weight))
        return step.detached()

    def run(self, inputs: Inputs, target: Tensor, observed: bool = True, like: Pass | None = None) -> Pass:
        """One forward pass with its graph; one like an earlier pass starts from the same random state."""
        inputs = self.prepared(inputs)
        start = random_state([device_of(self.view.bare)]) if like is None else like.start
        if like is None and not self._repeats:
            if self.distributed.is_static:
                self.distributed.spread_buffers()
            self.stepped = False
            self._differentiated.clear()
            if self.runtime.effects is not None:
                self.runtime.effects.begin()
        self.count_forward()
        watched = self.view.observable if observed or self.view.is_compiled else {}  # a graph is compiled with hooks
        capture = Capture({} if self._joint else watched, start)
        with self.runtime.context(), capture if watched else nullcontext():
            if self._joint is None:
                logits = self.runtime.call(self.view.entry, inputs)
            else:
                logits, capture.outputs = self._joint(inputs)
        with self.runtime.context():
            loss = self.batch_loss(logits, target)
        if self._is_first:
            self.runtime.find_effects()
            self._is_first = False
        names, outputs, reader = self.view.encoders, capture.outputs, self.view.feature
        complete = len(outputs) == len(names)  # each encoder was called once, as a module
        features: Features = dict(zip(names, map(outputs.__getitem__, names), strict=True)) if complete else {}
        if features and self._joint is None and (reader.hook or set(map(type, features.values())) != {Tensor}):
            features = reader.all(features)
        if any(map(is_mask, inputs)) and (loss.device.type == "cpu" or not self._checked):
            self._check_absent_rows(loss, features, inputs)
        step = Pass(loss, logits, features, start, capture.states, capture.end)
        if self._noted is not None:
            self._noted.append(step.detached())
        return step

    def _check_absent_rows(self, loss: Tensor, features: Features, inputs: Inputs) -> None:
        """Names the encoder that makes no numbers of the zeros of absent samples, if a loss is none."""
        self._checked = True
        if self.view.encoders and not bool(loss.detach().isfinite()):
            with torch.no_grad(), unrecorded(self.view.bare, in_evaluation=True, save=self.runtime.save):
                check_absent_rows(features or self.encode(inputs), inputs)

    def prepared(self, inputs: Inputs) -> Inputs:
        """Inputs as passes take them: every modality is there, and rows of samples that lack one hold zeros.

        Raises:
            TypeError: if the inputs are no mapping.
            ValueError: if a modality is missing from the inputs.
        """
        if not isinstance(inputs, Mapping) or not inputs.keys() >= self.view.encoders.keys():
            self.view.modalities(inputs)
        return zero_absent_rows(inputs) if any(map(is_mask, inputs)) else inputs

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """The criterion's value, 0-d, beside that of the batch's pass: what the criterion remembers does not move.

        Raises:
            TypeError, ValueError: as `batch_loss`.
        """
        undo = None if self.runtime.save is None else self.runtime.save()
        try:
            return self.batch_loss(logits, target)
        finally:
            if undo is not None:
                undo()

    def batch_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """The criterion's value, 0-d, as in a plain training step.

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
        loss = self.view.criterion(logits, target)
        if not isinstance(loss, Tensor):
            raise TypeError(f"The criterion must return a scalar tensor, found {type(loss).__name__}.")
        if loss.dim() != 0:
            raise ValueError(
                f"The criterion must return a scalar mean, found shape {list(loss.shape)}; reduce it first."
            )
        return loss

    def backpropagate(self, loss: Tensor) -> None:
        """Adds a loss's gradient to `.grad`, as the user would: with their scaling, in one shared reduction."""
        counts = self.runtime.counts
        counts.backwards += 1
        for name, encoder in self.view.encoders.items():
            if any(map(_trained, encoder.parameters())):
                counts.encoder_backwards[name] += 1
        loss = loss if self.runtime.weight is None else self.runtime.times_weight(loss)
        if self._is_watched or self.runtime.backward is not Tensor.backward:
            self._watched_backward(loss)
        else:
            self.runtime.backward(loss)  # type: ignore[no-untyped-call]  # as torch has it

    def probe(self, loss: Tensor) -> None:
        """Back-propagates a loss that is none of the model's, to see what the user's `backward` makes of it.

        Raises:
            RuntimeError: if that moves the model's weights.
        """
        weights = self.view.parameters()
        before = sum(map(_version, weights))
        self.runtime.backward(loss)
        if before != sum(map(_version, weights)):
            raise RuntimeError(STEPPED)

    def _watched_backward(self, loss: Tensor) -> None:
        """Back-propagates, and notes whether an optimizer has stepped meanwhile; by values the first time."""
        weights = self.view.parameters()
        before, values = sum(map(_version, weights)), fingerprint(weights) if self._is_watched else None
        self.runtime.backward(loss)
        moved = values is not None and values != fingerprint(weights)
        self.stepped = self.stepped or moved or before != sum(map(_version, weights))
        self._is_watched = False

    def forward(self, inputs: Inputs, target: Tensor, *, local: bool = False, like: Pass | None = None) -> Pass:
        """One forward pass with its graph, for a method that builds losses of its own from logits and features.

        It is to be followed by `backpropagate`, or by any number of `compute_gradients` and one `add_gradients`.
        Nothing is written before either, so a criterion that raises in between leaves no trace.

        Args:
            inputs: modality -> `[batch, ...]`.
            target: `[batch, ...]`.
            local: in data-parallel training, leave what is back-propagated from this pass on its own rank.
            like: an earlier pass of the batch that this one follows.
        """
        with self.distributed.on_this_rank() if local else nullcontext(), keeping_buffers(self.view.is_compiled):
            step = self.run(inputs, target, like=like)
        self._is_second = like is not None or self._repeats
        return step

    @contextmanager
    def backward_like_the_pass(self, weights: Sequence[Tensor]) -> Iterator[None]:
        """A backward pass that leaves the trace of one plain backward pass: none, if it has been made before.

        Checkpoints that are computed again in a backward pass write to running statistics each time.

        Args:
            weights: to differentiate by.
        """
        leaves = {weight for weight in weights if weight.is_leaf}
        again = self._is_second or not self._differentiated.isdisjoint(leaves)
        self._differentiated |= leaves
        draws = random_state([self.view.device])
        with nullcontext() if not again else unrecorded(self.view.bare, replay=draws, save=self.runtime.save):
            yield

    def count_forward(self) -> None:
        """Counts a forward pass of the whole model."""
        counts = self.runtime.counts
        counts.forwards += 1
        counts.fusions += 1
        counts.encoder_forwards.update(self.view.encoders.keys())

    def encode(self, inputs: Inputs) -> dict[str, Tensor]:
        """The feature of every encoder's output, not counted."""
        return {name: self.encode_one(name, inputs[name]) for name in self.view.encoders}

    def encode_one(self, modality: str, value: Any) -> Tensor:
        """The feature that an encoder makes of an input, not counted.

        Raises:
            ValueError: if it is not clear which part of its output that is.
        """
        return self.view.feature(modality, self.view.encoders[modality](value))

    @cached_property
    def _joint(self) -> Callable[[Inputs], tuple[Tensor, dict[str, Tensor]]] | None:
        """For a compiled model that can fuse: one compiled graph that also returns the features."""
        wrapper = compiled(self.view.wrappers) if self.view.joins else None
        if wrapper is None:
            return None

        def joint(inputs: Inputs) -> tuple[Tensor, dict[str, Tensor]]:
            features = self.encode(inputs)
            return self.view.bare.fuse(features), features

        return compile_alike(wrapper, joint)

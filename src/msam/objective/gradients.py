"""Training passes: a loss's gradient into `.grad`, whole or in parts, at these weights or again at others.

step = objective.accumulate_gradient(inputs, target)                          # one forward, one backward
live = objective.forward(inputs, target)                          # the same in parts:
found = objective.compute_gradients(live.loss, objective.parameters())    # weight -> gradient, as often as needed,
objective.add_gradients(found)                                          # then once into .grad
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from msam.blocks import dense
from msam.model_state import only, replayed, unrecorded
from msam.objective.evaluation import Evaluation
from msam.objective.forward import Pass
from msam.types import Gradients, Inputs


class TrainingGradients(Evaluation):
    """Back-propagation as the user would do it: with their scaling, in their context, shared between their ranks."""

    def accumulate_gradient(
        self,
        inputs: Inputs,
        target: Tensor,
        weight: float | Tensor = 1.0,
        *,
        local: bool = False,
        observed: bool = True,
    ) -> Pass:
        """Adds `weight` times the loss's gradient to `.grad`: one forward, one backward.

        Args:
            inputs: modality -> `[batch, ...]`.
            target: `[batch, ...]`.
            weight: of the gradient; the returned loss is the plain one.
            local: in data-parallel training, leave this gradient on its own rank.
            observed: note features and random states on the way, which takes two hooks an encoder.
        """
        with self._on_this_rank(local):
            step = self._pass(inputs, target, observed)
            self.backpropagate(_weighted(step.loss, weight))
        return step.detached()

    def forward(self, inputs: Inputs, target: Tensor, *, local: bool = False) -> Pass:
        """One forward pass with its graph, for a method that builds losses of its own from logits and features.

        It is to be followed by `backpropagate`, or by any number of `compute_gradients` and one `add_gradients`.
        Nothing is written before either, so a criterion that raises in between leaves no trace.

        Args:
            inputs: modality -> `[batch, ...]`.
            target: `[batch, ...]`.
            local: in data-parallel training, leave what is back-propagated from this pass on its own rank.
        """
        with self._on_this_rank(local), self._keeping_buffers():
            return self._pass(inputs, target)

    def backpropagate(self, loss: Tensor) -> None:
        """Adds a loss's gradient to `.grad`, as the user would: with their scaling, in one shared reduction."""
        self._count_backward(name for name, encoder in self.encoders.items() if _trains(encoder))
        self._backward(loss)

    def compute_gradients(self, loss: Tensor, weights: Iterable[Tensor], *, create_graph: bool = False) -> Gradients:
        """Gradients of a loss, of this rank, in the loss's own units; weights that it does not reach are left out.

        The graph is kept, so that several losses of one pass can be asked one after the other; sparse gradients (of
        embeddings) come as dense ones, which can be combined with any other. The user's loss scale is
        applied on the way, against underflow in half precision, and taken out of the result. What is returned is not to
        be changed in place: two weights may share one tensor.

        Args:
            loss: 0-d, built from a pass with its graph.
            weights: parameters, features or logits to differentiate with respect to.
            create_graph: keep what differentiating the result needs.
        """
        weights, scale = list(weights), self.scale()
        if not weights:
            return {}
        with self._keeping_buffers():
            found: Sequence[Tensor | None] = torch.autograd.grad(
                loss * scale, weights, retain_graph=True, create_graph=create_graph, allow_unused=True
            )
        given = [(weight, g) for weight, g in zip(weights, found, strict=True) if g is not None]
        self._sparse |= {weight: g.sparse_dim() for weight, g in given if g.is_sparse}
        reached = {weight: dense(g) / scale if isinstance(scale, Tensor) else dense(g) for weight, g in given}
        self._count_gradients(reached)
        return reached

    def add_gradients(self, gradients: Gradients) -> None:
        """Adds gradients to `.grad` as if they had been back-propagated: scaled, shared and sparse, alike.

        Args:
            gradients: of the loss in its own units; one call a `forward`, with all of them.
        """
        found = [g.to_sparse(self._sparse[w]) if w in self._sparse else g for w, g in gradients.items()]
        if found:
            self._backward(_Deposit.apply(found, *gradients))  # type: ignore[no-untyped-call]

    def scale(self) -> Tensor | float:
        """What the user's `backward` multiplies gradients by, measured on a loss of one; the float 1 if nothing."""
        if self._backward is Tensor.backward:
            return 1.0
        one = torch.ones((), device=self.device, requires_grad=True)
        with self._on_this_rank(True):
            self._backward(one.clone())
        return 1.0 if one.grad is None else one.grad

    def second_pass(self, first: Pass, inputs: Inputs, target: Tensor, weight: float | Tensor = 1.0) -> Pass:
        """A pass like `first` at other weights: same random draws, no trace in running statistics; ranks share it."""
        with replayed(first.start), unrecorded(self.bare):
            return self.accumulate_gradient(inputs, target, weight, observed=False)

    def second_pass_of_encoder(
        self,
        modality: str,
        block: Sequence[Tensor],
        first: Pass,
        inputs: Inputs,
        target: Tensor,
        weight: float | Tensor,
    ) -> Pass:
        """Like `second_pass`, but gradients flow into `block` only, and stay on this rank.

        Where the model allows it, only the encoder of `modality` and the fusion are run; the other features are those
        of the first pass, dropout masks included, so the gradients are identical to those of a full pass.
        """
        with only(block, among=self.parameters()), unrecorded(self.bare):
            if not (self.separable and first.features):
                with replayed(first.start):
                    return self.accumulate_gradient(inputs, target, weight, local=True, observed=False)
            second = self._forward_encoder_like(modality, first, inputs, target)
            with self._on_this_rank(True):
                self.backpropagate(_weighted(second.loss, weight))
        return second.detached()

    def forward_encoder_like(self, modality: str, first: Pass, inputs: Inputs, target: Tensor) -> Pass:
        """A forward pass like `first` at other weights of one encoder, which alone is run where the model allows it.

        Same random draws, no trace in running statistics; for `compute_gradients` with respect to that encoder.
        """
        with unrecorded(self.bare):
            if self.separable and first.features:
                return self._forward_encoder_like(modality, first, inputs, target)
        return self.forward_like(first, inputs, target)

    def forward_like(self, first: Pass, inputs: Inputs, target: Tensor) -> Pass:
        """A forward pass like `first` at other weights, or on a part of its samples, on this rank.

        For `compute_gradients`. Same random state, no trace in running statistics.
        """
        with replayed(first.start), unrecorded(self.bare):
            return self.forward(inputs, target, local=True)

    def _forward_encoder_like(self, modality: str, first: Pass, inputs: Inputs, target: Tensor) -> Pass:
        self.counts.encoder_forwards[modality] += 1
        self.counts.fusions += 1
        others = {name: feature.detach() for name, feature in first.features.items()}
        with self._context():
            with replayed(first.before[modality]):
                feature = self.encoders[modality](inputs[modality])
            with replayed(first.between):
                logits = self.bare.fuse({**others, modality: feature})
            return replace(first, loss=self.loss(logits, target), logits=logits, features={**others, modality: feature})

    @contextmanager
    def _keeping_buffers(self) -> Iterator[None]:
        """What is compiled inside can be differentiated more than once: it gives no buffers away to its first time.

        Compiled code is looked up by keys that do not tell the two kinds apart, so that nothing is looked up either.
        """
        if not self._compiled:
            yield
            return
        import torch._functorch.config as tracing
        import torch._inductor.config as generation

        with (
            tracing.patch(donated_buffer=False, enable_autograd_cache=False),
            generation.patch(fx_graph_cache=False),
        ):
            yield


class _Deposit(torch.autograd.Function):
    """A loss of zero whose gradient is what one says it is."""

    @staticmethod
    def forward(ctx: Any, gradients: list[Tensor], *weights: Tensor) -> Tensor:
        ctx.gradients = gradients
        return weights[0].new_zeros((), dtype=weights[0].dtype.to_real())

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *torch._foreach_mul(ctx.gradients, slope))


def _weighted(loss: Tensor, weight: float | Tensor) -> Tensor:
    return loss * (weight.to(loss) if isinstance(weight, Tensor) else weight)


def _trains(module: nn.Module) -> bool:
    return any(weight.requires_grad for weight in module.parameters())

"""A part of a graph that is back-propagated in the state that it was made in.

    logits = isolated(compute, features, weights, state, differentiate)      # compute(features) -> tensors, with graph

Activation checkpoints are computed again in the backward pass, and then see the modes and write to the running
statistics of that moment. Coalitions are made in evaluation mode, or without a trace, and back-propagated much later;
here `state()` is entered around both. Gradients arrive as from any operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from msam.model_state import leaf_like
from msam.types import Features

Differentiate = Callable[[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]], Sequence[Tensor | None]]
"""(outputs, weights, gradients by the outputs) -> gradients by the weights."""


def isolated(
    compute: Callable[[Features], Tensor],
    features: Features,
    weights: Sequence[Tensor],
    state: Callable[[], AbstractContextManager[Any]],
    differentiate: Differentiate,
) -> Tensor:
    """What `compute` makes of the features, to be back-propagated within `state`.

    Args:
        compute: features -> a tensor, with the graph behind it.
        features: of an earlier pass, with their graph.
        weights: that `compute` uses; they require gradients.
        state: makes the context of the forward and of the backward pass.
        differentiate: how gradients are taken.
    """
    return _Isolated.apply(compute, tuple(features), state, differentiate, *features.values(), *weights)  # type: ignore[no-any-return, no-untyped-call]


class _Isolated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        compute: Callable[[Mapping[str, Tensor]], Tensor],
        names: tuple[str, ...],
        state: Callable[[], AbstractContextManager[Any]],
        differentiate: Differentiate,
        *tensors: Tensor,
    ) -> Tensor:
        features = [leaf_like(each) for each in tensors[: len(names)]]
        with torch.enable_grad(), state():
            output = compute(dict(zip(names, features, strict=True)))
        ctx.state, ctx.differentiate, ctx.output = state, differentiate, output
        ctx.tensors = [*features, *tensors[len(names) :]]
        return output.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        wanted = [tensor for tensor in ctx.tensors if tensor.requires_grad]
        with torch.enable_grad(), ctx.state():
            slopes = iter(ctx.differentiate([ctx.output], wanted, [slope]) if ctx.output.requires_grad else [])
        return (None,) * 4 + tuple(next(slopes, None) if t.requires_grad else None for t in ctx.tensors)

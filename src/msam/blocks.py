"""Gradients of two losses on one block of weights, such as an encoder: how they agree, and their sum.

An example.

    fused, alone = objective.compute_gradients(loss, weights), objective.compute_gradients(own_loss, weights)
    squared, own_squared, product = products(fused, alone, encoder)
    total = added(fused, alone)                                     # weight -> fused + alone
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from msam.types import Gradients


def both(first: Gradients, second: Gradients, block: Iterable[Tensor]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """`(weight, a, b)` for the weights that either gradient reaches; where one does not, it is zero."""
    return [
        (weight, first.get(weight, torch.zeros_like(weight)), second.get(weight, torch.zeros_like(weight)))
        for weight in block
        if weight in first or weight in second
    ]


def products(first: Gradients, second: Gradients, block: Iterable[Tensor]) -> Tensor:
    """`[a.a, b.b, a.b]` of two gradients on a block of weights, in double precision where the device has it, `[3]`."""
    terms = [torch.stack([_dot(a, a), _dot(b, b), _dot(a, b)]) for _, a, b in both(first, second, block)]
    anywhere = next(iter(first), torch.empty(()))
    return torch.stack(terms).sum(0) if terms else _precise(anywhere.new_zeros(3))


def cosine(products: Tensor) -> Tensor:
    """`a.b / |a||b|` of `[..., 3]`; zero where a gradient vanishes."""
    squared, other, product = products.unbind(-1)
    norm = (squared * other).sqrt()
    return torch.where(norm > 0, product / norm, torch.zeros_like(norm))


def added(first: Gradients, second: Gradients, factor: float = 1.0) -> Gradients:
    """`first + factor * second`, weight by weight."""
    total = dict(first)
    for weight, gradient in second.items():
        total[weight] = total[weight] + factor * gradient if weight in total else factor * gradient
    return total


def orthogonal(gradients: list[Tensor], to: list[Tensor]) -> list[Tensor]:
    """`a - (a.b / |b|^2) b` of two gradients; `a` where `b` vanishes."""
    product, square = (
        torch.stack([(real(left) * real(right)).sum() for left, right in zip(pairs, to, strict=True)]).sum()
        for pairs in (gradients, to)
    )
    factor = torch.where(square > 0, product / square, torch.zeros_like(square))
    return list(torch._foreach_sub(gradients, torch._foreach_mul(to, factor)))


def dense(gradient: Tensor) -> Tensor:
    """A sparse gradient (of an embedding) as a dense one, which can be combined with any other."""
    return gradient.to_dense() if gradient.is_sparse else gradient


def real(gradient: Tensor) -> Tensor:
    """A complex gradient `a + ib` as the real one, `[..., (a, b)]`, that torch means, a view; others are themselves."""
    return torch.view_as_real(gradient) if gradient.is_complex() else gradient


def _dot(left: Tensor, right: Tensor) -> Tensor:
    wide = torch.promote_types(left.dtype, torch.float32)
    return _precise((real(left.to(wide)) * real(right.to(wide))).sum())


def _precise(tensor: Tensor) -> Tensor:
    return tensor if tensor.device.type == "mps" else tensor.double()

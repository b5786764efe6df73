"""From gradients to the perturbation epsilon: pure functions on lists of tensors.

An example.

    epsilon = ball(gradients, rho=0.05)          # the steepest point of a Euclidean ball
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def ball(gradients: Sequence[Tensor], rho: float) -> list[Tensor]:
    """`rho g / |g|`, the norm taken over all tensors together (SAM, Foret et al. 2021, arXiv 2010.01412, Eq. 2).

    Independent of the loss's scale, so mixed precision needs no unscaling. A zero gradient gives a zero perturbation.

    Args:
        gradients: one tensor a weight.
        rho: radius of the ball, in units of the weights.
    """
    return _scaled(gradients, rho, _norm(gradients))


def scaled_ball(weights: Sequence[Tensor], gradients: Sequence[Tensor], rho: float, eta: float) -> list[Tensor]:
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
    return _scaled(torch._foreach_mul(scales, once), rho, _norm(once))


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    return torch.nn.utils.get_total_norm(list(tensors))


def _scaled(tensors: Sequence[Tensor], rho: float, norm: Tensor) -> list[Tensor]:
    factor = torch.where(norm > 0, rho / norm, torch.zeros_like(norm))
    return list(torch._foreach_mul(list(tensors), factor)) if tensors else []

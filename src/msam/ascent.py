"""From gradients to the perturbation epsilon: pure functions on lists of tensors.

climb = steepest(gradients, rho=0.05)        # epsilon = length * direction, not spelled out
with perturbed(weights, *climb): ...
epsilon = ball(gradients, rho=0.05)          # the same, spelled out
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Climb(NamedTuple):
    """A perturbation `length * direction`; the direction can be the gradients themselves, so that nothing is copied.

    Args:
        direction: one tensor a weight.
        length: 0-d, so that nobody waits for the device.
    """

    direction: Sequence[Tensor]
    length: Tensor

    @property
    def epsilon(self) -> list[Tensor]:
        """The perturbation, one tensor a weight."""
        return list(torch._foreach_mul(list(self.direction), self.length)) if self.direction else []


def steepest(gradients: Sequence[Tensor], rho: float) -> Climb:
    """`rho g / |g|`, the norm taken over all tensors together (SAM, Foret et al. 2021, arXiv 2010.01412, Eq. 2).

    Independent of the loss's scale, so mixed precision needs no unscaling. A zero gradient gives a zero perturbation.

    Args:
        gradients: one tensor a weight.
        rho: radius of the ball, in units of the weights.
    """
    return Climb(gradients, _length(gradients, rho))


def scaled_steepest(weights: Sequence[Tensor], gradients: Sequence[Tensor], rho: float, eta: float) -> Climb:
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
    length = _length(once, rho)
    torch._foreach_mul_(once, scales)
    return Climb(once, length)


def ball(gradients: Sequence[Tensor], rho: float) -> list[Tensor]:
    """`steepest`, spelled out."""
    return steepest(gradients, rho).epsilon


def scaled_ball(weights: Sequence[Tensor], gradients: Sequence[Tensor], rho: float, eta: float) -> list[Tensor]:
    """`scaled_steepest`, spelled out."""
    return scaled_steepest(weights, gradients, rho, eta).epsilon


def _length(tensors: Sequence[Tensor], rho: float) -> Tensor:
    norm = torch.nn.utils.get_total_norm(list(tensors))
    return torch.where(norm > 0, rho / norm, torch.zeros_like(norm))

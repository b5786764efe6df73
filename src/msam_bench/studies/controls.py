"""Controls that a claim about M-SAM's weights needs: the same weights without their time, mean weights, other weights.

msam compare --methods msam,msam-mean-share,msam-shuffled-share,msam-gradient-share
"""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor

from msam import MSAM, Method, Shapley
from msam.balls import Radius
from msam.losses import LossPart
from msam.perturbation import TwoPass
from msam.types import Contributions


class MeanShare(MSAM):
    """M-SAM whose weight of the perturbed gradient is the mean of all shares v_d so far: the level without the detail.

    A difference between M-SAM and this control is a difference that the weight's changes from batch to batch make.

    Args:
        rho: radius of the ball.
        attribution: how contributions are measured; `Shapley()` if None.
    """

    name, controls = "msam-mean-share", frozenset({"msam-mean-share"})

    def __init__(self, rho: float = 0.05, attribution: Shapley | None = None) -> None:
        super().__init__(rho, attribution=attribution)
        self._shares: list[float] = []

    def _share(self, step: TwoPass, contributions: Contributions) -> tuple[Tensor, float | Tensor]:
        share, _ = super()._share(step, contributions)
        self._shares.append(float(share))
        return share, sum(self._shares) / len(self._shares)

    def get_extra_state(self) -> dict[str, Any]:
        """The batch counter and the shares so far, for `state_dict`."""
        return {**super().get_extra_state(), "shares": torch.tensor(self._shares, dtype=torch.float64)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Continues where `get_extra_state` left off."""
        super().set_extra_state(state)
        self._shares = state["shares"].tolist()


class ShuffledShare(MeanShare):
    """M-SAM whose weight is that of a random batch so far: the same weights, shuffled in time.

    A difference between M-SAM and this control is a difference that the weight makes by fitting its own batch.
    """

    name, controls = "msam-shuffled-share", frozenset({"msam-shuffled-share"})

    def _share(self, step: TwoPass, contributions: Contributions) -> tuple[Tensor, float | Tensor]:
        share, _ = super()._share(step, contributions)
        return share, random.Random(len(self._shares)).choice(self._shares)


class GradientShare(MSAM):
    """M-SAM whose weight is the dominant encoder's share of the encoders' gradient norms, instead of its Shapley share.

    `v_d = |g_d| / sum_m |g_m|`, with g_m the loss's gradient in the encoder of modality m.

    Args:
        rho: radius of the ball.
        attribution: how the dominant modality is found; `Shapley()` if None.
    """

    name, controls = "msam-gradient-share", frozenset({"msam-gradient-share"})

    def __init__(self, rho: float = 0.05, attribution: Shapley | None = None) -> None:
        super().__init__(rho, attribution=attribution)
        self.needs = self.needs | {"encoders"}

    def _share(self, step: TwoPass, contributions: Contributions) -> tuple[Tensor, float | Tensor]:
        gradients = {name: step.gradients(step.objective.parameters(name)) for name in contributions.modalities}
        share = shares(gradient_norms(gradients))[contributions.index]
        return share, share


class ShuffledRadii(MSAM):
    """M-SAM with a ball a modality whose radii belong to other modalities: the same radii, dealt anew on every batch.

    A difference between `MSAM(scope="modalities", radius=...)` and this control is a difference that the radii make by
    going to the modality that they were measured on.

    Args:
        rho: mean radius.
        radius: what the radii are proportional to before they are dealt.
        of: the method whose gradient is taken.
        of_part: the part of its loss that is perturbed.
    """

    name, controls = "msam-shuffled-radii", frozenset({"msam-shuffled-radii"})

    def __init__(
        self, rho: float = 0.05, radius: Radius = "gap", of: Method | None = None, of_part: LossPart = "all"
    ) -> None:
        super().__init__(rho, scope="modalities", radius=radius, of=of, of_part=of_part)

    def _lengths(self, contributions: Contributions | None, count: int) -> list[float | Tensor]:
        lengths = super()._lengths(contributions, count)
        random.Random(self._batches).shuffle(lengths)
        return lengths


def gradient_norms(gradients: dict[str, list[Tensor]]) -> Tensor:
    """Euclidean norm of each modality's gradient, `[modalities]`, double precision; zero for one without any."""
    squares = [
        sum((g.double().square().sum() for g in tensors), torch.zeros((), dtype=torch.float64))
        for tensors in gradients.values()
    ]
    return torch.stack(squares).sqrt()


def shares(norms: Tensor) -> Tensor:
    """Each norm's share of their sum; zeros if all are zero."""
    return norms / norms.sum().clamp(min=torch.finfo(norms.dtype).tiny)

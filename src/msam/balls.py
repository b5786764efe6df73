"""A ball a modality: blocks of weights that are perturbed at once, each within a radius of its own.

balls = Balls(modality_blocks(objective), radii=[0.1, 0.3])
balls.perturbation(ascend, weights, gradients)       # epsilon_m = r_m g_m / |g_m| in each block
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor, nn

from msam.heads import Heads
from msam.model_state import trainable
from msam.objective import Objective
from msam.perturbation import BlockPerturbation, Perturbation
from msam.types import Contributions

Radius = Literal["equal", "shapley", "inverse", "gap"]
"""What the radii of modalities are proportional to: nothing, Shapley shares, their inverses, generalisation gaps."""

LEAST_SHARE = 0.001
"""The least share of which an inverse is taken."""


class Balls:
    """Blocks of weights, each with its radius.

    Args:
        blocks: weights, no two blocks with one in common.
        radii: one a block, at least 0.
    """

    def __init__(self, blocks: Sequence[Sequence[Tensor]], radii: Sequence[float | Tensor]) -> None:
        self.radii = radii
        self._block = {weight: index for index, block in enumerate(blocks) for weight in block}
        self.weights = list(self._block)

    def perturbation(
        self,
        ascend: Callable[[list[Tensor], list[Tensor], float | Tensor], Perturbation],
        weights: Sequence[Tensor],
        gradients: Sequence[Tensor],
    ) -> BlockPerturbation:
        """The perturbation of all blocks together.

        Args:
            ascend: (weights, gradients, radius) -> the perturbation of one block.
            weights: some of `self.weights`.
            gradients: one a weight.
        """
        direction, length = list(gradients), list(gradients)
        blocks: dict[int, list[int]] = {}
        for place, weight in enumerate(weights):
            blocks.setdefault(self._block[weight], []).append(place)
        for index, places in blocks.items():
            radius, block = self.radii[index], [weights[place] for place in places]
            slopes = [gradients[place] for place in places]
            climb = ascend(
                block,
                slopes,
                radius.to(slopes[0].device, slopes[0].dtype.to_real()) if isinstance(radius, Tensor) else radius,
            )
            for place, step in zip(places, climb.direction, strict=True):
                direction[place], length[place] = step, climb.length
        return BlockPerturbation(direction, length)


def modality_blocks(objective: Objective, of: nn.Module | None = None, *, head: bool = True) -> list[list[Tensor]]:
    """What belongs to each modality: encoder, its part of the fusion, and its classifier in a method.

    Args:
        objective: the model.
        of: the method, if it has classifiers.
        head: with its part of the fusion, where the model shows one.
    """
    heads, shown = classifiers(of), head and "heads" in objective.capabilities
    own = {name: trainable(heads[name]) if heads is not None else [] for name in objective.encoders}
    return [list(dict.fromkeys([*objective.parameters(name, head=shown), *own[name]])) for name in objective.encoders]


def classifiers(of: nn.Module | None) -> Heads | None:
    """The classifiers of single modalities in a method, if it has some."""
    return next((module for module in of.modules() if isinstance(module, Heads)), None) if of is not None else None


def radii(rule: Radius, rho: float, contributions: Contributions | None, count: int) -> list[float | Tensor]:
    """`r_m = rho M w_m / sum_k w_k`, so that the mean radius is rho.

    Args:
        rule: `equal` (w = 1), `shapley` (the share, at least 0), `inverse` (1 / share), `gap` (the gap).
        rho: mean radius.
        contributions: Shapley values or gaps; None for `equal`.
        count: number M of modalities.
    """
    if contributions is None:
        return [rho] * count
    shares = contributions.shares
    if rule == "gap":
        return [rho * (count * share) for share in shares.tolist()]
    worth = 1 / shares.clamp(min=LEAST_SHARE) if rule == "inverse" else shares.clamp(min=0)
    return list(rho * (count * worth / worth.sum()))

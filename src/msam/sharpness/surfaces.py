"""Loss surfaces: the loss along one or two directions through the weights.

    plane = random_plane(landscape)                          # filter-normalised, two axes
    surface(landscape, plane, span=1.0, points=25).losses    # [25, 25], NaN where the loss is not finite

    plane = trajectory_plane(landscape, checkpoints)         # the plane that training moved in, and its path

The same plane serves several models of one architecture, which shared directions and one colour scale make comparable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from msam.sharpness.landscape import Landscape
from msam.sharpness.record import Cost, Progress, Site, tell
from msam.validation import one_of, whole


@dataclass(frozen=True)
class Plane:
    """A line or a plane in the space of a block's weights.

    Args:
        directions: what one unit of each coordinate moves, `[axes, size]`, axes 1 or 2.
        labels: what each coordinate is, with its unit.
        origin: the point with coordinates zero, `[size]`; None for the weights of the model that is measured.
        path: coordinates of points to mark, `[marks, axes]`.
        explained: share of the path's squared distances that each axis holds.
    """

    directions: Tensor
    labels: tuple[str, ...]
    origin: Tensor | None = None
    path: Tensor | None = None
    explained: tuple[float, ...] | None = None


def random_plane(landscape: Landscape, axes: int = 2, *, normalize: Literal["filter", "layer"] = "filter") -> Plane:
    """Gaussian directions from the landscape's seed, scaled as the weights are (Li et al. 2018, arXiv 1712.09913).

    Each filter `d_i` of a direction (each slice of a weight along its first dimension) is scaled to the filter `w_i`:
    `d_i <- d_i |w_i| / |d_i|`; with `layer`, each weight as a whole. So one unit moves every filter by its own length,
    and networks that differ by a rescaling only look the same. Biases and the weights of normalisations (all tensors of
    one dimension) stay in place, as in the authors' figures.

    The same seed gives the same Gaussian numbers for every model of one architecture; the scale is each model's own. To
    draw several models in literally the same plane, make it once and pass it to each `surface`.

    Args:
        landscape: whose weights give the scale.
        axes: 1 or 2.
        normalize: `filter` or `layer`.

    Raises:
        ValueError: if nothing can move: all weights of the block are zero or one-dimensional.
    """
    _axes(axes)
    one_of("normalize", normalize, ("filter", "layer"))
    generator = landscape.generator()
    directions = torch.stack([_scaled(landscape, landscape.noise(generator), normalize) for _ in range(axes)])
    if not directions.any(1).all():
        raise ValueError("No direction is left: the block has only zero weights, biases and normalisations.")
    return Plane(directions, tuple(f"direction {axis + 1} ({normalize} norms)" for axis in range(axes)))


def trajectory_plane(landscape: Landscape, checkpoints: Sequence[Mapping[str, Tensor]], axes: int = 2) -> Plane:
    """The plane through the last checkpoint in which training moved most: principal components of its steps.

    The rows `w_t - w_last` are decomposed without subtracting their mean, so that of all planes through the last
    checkpoint this one is closest to the others (the authors of arXiv 1712.09913, Section 7, subtract it). Directions
    are orthonormal: coordinates are distances in weight space. Buffers, such as running statistics, are those of the
    model that is measured. Keeps as many vectors as there are checkpoints.

    Args:
        landscape: which block.
        checkpoints: `state_dict`s in the order of training, at least `axes + 1`.
        axes: 1 or 2.

    Raises:
        ValueError: if the checkpoints are too few, not of this model, not finite, or do not span so many axes.
    """
    _axes(axes)
    positions = [landscape.position(state) for state in checkpoints]
    if len(positions) <= axes or not all(bool(torch.isfinite(position).all()) for position in positions):
        raise ValueError(f"{axes} axes need at least {axes + 1} finite checkpoints; leave out those that diverged.")
    moves = torch.stack(positions[:-1]).sub_(positions[-1])
    squares, mixture = torch.linalg.eigh((moves @ moves.T).double())
    squares, mixture = squares.flip(0)[:axes], mixture.flip(1)[:, :axes]
    if squares[-1] <= 10 * len(moves) * torch.finfo(moves.dtype).eps * squares[0]:
        raise ValueError(f"The checkpoints do not span {axes} directions; give more of them, or fewer axes.")
    lengths = squares.sqrt()
    directions = (mixture / lengths).T.to(moves) @ moves
    path = torch.cat([mixture * lengths, torch.zeros(1, axes).to(mixture)])
    explained = tuple((squares / (moves.double() ** 2).sum()).tolist())
    labels = tuple(f"component {axis + 1} ({share:.0%} of the path)" for axis, share in enumerate(explained))
    return Plane(directions, labels, positions[-1], path, explained)


@dataclass(frozen=True)
class Surface:
    """The loss on a grid.

    Args:
        axes: coordinates along each axis, `[points]` each.
        losses: `[points]` or `[points, points]` (rows: first axis); NaN marks a point where the loss is not finite.
        holes: how many such points there are.
        loss: the loss at the weights as they are.
        labels: what each coordinate is.
        path: coordinates of points to mark, `[marks, axes]`, if the plane has any.
        site: what was measured.
        cost: what it took.
    """

    axes: tuple[Tensor, ...]
    losses: Tensor
    holes: int
    loss: float
    labels: tuple[str, ...]
    path: Tensor | None
    site: Site
    cost: Cost


def surface(
    landscape: Landscape,
    plane: Plane,
    *,
    span: float | Sequence[tuple[float, float]] = 1.0,
    points: int = 25,
    progress: Progress = None,
) -> Surface:
    """The loss at `origin + sum_k a_k d_k` on a grid of coordinates.

    Takes one loss and `points` (or `points^2`) more.

    Args:
        landscape: what to measure.
        plane: where.
        span: coordinates go from -span to span; or (low, high) for each axis, e.g. around a path.
        points: along each axis, at least 2; an odd number includes the middle.
        progress: called with (done, all points) after each.

    Raises:
        ValueError: if the plane is of another block, an argument is out of its range, or the model has diverged.
    """
    count = len(plane.directions)
    ranges = [(-span, span)] * count if isinstance(span, (int, float)) else list(span)
    whole(points=points)
    if points < 2 or len(ranges) != count or not all(-math.inf < low < high < math.inf for low, high in ranges):
        raise ValueError(f"surface expects points >= 2 and low < high for {count} axes, found {points=}, {span=}.")
    if plane.directions.shape[1] != landscape.size:
        raise ValueError(f"The plane has {plane.directions.shape[1]} dimensions, the block {landscape.size}.")
    before, loss = landscape.spent, landscape.base()
    axes = tuple(torch.linspace(low, high, points, dtype=torch.float64) for low, high in ranges)
    heights = _heights(landscape, plane, list(product(*(axis.tolist() for axis in axes))), progress)
    losses = torch.tensor(heights, dtype=torch.float64).reshape([points] * count)
    losses = torch.where(losses.isfinite(), losses, torch.nan)
    holes, cost = int(losses.isnan().sum()), landscape.spent.plus(before, -1)
    return Surface(axes, losses, holes, loss, plane.labels, plane.path, landscape.site, cost)


def _heights(landscape: Landscape, plane: Plane, grid: Sequence[tuple[float, ...]], progress: Progress) -> list[float]:
    offset = None if plane.origin is None else plane.origin - landscape.position()
    heights = []
    for coordinates in grid:
        step = plane.directions.new_tensor(coordinates) @ plane.directions
        heights.append(landscape.loss(step if offset is None else step.add_(offset)))
        tell(progress, len(heights), len(grid))
    return heights


def _scaled(landscape: Landscape, noise: Tensor, normalize: str) -> Tensor:
    parts = []
    for weight, direction in zip(landscape.weights, landscape.split(noise), strict=True):
        if weight.dim() < 2:
            parts.append(torch.zeros_like(direction).flatten())
            continue
        rows = (len(weight), -1) if normalize == "filter" else (1, -1)
        rows_of_weight, drawn = weight.detach().reshape(rows), direction.reshape(rows)
        parts.append((drawn * (rows_of_weight.norm(dim=1, keepdim=True) / drawn.norm(dim=1, keepdim=True))).flatten())
    return torch.cat(parts)


def _axes(axes: int) -> None:
    if axes not in (1, 2):
        raise ValueError(f"A surface has 1 or 2 axes, found {axes!r}.")

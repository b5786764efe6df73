"""The Hessian's spectral density: how many directions curve how much.

spectrum = density(landscape)
spectrum.grid, spectrum.values, spectrum.mass            # integrates to one
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from msam.sharpness.krylov import Krylov, room
from msam.sharpness.landscape import Landscape
from msam.sharpness.record import Cost, Progress, Site, mean_and_error, tell
from msam.validation import whole


@dataclass(frozen=True)
class Density:
    """How the Hessian's eigenvalues are distributed, as a smooth density.

    Args:
        grid: eigenvalues, `[points]`, equally spaced.
        values: density at each, `[points]`; integrates to one over the grid.
        errors: standard error of each over the probes, `[points]`.
        width: standard deviation of the Gaussian that each node was spread to.
        nodes: eigenvalues of the tridiagonal matrices of all probes, `[nodes]`.
        shares: how much of the spectrum each stands for, `[nodes]`; they sum to one.
        trace: the Hessian's trace, from the same probes.
        trace_error: its standard error.
        loss: the loss at the weights as they are.
        site: what was measured.
        cost: what it took.
    """

    grid: Tensor
    values: Tensor
    errors: Tensor
    width: float
    nodes: Tensor
    shares: Tensor
    trace: float
    trace_error: float
    loss: float
    site: Site
    cost: Cost

    @property
    def mass(self) -> float:
        """The integral over the grid."""
        return float(torch.trapezoid(self.values, self.grid))


def density(
    landscape: Landscape,
    probes: int = 10,
    steps: int = 30,
    *,
    width: float = 0.01,
    basis: int | None = None,
    progress: Progress = None,
) -> Density:
    """Spectral density by stochastic Lanczos quadrature (Ubaru et al. 2017; Ghorbani et al. 2019, arXiv 1901.10159).

    From each of some random unit vectors Lanczos makes a tridiagonal T. Its eigenvalues `t_i`, with the squared first
    entries of its eigenvectors as weights, are a Gauss quadrature of the spectrum as that vector sees it:

        density(x) = mean over probes of sum_i weight_i N(x; t_i, width^2)

    A new vector is made orthogonal to the last `basis` only. Rounding then lets large eigenvalues appear more than
    once, but their weights share what one would have (Chen et al. 2021, arXiv 2105.06595): the density stays.

    Takes one loss and at most `probes * steps` Hessian-vector products; keeps `basis` vectors.

    Args:
        landscape: what to measure.
        probes: random vectors, at least 2.
        steps: Lanczos steps of each.
        width: standard deviation of the Gaussians, as a share of the distance between the extreme nodes, in [1e-4, 1].
        basis: vectors kept, at least 2; if None 6, and all `steps` of a small model.
        progress: called with (done, probes * steps) after each product; exhausted probes are shorter.

    Raises:
        ValueError: if an argument is out of its range, the model has diverged, or there is no second derivative.
    """
    whole(probes=probes, steps=steps)
    if probes < 2 or not 1e-4 <= width <= 1:
        raise ValueError(f"density expects probes >= 2 and width in [1e-4, 1], found {probes=}, {width=}.")
    kept = room(landscape, steps) if basis is None else basis
    if kept < 2:
        raise ValueError(f"density needs a basis of at least 2 vectors, found {basis!r}.")
    before, loss, generator = landscape.spent, landscape.base(), landscape.generator()
    measures = []
    for number in range(probes):
        krylov = Krylov(landscape, landscape.noise(generator), window=kept)
        while krylov.steps < steps and not krylov.exhausted:
            krylov.grow()
            tell(progress, number * steps + krylov.steps, probes * steps)
        nodes, _, mixture = krylov.ritz()
        measures.append((nodes, mixture[0].square()))
    mean, error = mean_and_error([landscape.size * float(nodes @ shares) for nodes, shares in measures])
    cost = landscape.spent.plus(before, -1)
    return Density(*_smooth(measures, width), mean, error, loss, landscape.site, cost)


def _smooth(
    measures: Sequence[tuple[Tensor, Tensor]], relative: float
) -> tuple[Tensor, Tensor, Tensor, float, Tensor, Tensor]:
    """Grid, density, its error, width, all nodes and their shares; ten points a width, six widths beyond the nodes."""
    nodes, shares = (torch.cat(parts) for parts in zip(*measures, strict=True))
    low, high = float(nodes.min()), float(nodes.max())
    extent = high - low or abs(high) or 1.0
    width = relative * extent
    grid = torch.linspace(low - 6 * width, high + 6 * width, math.ceil(10 * (high - low) / width) + 121).double()
    each = torch.stack([_spread(grid, *one, width) for one in measures])
    return grid, each.mean(0), each.std(0) / math.sqrt(len(measures)), width, nodes, shares / len(measures)


def _spread(grid: Tensor, nodes: Tensor, shares: Tensor, width: float) -> Tensor:
    distance = (grid[:, None] - nodes) / width
    return (-distance.square() / 2).exp() @ shares / (width * math.sqrt(2 * math.pi))

"""The Hessian's extreme eigenvalues: how sharply the loss curves in its sharpest directions.

top = top_eigenvalues(landscape, count=3)
top.values, top.residuals, top.converged
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from msam.sharpness.krylov import BASIS, Krylov, room
from msam.sharpness.landscape import Landscape
from msam.sharpness.record import Cost, Progress, Site, tell
from msam.validation import one_of, positive, whole

Which = Literal["largest", "smallest", "magnitude"]


@dataclass(frozen=True)
class Eigenvalues:
    """Extreme eigenvalues of the Hessian, the most extreme first.

    Args:
        values: estimates `[count]`.
        residuals: `|H v - value v|` of each, `[count]`: an eigenvalue lies within this distance of the estimate.
        converged: whether every residual is within the tolerance.
        vectors: eigenvectors `[count, size]`, if they were asked for.
        steps: Lanczos steps made, one Hessian-vector product each.
        loss: the loss at the weights as they are.
        site: what was measured.
        cost: what it took.
    """

    values: tuple[float, ...]
    residuals: tuple[float, ...]
    converged: bool
    vectors: Tensor | None
    steps: int
    loss: float
    site: Site
    cost: Cost


def top_eigenvalues(
    landscape: Landscape,
    count: int = 1,
    *,
    which: Which = "largest",
    steps: int = 60,
    tolerance: float = 1e-4,
    basis: int | None = None,
    vectors: bool = False,
    progress: Progress = None,
) -> Eigenvalues:
    """Extreme eigenvalues by the Lanczos method with full reorthogonalisation and thick restarts.

    From a random start `q_1` it builds an orthonormal basis `Q` of `span{q_1, H q_1, H^2 q_1, ...}`, in which H is the
    tridiagonal `T = Q^T H Q`. The eigenvalues of T approach the extreme ones of H from inside. Stops as soon as the
    residuals of those asked for are at most `tolerance` times the largest magnitude in T, or after `steps`; read
    `converged`. An eigenvalue that repeats exactly is found once, unless steps are left when the rest is known.
    (Lanczos 1950; Golub and Van Loan, Matrix Computations, chapter 10.) When the basis is full, it goes on from the
    best half of the eigenvector estimates (Wu and Simon 2000): a larger basis takes fewer products, for more memory.

    Takes one loss and at most `steps` Hessian-vector products; keeps `basis` vectors.

    Args:
        landscape: what to measure.
        count: how many eigenvalues.
        which: `largest`, `smallest` (the most negative), or those of largest `magnitude`.
        steps: at most so many products, at least `count`.
        tolerance: of the residuals, relative to the largest magnitude.
        basis: vectors kept, more than `count`; if None 6, or twice `count` and 4, and up to `steps` of a small model.
        vectors: return eigenvectors too.
        progress: called with (done, steps) after each product; an early stop leaves done below steps.

    Raises:
        ValueError: if an argument is out of its range, the model has diverged, or there is no second derivative.
    """
    one_of("which", which, get_args(Which))
    positive(tolerance=tolerance)
    whole(count=count, steps=steps)
    if count > min(steps, landscape.size):
        raise ValueError(f"{count} eigenvalues need as many steps and parameters, found {steps=}, {landscape.size}.")
    kept = room(landscape, steps, max(BASIS, 2 * count + 4)) if basis is None else basis
    if not (isinstance(kept, int) and kept > count):
        raise ValueError(f"basis must be a whole number above the {count} eigenvalues asked for, found {basis!r}.")
    before, loss, generator = landscape.spent, landscape.base(), landscape.generator()
    krylov = Krylov(landscape, landscape.noise(generator))
    chosen, within = _grown(krylov, count, which, (steps, kept), tolerance, generator, progress)
    values, residuals, mixture = (part[..., chosen] for part in krylov.ritz())
    eigenvectors = torch.stack([krylov.combined(column) for column in mixture.T]) if vectors else None
    cost = landscape.spent.plus(before, -1)
    numbers = tuple(values.tolist()), tuple(residuals.tolist())
    return Eigenvalues(*numbers, within, eigenvectors, krylov.steps, loss, landscape.site, cost)


def _grown(
    krylov: Krylov,
    count: int,
    which: Which,
    limits: tuple[int, int],
    tolerance: float,
    generator: torch.Generator,
    progress: Progress,
) -> tuple[Tensor, bool]:
    """Grows until the eigenvalues asked for have converged; their positions, and whether they have."""
    (steps, kept), restarted = limits, False
    while True:
        krylov.grow()
        tell(progress, krylov.steps, steps)
        values, residuals, _ = krylov.ritz()
        order = _extremes(values, which)
        chosen = order[:count]
        within = len(chosen) == count and bool((residuals[chosen] <= tolerance * values.abs().max()).all())
        restarted = restarted or krylov.exhausted
        if krylov.steps == steps or len(krylov.basis) == krylov.landscape.size or (within and not restarted):
            return chosen, within
        if len(krylov.basis) == kept:
            krylov.shrink(order[: (count + kept) // 2])
        if krylov.exhausted:
            krylov.restart(krylov.landscape.noise(generator))


def _extremes(values: Tensor, which: Which) -> Tensor:
    keys = {"largest": values, "smallest": -values, "magnitude": values.abs()}
    return keys[which].argsort(descending=True)

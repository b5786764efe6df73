"""The Hessian's trace: the mean curvature over all directions, times their number.

trace(landscape, products=60)                            # Hutchinson
trace(landscape, products=60, estimator="hutch++")       # where few eigenvalues dominate
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from msam.sharpness.krylov import ROUNDING, orthogonal, room
from msam.sharpness.landscape import Landscape
from msam.sharpness.record import Cost, Progress, Site, mean_and_error, tell
from msam.validation import one_of, whole

Estimator = Literal["hutchinson", "hutch++"]


@dataclass(frozen=True)
class Trace:
    """The sum of the Hessian's eigenvalues, estimated.

    Args:
        value: the estimate, unbiased.
        error: its standard error; 0 if the value is exact.
        loss: the loss at the weights as they are.
        site: what was measured.
        cost: what it took.
    """

    value: float
    error: float
    loss: float
    site: Site
    cost: Cost


def trace(
    landscape: Landscape,
    products: int = 60,
    *,
    estimator: Estimator = "hutchinson",
    basis: int | None = None,
    progress: Progress = None,
) -> Trace:
    """The Hessian's trace from Hessian-vector products with random signs `z`: `E z^T H z = tr H`.

    `hutchinson` (1990) averages `products` of them and keeps two vectors. `hutch++` (Meyer et al. 2021, arXiv
    2010.09649) spends a third on an orthonormal basis Q of the range of H, a third on `tr Q^T H Q`, exactly, and the
    rest on what is orthogonal to Q. Its errors are far smaller where few eigenvalues dominate, but it keeps Q: `basis`
    vectors at most, in place of which more of the rest are drawn. Both give the standard error of their random part.

    Takes one loss and `products` Hessian-vector products.

    Args:
        landscape: what to measure.
        products: how many Hessian-vector products, at least 2 (`hutch++`: 6).
        estimator: `hutchinson` or `hutch++`.
        basis: the most vectors that `hutch++` keeps, at least 1; if None 6, and all of a small model.
        progress: called with (done, products) after each.

    Raises:
        ValueError: if an argument is out of its range, the model has diverged, or there is no second derivative.
    """
    one_of("estimator", estimator, get_args(Estimator))
    kept = room(landscape, products) if basis is None else basis
    whole(products=products, basis=kept)
    least = 2 if estimator == "hutchinson" else 6
    if products < least:
        raise ValueError(f"{estimator} needs at least {least} products to give an error, found {products}.")
    before, loss, generator = landscape.spent, landscape.base(), landscape.generator()

    def image(vector: Tensor) -> Tensor:
        product = landscape.curvature(vector)
        tell(progress, round(landscape.spent.products - before.products), products)
        return product

    sketched = min(products // 3, kept) if estimator == "hutch++" else 0
    sketch = _range(image, (landscape.signs(generator) for _ in range(sketched)))
    inside = sum(float(q @ image(q)) for q in sketch)
    if len(sketch) < landscape.size:
        probes = (orthogonal(landscape.signs(generator), sketch) for _ in range(products - 2 * sketched))
        outside, error = mean_and_error([float(probe @ image(probe)) for probe in probes])
    else:
        outside, error = 0.0, 0.0
    return Trace(inside + outside, error, loss, landscape.site, landscape.spent.plus(before, -1))


def _range(image: Callable[[Tensor], Tensor], probes: Iterable[Tensor]) -> list[Tensor]:
    """An orthonormal basis of the images of the probes."""
    basis: list[Tensor] = []
    for probe in probes:
        product = image(probe)
        rest = orthogonal(product, basis)
        if float(rest.norm()) > ROUNDING * torch.finfo(rest.dtype).eps * float(product.norm()):
            basis.append(rest.div_(rest.norm()))
    return basis

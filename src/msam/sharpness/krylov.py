"""The Lanczos process: an orthonormal basis in which the Hessian is tridiagonal, grown one product `H v` at a time.

    krylov = Krylov(landscape, start)
    krylov.grow()                                   # one Hessian-vector product
    values, residuals, mixture = krylov.ritz()

The basis is kept whole, so that each new vector can be made orthogonal to all of it: without that, rounding makes
copies of eigenvalues appear. Memory is as many vectors as there are steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from msam.sharpness.landscape import Landscape

ROUNDING = 100
"""A remainder below so many rounding errors is none."""


class Krylov:
    """An orthonormal basis in which the Hessian is tridiagonal, grown one product at a time.

    Args:
        landscape: whose Hessian.
        start: the first direction, of any length.

    Attributes:
        basis: orthonormal vectors, `[size]` each.
        exhausted: whether the basis cannot grow from here, because H maps its span to itself.
    """

    def __init__(self, landscape: Landscape, start: Tensor) -> None:
        self.landscape = landscape
        self.basis: list[Tensor] = []
        self.exhausted = False
        self._ahead = start / start.norm()
        self._diagonal: list[float] = []
        self._coupling: list[float] = []

    def grow(self) -> None:
        """One more vector, for one product."""
        self.basis.append(self._ahead)
        image = self.landscape.curvature(self._ahead)
        self._diagonal.append(float(image @ self._ahead))
        rest = orthogonal(image, self.basis)
        length = float(rest.norm())
        negligible = ROUNDING * torch.finfo(rest.dtype).eps * max(map(abs, self._diagonal + self._coupling))
        self.exhausted = length <= negligible or len(self.basis) >= len(rest)
        self._coupling.append(0.0 if self.exhausted else length)
        self._ahead = rest if self.exhausted else rest.div_(length)

    def restart(self, fresh: Tensor) -> None:
        """Goes on in a new direction, after exhaustion."""
        rest = orthogonal(fresh, self.basis)
        self._ahead = rest.div_(rest.norm())

    def ritz(self) -> tuple[Tensor, Tensor, Tensor]:
        """Eigenvalues of T, ascending, `[k]`; their residuals `[k]`; eigenvectors in terms of the basis `[k, k]`."""
        beside = torch.tensor(self._coupling[:-1], dtype=torch.float64)
        middle = torch.tensor(self._diagonal, dtype=torch.float64)
        values, mixture = torch.linalg.eigh(torch.diag(middle) + torch.diag(beside, 1) + torch.diag(beside, -1))
        return values, self._coupling[-1] * mixture[-1].abs(), mixture

    def combined(self, mixture: Tensor) -> Tensor:
        """The sum of basis vectors with these coefficients."""
        total = torch.zeros_like(self.basis[0])
        for share, q in zip(mixture.tolist(), self.basis, strict=True):
            total.add_(q, alpha=share)
        return total


def orthogonal(vector: Tensor, basis: list[Tensor]) -> Tensor:
    """What of a vector is orthogonal to an orthonormal basis, to rounding: projected out twice."""
    rest = vector.clone()
    for q in (*basis, *basis):
        rest.sub_(q, alpha=float(q @ rest))
    return rest

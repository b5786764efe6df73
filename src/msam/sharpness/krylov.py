"""The Lanczos process: an orthonormal basis in which the Hessian is small and known, grown one product `H v` at a time.

    krylov = Krylov(landscape, start)
    krylov.grow()                                   # one Hessian-vector product
    values, residuals, mixture = krylov.ritz()
    krylov.shrink(chosen)                           # keeps the best of what was found, in fewer vectors

Each new vector is made orthogonal to all others: without that, rounding makes copies of eigenvalues appear. Memory is
as many vectors as the basis has; to bound it, `shrink` starts again from eigenvector estimates (the thick restart of Wu
and Simon 2000), or `window` forgets old vectors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from msam.sharpness.landscape import Landscape

ROUNDING = 100
"""A remainder below so many rounding errors is none."""
BASIS = 6
"""So many vectors may be kept of any model: with them a measurement of a ResNet-18 takes less than three times the
memory of a gradient."""
NUMBERS = 2**24
"""More are kept of small models, as long as they are no more numbers than this."""


def room(landscape: Landscape, useful: int, least: int = BASIS) -> int:
    """How many vectors to keep where nothing is said: as many as are of use, if they are small."""
    return max(least, min(useful, NUMBERS // landscape.size))


class Krylov:
    """An orthonormal basis `Q` with `H Q = Q T + q b^T`, `q` the next vector; grown one product at a time.

    Args:
        landscape: whose Hessian.
        start: the first direction, of any length.
        window: make a new vector orthogonal to so many of the last ones, and forget those before; None for all.

    Attributes:
        basis: orthonormal vectors, `[size]` each.
        steps: products made.
        exhausted: whether the basis cannot grow from here, because H maps its span to itself.
    """

    def __init__(self, landscape: Landscape, start: Tensor, window: int | None = None) -> None:
        self.landscape, self.window = landscape, window
        self.basis: list[Tensor] = []
        self.steps = 0
        self.exhausted = False
        self._ahead = start / start.norm()
        self._matrix = torch.zeros(0, 0, dtype=torch.float64)
        self._border = torch.zeros(0, dtype=torch.float64)

    def grow(self) -> None:
        """One more vector, for one product."""
        self.basis.append(self._ahead)
        if self.window:
            del self.basis[: -self.window]
        self.steps += 1
        image = self.landscape.curvature(self._ahead)
        self._extend(float(image @ self._ahead))
        rest = orthogonal(image, self.basis)
        length = float(rest.norm())
        negligible = ROUNDING * torch.finfo(rest.dtype).eps * float(self._matrix.abs().max())
        self.exhausted = length <= negligible or len(self._matrix) >= len(rest)
        self._border[-1] = 0.0 if self.exhausted else length
        self._ahead = rest if self.exhausted else rest.div_(length)

    def _extend(self, middle: float) -> None:
        size = len(self._matrix)
        matrix = torch.zeros(size + 1, size + 1, dtype=torch.float64)
        matrix[:size, :size], matrix[size, :size], matrix[:size, size] = self._matrix, self._border, self._border
        matrix[size, size] = middle
        self._matrix, self._border = matrix, torch.zeros(size + 1, dtype=torch.float64)

    def restart(self, fresh: Tensor) -> None:
        """Goes on in a new direction, after exhaustion."""
        rest = orthogonal(fresh, self.basis)
        self._ahead = rest.div_(rest.norm())

    def ritz(self) -> tuple[Tensor, Tensor, Tensor]:
        """Eigenvalues of T, ascending, `[k]`; their residuals `[k]`; eigenvectors in terms of the basis `[k, k]`."""
        values, mixture = torch.linalg.eigh(self._matrix)
        return values, (self._border @ mixture).abs(), mixture

    def shrink(self, chosen: Tensor) -> None:
        """Goes on with some of the eigenvector estimates as the basis, which lose nothing of what they are."""
        values, _, mixture = self.ritz()
        self.basis = [self.combined(column) for column in mixture[:, chosen].T]
        self._matrix, self._border = torch.diag(values[chosen]), self._border @ mixture[:, chosen]

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

"""From stored values to the float32 that a model takes, a batch at a time.

scale = scale_of(Modality("image", (3, 64, 64), "uint8", scale=1 / 255))
scale(stored[rows])                                # [batch, 3, 64, 64], float32
standardised(scale, stored, rows, axis=1)          # a Scaling that also removes mean and deviation of these rows
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from msam_bench.data.modality import Modality

_CHUNK = 256
"""Samples that are in memory at a time while moments are measured."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """`stored * factor + shift` in `dtype`; no factor and no shift leave the values as they are.

    Args:
        dtype: What stored values become first.
        factor: Shaped to broadcast with `[samples, *shape]`.
        shift: Likewise.
        impute: Whether NaN becomes 0, which is the mean of standardised values.
    """

    dtype: torch.dtype = torch.float32
    factor: Tensor | None = None
    shift: Tensor | None = None
    impute: bool = False

    def __call__(self, stored: Tensor) -> Tensor:
        """The values of some samples; a view where nothing has to change."""
        values = stored.to(self.dtype)
        if self.factor is None or self.shift is None:
            return values
        scaled = torch.addcmul(self.shift, values, self.factor, out=None if values is stored else values)
        return scaled.nan_to_num_(nan=0.0) if self.impute else scaled


def scale_of(spec: Modality) -> Scaling:
    """The scale that a modality declares; the moments of its training split come on top (`standardised`)."""
    if spec.kind == "tokens":
        return Scaling(torch.int64)
    if spec.scale == 1.0 and spec.shift == 0.0:
        return Scaling()
    return Scaling(torch.float32, _broadcast(spec.scale, spec), _broadcast(spec.shift, spec))


def standardised(scale: Scaling, stored: Tensor, rows: Tensor | None, axis: int, impute: bool = False) -> Scaling:
    """A scale, followed by one to mean 0 and variance 1 of each entry of an axis over some rows.

    Moments are in float64 and read a few samples at a time; an entry that never changes is only shifted.

    Args:
        scale: What comes first.
        stored: `[samples, *shape]`.
        rows: Which samples; all if None.
        axis: Of `stored`: the channels or features.
        impute: Whether NaN is a missing value, which the moments leave out and the scale puts at the mean.
    """
    moments = _known_moments if impute else _moments
    mean, deviation = moments(_parts(scale, stored, rows), axis)
    factor, shift = (1.0, 0.0) if scale.factor is None or scale.shift is None else (scale.factor, scale.shift)
    return Scaling(scale.dtype, (factor / deviation).float(), ((shift - mean) / deviation).float(), impute)


def _broadcast(value: float | tuple[float, ...], spec: Modality) -> Tensor:
    """One number, or numbers along the channels' axis, shaped for `[samples, *shape]`."""
    shape = [1] * (len(spec.shape) + 1)
    if isinstance(value, tuple):
        shape[spec.axis + 1] = len(value)
    return torch.tensor(value, dtype=torch.float64).reshape(shape).float()


def _parts(scale: Scaling, stored: Tensor, rows: Tensor | None) -> Iterator[Tensor]:
    """The scaled values of some rows, a few at a time."""
    for start in range(0, len(stored) if rows is None else len(rows), _CHUNK):
        chosen = slice(start, start + _CHUNK)
        yield scale(stored[chosen if rows is None else rows[chosen]]).double()


def _moments(parts: Iterator[Tensor], axis: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation along all other axes, merged from parts (Chan, Golub and LeVeque 1979).

    Returns:
        Both shaped to broadcast; 1 in place of the deviation of a constant.
    """
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    low, high = torch.full((), torch.inf), torch.full((), -torch.inf)
    for part in parts:
        others = [each for each in range(part.dim()) if each != axis]
        size = part.numel() // part.shape[axis]
        local = part.mean(others, keepdim=True)
        within, step, share = (part - local).square().sum(others, keepdim=True), local - mean, size / (count + size)
        squares, mean, count = squares + within + step.square() * count * share, mean + step * share, count + size
        low = torch.minimum(low, part.amin(others, keepdim=True))
        high = torch.maximum(high, part.amax(others, keepdim=True))
    return mean, (squares / count).sqrt().masked_fill(low == high, 1.0)


def _known_moments(parts: Iterator[Tensor], axis: int) -> tuple[Tensor, Tensor]:
    """As `_moments`, of values that are not NaN; mean 0 and deviation 1 where all are."""
    zero = torch.zeros(())
    count, mean, squares = zero, zero, zero
    low, high = torch.full((), torch.inf), torch.full((), -torch.inf)
    for part in parts:
        others = [each for each in range(part.dim()) if each != axis]
        known = part.isnan().logical_not()
        size = known.sum(others, keepdim=True).double()
        own = part.nansum(others, keepdim=True) / size.clamp(min=1)
        within = (part - own).square().nansum(others, keepdim=True)
        step, share = own - mean, size / (count + size).clamp(min=1)
        squares, mean, count = squares + within + step.square() * count * share, mean + step * share, count + size
        low = torch.minimum(low, part.nan_to_num(nan=torch.inf).amin(others, keepdim=True))
        high = torch.maximum(high, part.nan_to_num(nan=-torch.inf).amax(others, keepdim=True))
    return mean, (squares / count.clamp(min=1)).sqrt().masked_fill(low >= high, 1.0)

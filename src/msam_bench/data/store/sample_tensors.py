"""The tensors of a sample as they are stored: their shapes and types, and what cannot be stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite

import torch
from torch import Tensor

from msam_bench.data.modality import Modality
from msam_bench.data.store.manifest import Header
from msam_bench.data.store.plan import Plan, Read, Sample


def measure_specs(header: Header, plan: Plan, read_item: Read) -> dict[str, Modality]:
    """The header's modalities with the shapes of the first samples that have them."""
    shapes: dict[str, tuple[int, ...]] = {}
    for sample in (sample for samples in plan.values() for sample in samples):
        if set(header.modalities) - set(shapes) - sample.absent:
            tensors = read_item(sample.item)
            _check_names(sample, tensors, header.modalities)
            shapes |= {name: tuple(tensor.shape) for name, tensor in tensors.items() if name not in shapes}
        if len(shapes) == len(header.modalities):
            return {name: replace(spec, shape=shapes[name]) for name, spec in header.modalities.items()}
    missing = [name for name in header.modalities if name not in shapes]
    raise ValueError(f"Expected a sample with the modality '{missing[0]}', found none: leave it out.")


def to_stored(
    sample: Sample, tensors: Mapping[str, Tensor], specs: Mapping[str, Modality], imputed: Sequence[str]
) -> dict[str, Tensor]:
    """The tensors of a sample in the types they are stored in; zeros for what it lacks."""
    _check_names(sample, tensors, specs)
    return {
        name: torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype))
        if name in sample.absent
        else _stored(tensors[name], spec, f"modality '{name}' of '{sample.id}'", name in imputed)
        for name, spec in specs.items()
    }


def _check_names(sample: Sample, tensors: Mapping[str, Tensor], specs: Mapping[str, Modality]) -> None:
    expected = [name for name in specs if name not in sample.absent]
    if set(tensors) != set(expected):
        raise ValueError(
            f"Expected the modalities {', '.join(expected)} of '{sample.id}', found {', '.join(tensors) or 'none'}."
        )


def _stored(tensor: Tensor, spec: Modality, where: str, imputed: bool) -> Tensor:
    """A tensor as it is stored; NaN only where missing values are imputed when the data are loaded."""
    if tuple(tensor.shape) != spec.shape:
        raise ValueError(f"Expected shape {list(spec.shape)} in {where}, as before, found {list(tensor.shape)}.")
    dtype: torch.dtype = getattr(torch, spec.dtype)
    if not dtype.is_floating_point and tensor.is_floating_point():
        raise ValueError(f"Expected whole numbers in {where}, to be stored as {spec.dtype}, found {tensor.dtype}.")
    stored = tensor.to(dtype)
    finite = torch.isfinite(stored) | stored.isnan() if imputed else torch.isfinite(stored)
    if dtype.is_floating_point and not bool(finite.all()):
        _refuse_infinite(tensor, stored, where)
    if not dtype.is_floating_point and not torch.equal(stored.to(tensor.dtype), tensor):
        raise ValueError(f"Expected values that fit {spec.dtype} in {where}, found {int(tensor.max())}.")
    return stored


def _refuse_infinite(tensor: Tensor, stored: Tensor, where: str) -> None:
    place = int(torch.isfinite(stored).logical_not().flatten().nonzero()[0])
    value = float(tensor.flatten()[place])
    advice = "store it as float32" if isfinite(value) else "repair the sample, or leave it out"
    raise ValueError(f"Expected finite numbers of {stored.dtype} in {where}, found {value}: {advice}.")

"""Samples that lack a modality: one boolean a sample, beside the modality in the same batch.

    inputs = {"audio": audio, "image": image, "audio/present": torch.tensor([True, False, True])}

A plain tensor under a plain key goes through data loaders, devices, slices of a batch and engines as any other input.
What a row holds that is absent does not matter, NaN included: every pass sees zeros there. In contributions such a
sample lacks the modality in every coalition, in the attribution's own sense of absence: it makes no difference to any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import methodcaller

import torch
from torch import Tensor

from msam.types import Features, Inputs

SUFFIX = "/present"
"""`inputs[modality + SUFFIX]`: booleans `[batch]`, which samples have the modality; all of them without the key."""

is_mask = methodcaller("endswith", SUFFIX)
"""Whether a key of a batch is that of such booleans."""


def zero_absent_rows(inputs: Inputs) -> Inputs:
    """Inputs with zeros in the rows of samples that lack the modality.

    Raises:
        ValueError: if a mask belongs to no modality, or is not one boolean a sample.
    """
    masks = _masks(inputs)
    return {**inputs, **{name: _chosen(mask, inputs[name], None) for name, mask in masks.items()}} if masks else inputs


def completed(values: Features, absent: Features, inputs: Inputs) -> dict[str, Tensor]:
    """Features, or inputs, with an absent one's in the rows of samples that lack the modality.

    Args:
        values: `[batch, ...]` each.
        absent: `[1, ...]` or `[batch, ...]` each.
        inputs: the batch, with its masks.
    """
    masks = _masks(inputs)
    return {
        name: _chosen(masks[name], value, absent[name].to(value.dtype)) if name in masks else value
        for name, value in values.items()
    }


def absent_masks(modalities: Iterable[str], inputs: Inputs) -> dict[str, Tensor]:
    """The masks of these modalities as they are in a coalition without them, for a model that reads masks."""
    keys = [name + SUFFIX for name in modalities if name + SUFFIX in inputs]
    return {key: torch.zeros_like(inputs[key]) for key in keys}


def _masks(inputs: Inputs) -> dict[str, Tensor]:
    """Modality -> which samples have it, for those that some may lack."""
    keys = [key for key in inputs if is_mask(key)] if isinstance(inputs, Mapping) else []
    masks = {key.removesuffix(SUFFIX): inputs[key] for key in keys}
    for name, mask in masks.items():
        if name not in inputs:
            raise ValueError(f"Expected the modality {name!r} beside {name + SUFFIX!r}, found {list(inputs)}; add it.")
        if mask.dtype != torch.bool or mask.shape != inputs[name].shape[:1]:
            raise ValueError(
                f"{name + SUFFIX!r} must be one boolean a sample, [{len(inputs[name])}], found {mask.dtype} "
                f"{list(mask.shape)}; say True where the sample has the modality."
            )
    return masks


def _chosen(mask: Tensor, value: Tensor, otherwise: Tensor | None) -> Tensor:
    rows = mask.to(value.device).view(-1, *[1] * (value.dim() - 1))
    return torch.where(rows, value, torch.zeros_like(value) if otherwise is None else otherwise)

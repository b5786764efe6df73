"""Samples that lack a modality: one boolean a sample, beside the modality in the same batch.

    inputs = {"audio": audio, "image": image, "audio/present": torch.tensor([True, False, True])}

A plain tensor under a plain key goes through data loaders, devices, slices of a batch and engines as any other input.
What a row holds that is absent does not matter, NaN included: every pass sees zeros there. In contributions such a
sample lacks the modality in every coalition, in the attribution's own sense of absence: it makes no difference to any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import methodcaller
from typing import Any

import torch
from torch import Tensor

from msam.nested import chosen_rows
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
    zeroed = {name: chosen_rows(mask, inputs[name], None) for name, mask in masks.items()}
    return {**inputs, **zeroed} if masks else inputs


def completed(values: Mapping[str, Any], absent: Mapping[str, Any], inputs: Inputs) -> dict[str, Any]:
    """Features, or inputs, with an absent one's in the rows of samples that lack the modality.

    Args:
        values: `[batch, ...]` each.
        absent: `[1, ...]` or `[batch, ...]` each.
        inputs: the batch, with its masks.
    """
    masks = _masks(inputs)
    return {
        name: chosen_rows(masks[name], value, absent[name]) if name in masks else value
        for name, value in values.items()
    }


def without_missing(features: Features, absent: Features, inputs: Inputs) -> dict[str, Tensor]:
    """Features in which a modality whose input is None, which all samples lack, is absent.

    Args:
        features: `[batch, ...]` each.
        absent: `[1, ...]` or `[batch, ...]` each.
        inputs: the batch.
    """
    batch = max(map(len, features.values()))
    missing = {name: absent[name] for name in features if inputs[name] is None}
    return {**features, **{name: each.expand(batch, *each.shape[1:]) for name, each in missing.items()}}


def check_absent_rows(features: Features, inputs: Inputs) -> None:
    """Refuses encoders that make no numbers of the zeros in the rows of samples that lack their modality.

    Args:
        features: of a pass, `[batch, ...]` each.
        inputs: the batch, with its masks.

    Raises:
        ValueError: naming the modality, where the other rows have numbers.
    """
    for name, mask in _masks(inputs).items():
        rows = features[name].detach().flatten(1).isfinite().all(1) if name in features else mask
        there = mask.to(rows.device)
        if len(rows) == len(there) and not bool(rows[~there].all()) and bool(rows[there].all()):
            raise ValueError(
                f"Samples that lack {name!r} are given zeros, of which its encoder makes values that are no numbers; "
                "let the encoder take zeros, or leave such samples out."
            )


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
        value = inputs[name]
        samples = [value.size(0)] if isinstance(value, Tensor) and value.dim() else list(mask.shape)
        if mask.dtype != torch.bool or mask.dim() != 1 or list(mask.shape) != samples:
            raise ValueError(
                f"{name + SUFFIX!r} must be one boolean a sample, {samples}, found {mask.dtype} "
                f"{list(mask.shape)}; say True where the sample has the modality."
            )
    return masks

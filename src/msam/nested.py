"""Inputs that are no single tensor: None, mappings, lists and packed sequences, taken apart by samples.

    zeros_of(value)                        # zeros in every tensor, lengths of sequences kept
    rows_of(value, rows, batch)            # some of the samples
    moved_to(value, device)

A tensor belongs to the samples if its first dimension is the batch; a list, if it has one entry a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from copy import copy
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


def map_tensors(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The same value with every tensor in it changed; anything else is kept."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, PackedSequence):
        return PackedSequence(change(value[0]), *value[1:])
    return _rebuilt(value, lambda part: map_tensors(change, part))


def moved_to(value: Any, device: torch.device) -> Any:
    """The same value on a device; one in pinned memory is copied to an accelerator while that computes."""
    if isinstance(value, PackedSequence):
        return value.to(device)  # type: ignore[arg-type]  # torch declares fewer forms than it has
    return (
        value.to(device, non_blocking=device.type != "cpu")
        if isinstance(value, Tensor)
        else _rebuilt(value, lambda part: moved_to(part, device))
    )


def has_tensors(value: Any) -> bool:
    """Whether there is a tensor in a value."""
    seen: list[Tensor] = []
    map_tensors(lambda tensor: seen.append(tensor) or tensor, value)  # type: ignore[func-returns-value]
    return bool(seen)


def samples_in(value: Any) -> int | None:
    """Number of samples that an input has, None if it does not tell."""
    if isinstance(value, PackedSequence):
        return int(value.batch_sizes[0])
    if isinstance(value, Tensor):
        return len(value) if value.dim() else None
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    counts = [count for count in map(samples_in, parts) if count is not None]
    return counts[0] if counts else len(value) if isinstance(value, list) else None


def zeros_of(value: Any) -> Any:
    """The same value with zeros in every tensor; None stays None.

    Raises:
        ValueError: if there is nothing in it that could be zero.
    """
    if value is not None and not has_tensors(value):
        raise ValueError(f"A {type(value).__name__} without tensors has no all-zero form.")
    return map_tensors(torch.zeros_like, value)


def rows_of(value: Any, rows: slice | Tensor, batch: int) -> Any:
    """Some samples of a value; what does not belong to samples is kept whole.

    Args:
        value: an input.
        rows: a slice, or positions `[samples]`.
        batch: number of samples that there are.

    Raises:
        ValueError: if a list may be one entry a sample or some tensors of a batch each.
    """
    if isinstance(value, Tensor):
        if not value.dim() or value.size(0) != batch:
            return value
        return value[rows] if _is_plain(value) else _parts_joined([value[i] for i in _positions(rows, batch)], value)
    if isinstance(value, PackedSequence):
        padded, lengths = pad_packed_sequence(value, batch_first=True)
        return packed(padded[rows], lengths[rows.cpu() if isinstance(rows, Tensor) else rows])
    if _by_sample(value, batch):
        return type(value)(value[position] for position in _positions(rows, batch))
    return _rebuilt(value, lambda part: rows_of(part, rows, batch))


def chosen_rows(mask: Tensor, value: Any, otherwise: Any) -> Any:
    """`value` in the samples where the mask `[batch]` is true, `otherwise` (a tensor, or zeros if None) elsewhere."""
    if isinstance(value, Tensor):
        if not value.dim() or value.size(0) != len(mask):
            return value
        if not _is_plain(value):
            kept = zip(mask.tolist(), range(len(mask)), strict=True)
            return _parts_joined([value[i] if present else torch.zeros_like(value[i]) for present, i in kept], value)
        rows = mask.to(value.device).view(-1, *[1] * (value.dim() - 1))
        other = torch.zeros_like(value) if otherwise is None else otherwise.to(value.dtype)
        return torch.where(rows, value, other)
    if isinstance(value, PackedSequence):
        padded, lengths = pad_packed_sequence(value, batch_first=True)
        return packed(chosen_rows(mask, padded, None), lengths)
    if _by_sample(value, len(mask)):
        kept = zip(value, mask.tolist(), strict=True)
        return type(value)(part if present else zeros_of(part) for part, present in kept)
    return _rebuilt(value, lambda part: chosen_rows(mask, part, None))


def _is_plain(value: Tensor) -> bool:
    return value.layout == torch.strided and not value.is_nested


def _parts_joined(parts: list[Tensor], like: Tensor) -> Tensor:
    """Samples as one tensor of the kind that they came from: nested, or sparse."""
    if like.is_nested:
        return torch.nested.as_nested_tensor(parts, layout=like.layout)
    joined = torch.stack([part.to_dense() for part in parts])
    return joined.to_sparse(layout=like.layout)


def _positions(rows: slice | Tensor, batch: int) -> list[int]:
    return torch.arange(batch)[rows.cpu() if isinstance(rows, Tensor) else rows].tolist()


def packed(padded: Tensor, lengths: Tensor) -> PackedSequence:
    """Sequences `[samples, time, ...]` packed again, in the order of the samples."""
    return pack_padded_sequence(padded, lengths.cpu(), batch_first=True, enforce_sorted=False)


def _by_sample(value: Any, batch: int) -> bool:
    """Whether a list or tuple has one entry a sample.

    Raises:
        ValueError: if its entries could as well be parts of the batch.
    """
    if not isinstance(value, (list, tuple)) or hasattr(value, "_fields") or len(value) != batch or batch < 2:
        return False
    if all(isinstance(part, Tensor) and part.dim() and len(part) == batch for part in value):
        raise ValueError(
            f"A {type(value).__name__} of {batch} tensors of {batch} rows may be a sample or a part of the batch each; "
            "give a mapping of named tensors instead."
        )
    return True


def _rebuilt(value: Any, change: Callable[[Any], Any]) -> Any:
    """A container of the same kind with its parts changed; what is no container is kept."""
    if isinstance(value, Mapping):
        rebuilt = copy(value) if isinstance(value, MutableMapping) else dict(value)
        for key, part in value.items():
            rebuilt[key] = change(part)
        return rebuilt
    if isinstance(value, (list, tuple)):
        parts = [change(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value

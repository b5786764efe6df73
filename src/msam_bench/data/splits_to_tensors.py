"""From rows to splits: take the rows of each split, then scale all splits by what the training split alone shows.

splits = split_rows({"train": [0, 4], "valid": [1], "test": [2, 3]}, inputs, target)
splits = standardised(splits)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from msam_bench.data.base import Split

if TYPE_CHECKING:
    from torch import Tensor


def split_rows(rows: Mapping[str, Sequence[int]], inputs: Mapping[str, Tensor], target: Tensor) -> dict[str, Split]:
    """Copies the named rows of every tensor `[samples, ...]` into one Split for each name."""
    import torch

    return {
        part: Split(
            {name: tensor[list(chosen)] for name, tensor in inputs.items()},
            target[list(chosen)],
            samples=torch.tensor(list(chosen), dtype=torch.int64),
        )
        for part, chosen in rows.items()
    }


def standardised(splits: Mapping[str, Split]) -> dict[str, Split]:
    """The splits with every feature or channel shifted and scaled to mean 0 and variance 1 over the training split.

    Axis 1 is the feature `[samples, features]` or the channel `[samples, channels, ...]`; the moments are over all
    other axes, of the training split alone, in float64. One that never changes in training is only shifted.

    Returns:
        float32 inputs of the same shapes; targets as they are.
    """
    moments = {name: _moments(tensor) for name, tensor in splits["train"].inputs.items()}
    return {part: replace(split, inputs=_scaled(split.inputs, moments)) for part, split in splits.items()}


def _scaled(inputs: Mapping[str, Tensor], moments: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    return {name: ((tensor.double() - moments[name][0]) / moments[name][1]).float() for name, tensor in inputs.items()}


def _moments(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of axis 1, shaped to broadcast; 1 in place of the deviation of a constant."""
    axes = [axis for axis in range(tensor.dim()) if axis != 1]
    values = tensor.double()
    constant = values.amax(axes, keepdim=True) == values.amin(axes, keepdim=True)
    return values.mean(axes, keepdim=True), values.std(axes, correction=0, keepdim=True).masked_fill(constant, 1.0)

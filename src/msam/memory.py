"""What a method remembers of each weight between steps, by the weight's name, so that checkpoints can hold it.

before = recalled(objective, memory, weights)                       # one tensor a weight; zeros if there is none
memory = noted(objective, memory, weights, now)                     # a new mapping, for `state_dict`
shared = mean_of_ranks(objective, gradients, samples)               # so that every rank remembers the same
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from msam.blocks import real
from msam.objective import Objective

Memory = Mapping[str, Tensor]
"""Name of a weight -> what is remembered of it."""


def recall(
    objective: Objective, memory: Memory, weights: Sequence[Tensor], of: nn.Module | None = None
) -> list[Tensor]:
    """What is remembered of each weight, where the weight is; zeros where nothing is."""
    known = [memory.get(name) for name in _names(objective, weights, of)]
    return [torch.zeros_like(w) if kept is None else kept.to(w) for w, kept in zip(weights, known, strict=True)]


def remember(
    objective: Objective,
    memory: Memory,
    weights: Sequence[Tensor],
    now: Sequence[Tensor],
    of: nn.Module | None = None,
) -> dict[str, Tensor]:
    """The memory with new tensors for some weights; should one of them not be finite, the memory as it was.

    An overflow under gradient scaling is passed over in this way, without waiting for the device.
    """
    finite = torch.nn.utils.get_total_norm(list(now)).isfinite()
    pairs = zip(recall(objective, memory, weights, of), now, strict=True)
    kept = [torch.where(finite, new.detach(), old) for old, new in pairs]
    return {**memory, **dict(zip(_names(objective, weights, of), kept, strict=True))}


def mean_of_ranks(objective: Objective, tensors: Sequence[Tensor], samples: int) -> list[Tensor]:
    """Means over the ranks of data-parallel training, each weighted by its number of samples; one reduction."""
    shown = [real(tensor) for tensor in tensors]
    together = objective.average(torch.cat([tensor.flatten() for tensor in shown]), samples)
    parts = torch.split(together, [tensor.numel() for tensor in shown])
    means = [part.view_as(tensor).to(tensor) for part, tensor in zip(parts, shown, strict=True)]
    return [torch.view_as_complex(m) if t.is_complex() else m for m, t in zip(means, tensors, strict=True)]


def _names(objective: Objective, weights: Sequence[Tensor], of: nn.Module | None) -> list[str]:
    """Names of weights in the model, or in a criterion or method that has some."""
    named: dict[Tensor, str] = {}
    for prefix, module in {"": objective.bare, "criterion.": objective.criterion, "of.": of}.items():
        if isinstance(module, nn.Module):
            named |= {weight: prefix + name for name, weight in module.named_parameters()}
    return [named[weight] for weight in weights]

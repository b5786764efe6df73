"""What a method learns from a whole set of batches at the end of an epoch.

accuracy = averaged(objective, valid, lambda inputs, target: hits(inputs, target))     # mean over samples and ranks
for inputs, target in moved(objective, train): ...                                     # where the model is
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

from msam.nested import moved_to
from msam.objective import Objective
from msam.presence import zero_absent_rows
from msam.types import Batches, Inputs


def moved(objective: Objective, batches: Batches) -> Iterator[tuple[Inputs, Tensor]]:
    """The batches, on the model's device; those in pinned memory are copied while the device computes."""
    for inputs, target in batches:
        device = objective.device
        there = {name: moved_to(value, device) for name, value in inputs.items()}
        yield zero_absent_rows(there), target.to(device, non_blocking=device.type != "cpu")


def average_over(objective: Objective, batches: Batches, measure: Callable[[Inputs, Tensor], Tensor]) -> Tensor:
    """Mean of a measure over the samples of a set, on all ranks of data-parallel training together.

    Args:
        objective: where the model is, and its ranks.
        batches: the set.
        measure: (inputs, target) -> the mean over one batch, of any shape.

    Raises:
        ValueError: if the set has no batch.
    """
    measured = [(measure(inputs, target), len(target)) for inputs, target in moved(objective, batches)]
    samples = sum(count for _, count in measured)
    if not samples:
        raise ValueError("Expected a set with at least one sample to learn from, found none; pass a DataLoader.")
    mean = sum(value.detach() * (count / samples) for value, count in measured)
    assert isinstance(mean, Tensor)
    return objective.average(mean, samples)

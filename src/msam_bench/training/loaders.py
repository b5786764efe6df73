"""Batches for training and for evaluation; a split of a data set in memory is one kind, a torch `DataLoader` another.

train = SplitLoader(dataset.splits["train"], batch_size=32, seed=0, processes=ProcessGroup())
for inputs, target in train.shuffled(epoch=3): ...    # this process's part of each batch
for inputs, target in OrderedBatches(split, 32): ...  # in order, again and again
for inputs, target in SplitSet(split).chunks(): ...   # in order, as large as evaluation takes them
Unpacked(dataloader, lambda batch: (batch["inputs"], batch["label"]))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from msam.types import Inputs

if TYPE_CHECKING:
    from msam_bench.data import Split
    from msam_bench.training.distributed import ProcessGroup

Batch = tuple[Inputs, Tensor]
Unpack = Callable[[Any], Batch]
"""A batch of any form -> (inputs by modality, target)."""

_CHUNK = 2048
"""Samples of a chunk; fewer if they hold more than `_CHUNK_VALUES` numbers."""
_CHUNK_VALUES = 2**24


class EvaluationSet(Protocol):
    """A set of samples that a model is evaluated on."""

    @property
    def target(self) -> Tensor:
        """The targets of all samples, in order."""
        ...

    def __len__(self) -> int:
        """The number of samples."""
        ...

    def chunks(self, rank: int = 0, count: int = 1) -> Iterable[Batch]:
        """The samples in order, those of one of `count` processes."""
        ...


@dataclass(frozen=True)
class Unpacked:
    """Batches of any form as pairs; iterated again and again if the batches are.

    Args:
        batches: such as a `DataLoader`.
        unpack: one of them -> (inputs, target).
    """

    batches: Iterable[Any]
    unpack: Unpack

    def __iter__(self) -> Iterator[Batch]:
        return map(self.unpack, self.batches)


@dataclass(frozen=True)
class SplitSet:
    """One split of a data set in memory, for evaluation; see `EvaluationSet`.

    Args:
        split: the samples.
    """

    split: Split

    def __len__(self) -> int:
        return len(self.split)

    @property
    def target(self) -> Tensor:
        """The targets of all samples, in order."""
        return self.split.target

    def chunks(self, rank: int = 0, count: int = 1) -> Iterator[Batch]:
        """Every `count`-th sample from the `rank`-th on, in order, some thousands at a time."""
        values = sum(map(math.prod, self.split.shapes.values()))
        size = count * max(1, min(_CHUNK, _CHUNK_VALUES // values))
        starts = range(rank, len(self.split), size)
        return (self.split.take(slice(start, start + size, count)) for start in starts)


@dataclass(frozen=True)
class OrderedBatches:
    """One split of a data set in memory, in order, again and again.

    Args:
        split: the samples.
        batch_size: that of training, so that a pass counts alike.
    """

    split: Split
    batch_size: int

    def __iter__(self) -> Iterator[Batch]:
        starts = range(0, len(self.split), self.batch_size)
        return (self.split.take(slice(start, start + self.batch_size)) for start in starts)


@dataclass(frozen=True)
class SplitLoader:
    """One split of a data set in memory, for training.

    Args:
        split: the samples.
        batch_size: of training, over all processes.
        seed: of the order of samples, with the epoch.
        processes: those that share every batch.

    Raises:
        ValueError: batches with fewer samples than there are processes.
    """

    split: Split
    batch_size: int
    seed: int
    processes: ProcessGroup

    def __post_init__(self) -> None:
        smallest = min(self.batch_size, len(self.split))
        if smallest < self.processes.count:
            raise ValueError(
                f"Expected at least one sample for each of {self.processes.count} processes in a batch, found batches "
                f"of {smallest}; raise batch_size or start fewer processes."
            )

    @property
    def batches(self) -> int:
        """The number of batches of an epoch."""
        return len(self._batches(torch.arange(len(self.split))))

    def shuffled(self, epoch: int) -> Iterator[Batch]:
        """This process's part of the batches of an epoch, in an order that the seed and the epoch alone decide."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.split), generator=generator)
        return map(self.split.take, map(self.processes.take_part, self._batches(order)))

    def _batches(self, order: Tensor) -> list[Tensor]:
        """The rows of each batch; a last one of a single sample (a process) joins the one before."""
        batches = list(torch.split(order, self.batch_size))
        if len(batches) > 1 and len(batches[-1]) < 2 * self.processes.count:
            batches[-2:] = [torch.cat(batches[-2:])]
        return batches

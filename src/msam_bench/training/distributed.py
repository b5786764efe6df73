"""The processes that train one run together: those that torchrun started, else this one alone.

ranks = Ranks()
model = ranks.shared(model)                              # gradients are averaged over the ranks from here on
for rows in batches:
    mine = ranks.part(rows)                              # this rank's samples of a batch
record = ranks.told(lambda: read(folder))                # what the first rank finds, on every rank
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

Found = TypeVar("Found")


def world() -> int:
    """How many processes torchrun started, 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if distributed.is_torchelastic_launched() else 1


class Distributed:
    """This process among those that train the run.

    Attributes:
        count: how many there are.
        rank: which one this is; the first alone reads and writes files.
    """

    def __init__(self) -> None:
        self.count = world()
        if self.count > 1 and not distributed.is_initialized():
            distributed.init_process_group("gloo")
            atexit.register(distributed.destroy_process_group)
        self.rank = distributed.get_rank() if self.count > 1 else 0

    @property
    def first(self) -> bool:
        """Whether this rank reads and writes files."""
        return self.rank == 0

    def shared(self, model: nn.Module) -> nn.Module:
        """The model as all ranks train it: alike to start with, its gradients averaged."""
        return DistributedDataParallel(model) if self.count > 1 else model

    def part(self, rows: Tensor) -> Tensor:
        """This rank's rows of a batch: as many as any other's, so that a mean of ranks is the mean of the batch."""
        return rows[self.rank : len(rows) - len(rows) % self.count : self.count]

    def told(self, find: Callable[[], Found]) -> Found:
        """What the first rank finds, on every rank."""
        if self.count == 1:
            return find()
        found = [find() if self.first else None]
        distributed.broadcast_object_list(found)
        return cast(Found, found[0])

    def gathered(self, mine: Tensor) -> Tensor:
        """One row a rank, `[ranks, ...]`."""
        rows = [mine] if self.count == 1 else [torch.empty_like(mine) for _ in range(self.count)]
        if self.count > 1:
            distributed.all_gather(rows, mine)
        return torch.stack(rows)

    def summed(self, *values: float) -> list[float]:
        """Each number, added up over the ranks."""
        return self.gathered(torch.tensor(values, dtype=torch.float64)).sum(0).tolist()

    def average_over(self, values: Mapping[str, float], samples: int) -> dict[str, float]:
        """Means over samples, of the samples of all ranks."""
        if self.count == 1:
            return dict(values)
        *totals, count = self.summed(*(value * samples for value in values.values()), samples)
        return {name: total / count for name, total in zip(values, totals, strict=True)}

    def share_buffers(self, model: nn.Module) -> None:
        """Running statistics of the first rank, on every rank, as data-parallel training does before each pass."""
        for buffer in model.buffers() if self.count > 1 else ():
            distributed.broadcast(buffer, 0)

"""The processes that train one run together: those that torchrun started, or this one alone.

processes = ProcessGroup()
model = processes.wrap(model)                            # gradients are averaged over the processes from here on
for rows in batches:
    part = processes.take_part(rows)                     # this process's samples of a batch
record = processes.broadcast(lambda: read(folder))       # what the first process reads, on every process
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

Shared = TypeVar("Shared")


def count_processes() -> int:
    """The number of processes that torchrun started, 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if distributed.is_torchelastic_launched() else 1


class ProcessGroup:
    """This process among those that train the run.

    Attributes:
        count: number of processes.
        rank: number of this one; the first alone reads and writes files.
    """

    def __init__(self) -> None:
        self.count = count_processes()
        if self.count > 1 and not distributed.is_initialized():
            distributed.init_process_group("gloo")
            atexit.register(distributed.destroy_process_group)
        self.rank = distributed.get_rank() if self.count > 1 else 0

    @property
    def first(self) -> bool:
        """Whether this process reads and writes files."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model as all processes train it: with equal weights at the start, its gradients averaged."""
        return DistributedDataParallel(model) if self.count > 1 else model

    def take_part(self, rows: Tensor) -> Tensor:
        """This process's rows of a batch: equally many on each, so that the mean of processes is that of the batch."""
        return rows[self.rank : len(rows) - len(rows) % self.count : self.count]

    def broadcast(self, read: Callable[[], Shared]) -> Shared:
        """The value that the first process reads, on every process."""
        if self.count == 1:
            return read()
        values = [read() if self.first else None]
        distributed.broadcast_object_list(values)
        return cast(Shared, values[0])

    def gather(self, row: Tensor) -> Tensor:
        """One row a process, `[processes, ...]`."""
        rows = [row] if self.count == 1 else [torch.empty_like(row) for _ in range(self.count)]
        if self.count > 1:
            distributed.all_gather(rows, row)
        return torch.stack(rows)

    def sum(self, *values: float) -> list[float]:
        """Each number, summed over the processes."""
        return self.gather(torch.tensor(values, dtype=torch.float64)).sum(0).tolist()

    def average(self, values: Mapping[str, float], samples: int) -> dict[str, float]:
        """Means over the samples of all processes, of means over this one's samples."""
        if self.count == 1:
            return dict(values)
        *totals, count = self.sum(*(value * samples for value in values.values()), samples)
        return {name: total / count for name, total in zip(values, totals, strict=True)}

    def broadcast_buffers(self, model: nn.Module) -> None:
        """Copies the first process's running statistics to all, as data-parallel training does before each pass."""
        for buffer in model.buffers() if self.count > 1 else ():
            distributed.broadcast(buffer, 0)

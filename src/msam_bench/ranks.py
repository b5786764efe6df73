"""The processes that train one run together: those that torchrun started, else this one alone.

ranks = Ranks()
model, optimizer = ranks.fabric.setup(model, optimizer)      # gradients are averaged over the ranks from here on
for rows in batches:
    mine = ranks.part(rows)                                  # this rank's samples of a batch
record = ranks.told(lambda: read(folder))                    # what the first rank finds, on every rank
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.distributed import is_torchelastic_launched

Found = TypeVar("Found")


def world() -> int:
    """How many processes torchrun started, 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if is_torchelastic_launched() else 1


class Ranks:
    """This process among those that train the run.

    Attributes:
        fabric: the engine.
        count: how many there are.
        rank: which one this is; the first alone reads and writes files.
    """

    def __init__(self) -> None:
        self.count = world()
        local = int(os.environ["LOCAL_WORLD_SIZE"]) if self.count > 1 else 1
        strategy = "ddp" if self.count > 1 else "auto"
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces every process
        self.fabric = Fabric(accelerator="cpu", strategy=strategy, devices=local, num_nodes=self.count // local)
        self.fabric.launch()
        self.rank = self.fabric.global_rank

    @property
    def first(self) -> bool:
        """Whether this rank reads and writes files."""
        return self.rank == 0

    def part(self, rows: Tensor) -> Tensor:
        """This rank's rows of a batch: as many as any other's, so that a mean of ranks is the mean of the batch."""
        return rows[self.rank : len(rows) - len(rows) % self.count : self.count]

    def told(self, find: Callable[[], Found]) -> Found:
        """What the first rank finds, on every rank."""
        return cast(Found, self.fabric.broadcast(find() if self.first else None))

    def gathered(self, mine: Tensor) -> Tensor:
        """One row a rank, `[ranks, ...]`."""
        rows = [mine] if self.count == 1 else [torch.empty_like(mine) for _ in range(self.count)]
        if self.count > 1:
            torch.distributed.all_gather(rows, mine)
        return torch.stack(rows)

    def summed(self, *values: float) -> list[float]:
        """Each number, added up over the ranks."""
        return self.gathered(torch.tensor(values, dtype=torch.float64)).sum(0).tolist()

    def averaged(self, values: Mapping[str, float], samples: int) -> dict[str, float]:
        """Means over samples, of the samples of all ranks."""
        if self.count == 1:
            return dict(values)
        *totals, count = self.summed(*(value * samples for value in values.values()), samples)
        return {name: total / count for name, total in zip(values, totals, strict=True)}

    def share_buffers(self, model: nn.Module) -> None:
        """Running statistics of the first rank, on every rank, as data-parallel training does before each pass."""
        for buffer in model.buffers() if self.count > 1 else ():
            torch.distributed.broadcast(buffer, 0)

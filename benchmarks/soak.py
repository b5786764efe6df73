"""Does memory stay flat in a long training loop? Resident memory over time, its slope and the slope's standard error.

    python benchmarks/soak.py [--minutes 30] [--every 1] [--ranks 1] [--method msam] [--output soak.csv]

A training loop as a user writes it: batches of made-up data, notes read at each step, momentum, an early-fusion model
with normalisation and dropout. Resident memory is read once a second; what the first fifth of the time shows is left
out, because allocators and caches fill then. The rest is cut into 20 blocks and a line is fitted to their means, so
that the standard error does not take neighbouring readings for independent ones. Flat: a slope within two of these.
With `--ranks 2`, two gloo processes train together and each reads its own memory.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from msam import MSAM, SAM, EarlyFusion, FusionModel, Joint, Method

WIDTHS = {"audio": 40, "image": 60, "text": 20}
CLASSES, BATCH = 6, 32
BLOCKS = 20
TOGETHER = 32
"""Steps between two looks at whether the time is over."""
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Slope:
    """A line fitted to memory over time.

    Args:
        growth: KiB a minute.
        error: its standard error.
        steps: training steps made in all.
        readings: in the part that was fitted.
    minutes: that they cover.
    """

    growth: float
    error: float
    steps: int
    readings: int
    minutes: float

    @property
    def flat(self) -> bool:
        """Whether the slope is within two standard errors of none, or makes less than a page in all."""
        return abs(self.growth) <= 2 * self.error or abs(self.growth) * self.minutes < PAGE / 1024

    def __str__(self) -> str:
        word = "flat" if self.flat else "NOT flat"
        return (
            f"{self.growth:+.2f} +- {self.error:.2f} KiB a minute (slope and standard error), {word}; "
            f"{self.steps:,} steps, {self.readings:,} readings over {self.minutes:.1f} minutes"
        )


def method(name: str, every: int) -> Method:
    """The methods that can be soaked."""
    return {"joint": Joint, "sam": SAM, "msam": lambda: MSAM(every=every)}[name]()


def model() -> nn.Module:
    """Three small encoders and an early fusion, 33,000 parameters."""
    encoders = {name: nn.Sequential(nn.Linear(width, 64), nn.ReLU()) for name, width in WIDTHS.items()}
    return FusionModel(encoders, EarlyFusion(dict.fromkeys(WIDTHS, 64), CLASSES, (48, 32)))


def batches(seed: int) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Made-up batches without end, each drawn anew."""
    draw = torch.Generator().manual_seed(seed)
    while True:
        inputs = {name: torch.randn(BATCH, width, generator=draw) for name, width in WIDTHS.items()}
        yield inputs, torch.randint(CLASSES, (BATCH,), generator=draw)


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def soaked(net: nn.Module, asked: Method, seconds: float, interval: float = 1.0, seed: int = 0) -> Tensor:
    """Trains for so long; seconds, steps and bytes at each interval, `[readings, 3]`."""
    backward = asked.on(net, F.cross_entropy)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    began, taken = time.monotonic(), 0
    readings = torch.zeros(
        int(seconds / interval) + 2, 3, dtype=torch.float64
    )  # before the first: no growth of its own
    for step, (inputs, target) in enumerate(batches(seed)):
        gone = time.monotonic() - began
        if step % TOGETHER == 0 and not together(gone < seconds):
            break
        if gone >= taken * interval and taken < len(readings):
            readings[taken] = torch.tensor([gone, step, resident()], dtype=torch.float64)
            taken += 1
        outcome = backward(inputs, target)
        optimizer.step()
        optimizer.zero_grad()
        assert outcome.notes is not None  # read, as a user would
    return readings[:taken]


def together(going: bool) -> bool:
    """What the first rank says, on every rank."""
    said = torch.tensor(going)
    if torch.distributed.is_initialized():
        torch.distributed.broadcast(said, 0)
    return bool(said)


def fitted(readings: Tensor) -> Slope:
    """Least squares on the means of blocks, without the first fifth."""
    kept = readings[len(readings) // 5 :]
    size = len(kept) // BLOCKS
    means = kept[: size * BLOCKS].unflatten(0, (BLOCKS, size)).mean(1)
    minutes, kibibytes = means[:, 0] / 60, means[:, 2] / 1024
    away = minutes - minutes.mean()
    growth = (away @ kibibytes) / (away @ away)
    rest = kibibytes - kibibytes.mean() - growth * away
    error = (rest @ rest / (BLOCKS - 2) / (away @ away)).sqrt()
    covered = float(kept[-1, 0] - kept[0, 0]) / 60
    return Slope(float(growth), float(error), int(readings[-1, 1]), size * BLOCKS, covered)


def rank(index: int, arguments: argparse.Namespace, folder: str) -> None:
    """One process of data-parallel training, or the only one."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = model()
    if arguments.ranks > 1:
        torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=index, world_size=arguments.ranks)
        net = DistributedDataParallel(net)
    readings = soaked(net, method(arguments.method, arguments.every), 60 * arguments.minutes, seed=index)
    if arguments.ranks > 1:
        torch.distributed.destroy_process_group()
    print(f"rank {index}: {fitted(readings)}", flush=True)
    if arguments.output and index == 0:
        with arguments.output.open("w", newline="") as stream:
            csv.writer(stream).writerows([("seconds", "steps", "bytes"), *readings.tolist()])


def main() -> None:
    """Reads the command line and soaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--method", choices=("joint", "sam", "msam"), default="msam")
    parser.add_argument("--output", type=Path, help="the first rank's readings as CSV")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.ranks == 1:
            rank(0, arguments, folder)
        else:
            torch.multiprocessing.spawn(rank, (arguments, folder), arguments.ranks)


if __name__ == "__main__":
    main()

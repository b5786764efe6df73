"""Where runs are trained: here, or in a pool of processes, with progress on the screen."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import Parameter

from msam_bench.cli.screen import PARALLEL, console, progress
from msam_bench.cli.settings import check_positive

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from contextlib import AbstractContextManager

    from msam_bench.config.run import RunConfig
    from msam_bench.runs.record import RunRecord


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Where many runs are trained and kept."""

    workers: int | None = None
    "Runs at a time, one core each; as many as there are cores if not given."
    executor: str | None = None
    "What trains them, as package.module:function, such as msam_bench.runs.clusters:dask; this machine if not given."
    runs: Path | None = None
    "Folder of the run folders, runs if not given; a run that is already there is not trained again."

    def count(self, jobs: int) -> int:
        """How many runs are trained at a time, of so many."""
        return max(1, min((os.cpu_count() or 1) if self.workers is None else self.workers, jobs))

    @property
    def folder(self) -> Path:
        """Of the run folders."""
        return self.runs or Path("runs")


def train_all(configs: list[RunConfig], where: Where, diverged: list[RunConfig] | None = None) -> list[RunRecord]:
    """Trains, continues or finds every run.

    What becomes of runs that diverge: see `executor`.
    """
    from msam_bench.runs.executor import train_all as submit

    with pool(where, len(configs)) as executor, progress(len(configs)) as watch:
        return submit(configs, where.folder, executor, watch, diverged)


def pool(where: Where, jobs: int) -> AbstractContextManager[Executor]:
    """As many workers as are asked for (cores, if nothing is), and no more than jobs; processes, or of another kind.

    Raises:
        ValueError: if there is no such executor, or under torchrun, whose processes would each start a pool.
    """
    from msam_bench.runs.clusters import load_executor
    from msam_bench.runs.executor import processes

    if PARALLEL:
        raise ValueError("The processes of torchrun train one run together: use `msam train`, or leave torchrun out.")
    count = (os.cpu_count() or 1) if where.workers is None else where.workers
    check_positive(workers=count)
    return (load_executor(where.executor) if where.executor else processes)(min(count, jobs))


def train_here(config: RunConfig, root: Path) -> RunRecord:
    """One run in this process."""
    from msam_bench.config.resolve import label_of
    from msam_bench.runs import fit
    from msam_bench.runs.executor import State

    with progress(1) as watch:
        label = label_of(config)
        show = lambda epoch: watch(State(epoch, config.epochs, epoch // config.epochs, (label,)))  # noqa: E731
        return fit.run(config, root, show, lambda text: console.print(text, style="yellow", highlight=False))

"""Where runs are trained: here, or in a pool of processes, with progress on the screen."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .screen import PARALLEL, console, progress
from .settings import check_positive

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from contextlib import AbstractContextManager
    from pathlib import Path

    from msam_bench.config import RunConfig
    from msam_bench.runs import Record


def train_all(
    configs: list[RunConfig],
    root: Path,
    workers: int | None,
    diverged: list[RunConfig] | None = None,
    where: str | None = None,
) -> list[Record]:
    """Trains, continues or finds every run, in processes or where an executor is named.

    What becomes of runs that diverge: see `executor`.
    """
    from msam_bench.executor import train_all as submit

    with progress(len(configs)) as watch, pool(workers, len(configs), where) as executor:
        return submit(configs, root, executor, watch, diverged)


def pool(workers: int | None, jobs: int, where: str | None = None) -> AbstractContextManager[Executor]:
    """As many workers as are asked for (cores, if nothing is), and no more than jobs; processes, or of another kind.

    Raises:
        ValueError: if there is no such executor, or under torchrun, whose processes would each start a pool.
    """
    from msam_bench.clusters import named
    from msam_bench.executor import processes

    if PARALLEL:
        raise ValueError("The processes of torchrun train one run together: use `msam train`, or leave torchrun out.")
    count = (os.cpu_count() or 1) if workers is None else workers
    check_positive(workers=count)
    return (named(where) if where else processes)(min(count, jobs))


def train_here(config: RunConfig, root: Path) -> Record:
    """One run in this process."""
    from msam_bench import fit
    from msam_bench.executor import State

    with progress(1) as watch:
        told = lambda epoch: watch(State(epoch, config.epochs, epoch // config.epochs, (config.label,)))  # noqa: E731
        return fit.run(config, root, told, lambda text: console.print(text, style="yellow", highlight=False))

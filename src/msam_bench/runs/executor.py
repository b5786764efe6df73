"""Many runs through one `concurrent.futures.Executor`: processes here, a cluster's executor elsewhere.

with processes(workers=2) as executor:
    records = train_all(configs, Path("runs"), executor, watch=print)
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, ProcessPoolExecutor, as_completed, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import TypeVar

from msam_bench.config.resolve import label_of
from msam_bench.config.run import RunConfig
from msam_bench.runs import record as runs

R = TypeVar("R")

_TICK = 0.25
"""Seconds between two readings of the folders of the runs that are being trained."""


@dataclass(frozen=True)
class State:
    """The progress of a list of runs.

    Args:
        epochs: epochs done, of runs that are finished or being trained.
        total: epochs of all runs.
        finished: runs finished.
        running: the runs that are being trained, as a user would name them.
    """

    epochs: int
    total: int
    finished: int
    running: tuple[str, ...]


def processes(workers: int) -> ProcessPoolExecutor:
    """A pool of fresh processes with one torch thread each; they stay warm between runs."""
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)


def train(config: RunConfig, root: Path) -> runs.RunRecord:
    """Trains one run; the work of a worker."""
    from msam_bench.runs import fit

    return fit.run(config, root)


def train_all(
    configs: Sequence[RunConfig],
    root: Path,
    executor: Executor,
    watch: Callable[[State], None] = lambda state: None,
    diverged: list[RunConfig] | None = None,
) -> list[runs.RunRecord]:
    """Trains, continues or finds every run; the records come in the order of the configurations.

    Args:
        configs: what to train.
        root: the folder of all runs.
        executor: where.
        watch: called with their progress, several times a second.
        diverged: takes the runs that diverged, which then have no record; the first ends everything if None.

    Raises:
        ValueError: the first error of a run; those not yet begun are not begun.
    """
    futures = {executor.submit(train, config, root): config for config in configs}
    lost: set[Future[runs.RunRecord]] = set()
    with stopping(executor):
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=_TICK, return_when=FIRST_EXCEPTION)
            for future in done:
                if diverged is not None and isinstance(future.exception(), runs.Diverged):
                    lost.add(future)
                else:
                    future.result()
            watch(_state(futures, root))
    if diverged is not None:
        diverged += [futures[future] for future in futures if future in lost]
    return [future.result() for future in futures if future not in lost]


def in_order(futures: Sequence[Future[R]], executor: Executor, watch: Callable[[int, int], None]) -> list[R]:
    """Results in the order of the jobs; the first error stops those not yet begun."""
    with stopping(executor):
        for done, future in enumerate(as_completed(futures), 1):
            future.result()
            watch(done, len(futures))
    return [future.result() for future in futures]


@contextmanager
def stopping(executor: Executor) -> Iterator[None]:
    """An error inside stops what has not begun."""
    try:
        yield
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise


def _state(futures: dict[Future[runs.RunRecord], RunConfig], root: Path) -> State:
    finished = [config for future, config in futures.items() if future.done()]
    running = [(config, _epochs(root, config)) for future, config in futures.items() if future.running()]
    begun = [f"{label_of(config)} seed {config.seed}" for config, epochs in running if epochs]
    done = sum(config.epochs for config in finished) + sum(epochs for _, epochs in running)
    return State(done, sum(config.epochs for config in futures.values()), len(finished), tuple(begun))


def _epochs(root: Path, config: RunConfig) -> int:
    """Epochs of a run that is being trained, from the lines of its metrics, at most those of its configuration."""
    with suppress(OSError):
        lines = (runs.folder_of(root, config) / "metrics.csv").read_bytes().count(b"\n")
        return min(max(0, lines - 1), config.epochs)
    return 0


def _begin() -> None:
    """One torch thread a worker, and no worker outlives a killed command."""
    import torch

    torch.set_num_threads(1)
    leave_with_parent()


def leave_with_parent() -> None:
    """No worker outlives a killed command: for a pool that does not train."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent.sentinel,), daemon=True).start()


def _leave_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)

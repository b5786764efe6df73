"""Executors that train many runs elsewhere than in processes of this machine: dask, submitit (Slurm) and Ray.

    msam compare --executor msam_bench.runs.clusters:dask --workers 64

Each function takes the number of runs at a time and gives a `concurrent.futures.Executor` in a `with`. One of your own,
named `package.module:function`, is as good; with other arguments it is three lines:

    @contextmanager
    def ours(workers: int) -> Iterator[Executor]:
        with Client("tcp://head:8786") as client:
            yield client.get_executor(pure=False)

Workers need this software, its data, and the same folder of runs under the same path. Each package is its user's to
install, and is imported by the function that needs it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from inspect import signature
from typing import Any, Protocol, TypeVar

R = TypeVar("R")

_FORMER = "msam_bench.clusters"
"""Where this module was; the names of its executors there are still taken."""


def load_executor(text: str) -> Callable[[int], AbstractContextManager[Executor]]:
    """The function that a user names as `package.module:function`.

    Raises:
        ValueError: if there is none.
    """
    module, colon, name = text.partition(":")
    if module == _FORMER:
        warnings.warn(f"{_FORMER}:{name} is now {__name__}:{name}; write that.", DeprecationWarning, stacklevel=2)
        module = __name__
    try:
        function = getattr(import_module(module), name) if colon and module and name else None
    except (ImportError, AttributeError) as error:
        raise ValueError(f"Expected an executor at {text!r}, found: {error}; name package.module:function.") from None
    if not callable(function):
        raise ValueError(f"An executor is named package.module:function, such as {__name__}:dask; found {text!r}.")
    try:
        signature(function).bind(1)
    except TypeError as error:
        raise ValueError(
            f"An executor's function takes the number of workers alone, and {text!r} does not: {error}."
        ) from None
    executor: Callable[[int], AbstractContextManager[Executor]] = function
    return executor


@contextmanager
def dask(workers: int) -> Iterator[Executor]:
    """The scheduler that dask is configured for (`DASK_SCHEDULER_ADDRESS`), else processes of this machine."""
    import dask as engine
    from dask.distributed import Client

    address = engine.config.get("scheduler-address", None)
    local = {} if address else {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    with Client(address, **local) as client:  # type: ignore[no-untyped-call]
        yield client.get_executor(pure=False)


@contextmanager
def submitit(workers: int) -> Iterator[Executor]:
    """One Slurm job a run where there is Slurm, else one process a run; logs are in the folder `submitit`."""
    import submitit as engine

    launcher = engine.AutoExecutor(folder="submitit")
    launcher.update_parameters(cpus_per_task=1, timeout_min=24 * 60)
    with Waiting(launcher.submit, workers) as executor:
        yield executor


@contextmanager
def ray(workers: int) -> Iterator[Executor]:
    """The cluster that Ray finds (`RAY_ADDRESS`), else one on this machine; one core a run."""
    import ray as engine

    engine.init(ignore_reinit_error=True, log_to_driver=False)
    try:
        with Waiting(lambda run, *arguments: engine.remote(run).remote(*arguments).future(), workers) as executor:
            yield executor
    finally:
        engine.shutdown()


class Job(Protocol):
    """A job that a scheduler has taken."""

    def result(self) -> Any:
        """Waits for it."""


class Waiting(Executor):
    """An executor over anything that starts jobs, so many at a time; a thread waits for each.

    Args:
        start: `start(function, *arguments)` hands a job to the scheduler.
        workers: jobs at a time.
    """

    def __init__(self, start: Callable[..., Job], workers: int) -> None:
        self._start, self._threads = start, ThreadPoolExecutor(workers)

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """A future of the job's result."""
        return self._threads.submit(lambda: self._start(fn, *args, **kwargs).result())

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Starts no more jobs; those that run go on."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)

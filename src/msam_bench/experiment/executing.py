"""Executors of runs whose functions no other process can import, as those of a notebook."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor


def in_this_process(workers: int) -> ThreadPoolExecutor:
    """Trains one run after the other in this process, beside its progress bar; random streams are its own.

    Args:
        workers: not used: runs of one process share its random streams, and so come one after the other.
    """
    return ThreadPoolExecutor(1)

"""Random streams of the data, apart from those of training: the same batches whatever a model or a method draws.

    streams = Streams(seed)
    with streams:                  # torch, NumPy and Python draw from the data's streams here
        batch = next(batches)

An epoch starts its streams anew, so that a resumed run sees the batches that it would have seen.
"""

from __future__ import annotations

import random
from types import TracebackType
from typing import Any

import numpy as np
import torch


class Streams:
    """The shared random streams of the process, exchanged for others inside a `with` block.

    Args:
        seed: of these streams, from 0.
    """

    def __init__(self, seed: int) -> None:
        numpy = np.random.RandomState(seed % 2**32)
        torch_state = torch.Generator().manual_seed(seed).get_state()
        self._inside = (torch_state, random.Random(seed).getstate(), numpy.get_state())
        self._outside: tuple[Any, ...] = ()

    def __enter__(self) -> None:
        self._outside = _states()
        _put(self._inside)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside = _states()
        _put(self._outside)


def _states() -> tuple[Any, ...]:
    return torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002


def _put(states: tuple[Any, ...]) -> None:
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    np.random.set_state(states[2])  # noqa: NPY002

"""room: how many people are in a room, from temperature, light, sound, carbon dioxide and motion.

Samples are windows of ten readings (five minutes) that overlap by half; the class is the number of people at the last
reading. The readings are cut into five contiguous sessions, of which three have all classes: the seed modulo 3 says
which of these tests and which validates, all others train. No session is in two splits, and no window crosses a session
or a pause. Most windows show an empty room: look at the macro-averaged F1 score besides the accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from msam_bench.data.base import Dataset, check_seed
from msam_bench.data.sets.shipped import Shipped, embedded
from msam_bench.data.splits_to_tensors import split_rows, standardised

if TYPE_CHECKING:
    from torch import Tensor

WIDTH = 10
COMPLETE = (0, 1, 3)
"""Sessions with all four classes."""

WINDOWS = {0: 78, 1: 293, 2: 255, 3: 423, 4: 962}


@dataclass(frozen=True, kw_only=True)
class Room(Shipped):
    """The loader of room: inputs `[windows, sensors, 10]`, standardised by sensor."""

    def load(self, seed: int) -> Dataset:
        """See `Source.load`; seeds that are equal modulo 3 give the same split."""
        check_seed(seed)
        inputs, people, session = windows(self.file.tensors(), self.modalities)
        belongs = session.tolist()
        rows = {
            part: [row for row, each in enumerate(belongs) if each in chosen] for part, chosen in sessions(seed).items()
        }
        splits = standardised(split_rows(rows, inputs, people))
        return Dataset(self.name, splits, self.classes, self.fingerprint)

    def fold(self, seed: int) -> int | None:
        """See `Source.fold`: the seed modulo 3."""
        return seed % len(COMPLETE)

    def sizes(self, seed: int = 0) -> dict[str, int]:
        """See `Source.sizes`."""
        return {part: sum(WINDOWS[each] for each in chosen) for part, chosen in sessions(seed).items()}


def sessions(seed: int) -> dict[str, tuple[int, ...]]:
    """The sessions of each split."""
    test, valid = COMPLETE[seed % 3], COMPLETE[(seed + 1) % 3]
    return {"train": tuple(each for each in WINDOWS if each not in (test, valid)), "valid": (valid,), "test": (test,)}


def windows(stored: Mapping[str, Tensor], modalities: tuple[str, ...]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Every window in the order of time.

    Returns:
        The readings of each modality `[windows, sensors, 10]`, the people at the end `[windows]`, and the session
        `[windows]`.
    """
    import torch

    starts = list(_starts(list(zip(stored["session"].tolist(), stored["recording"].tolist(), strict=True))))
    samples = torch.tensor(starts)[:, None] + torch.arange(WIDTH)
    inputs = {name: stored[name][samples].movedim(2, 1) for name in modalities}
    last = samples[:, -1]
    return inputs, stored["people"].long()[last], stored["session"].long()[last]


def _starts(places: Sequence[tuple[int, int]]) -> Iterator[int]:
    """The first reading of each window, for the session and the recording of every reading."""
    begin = 0
    for _, readings in groupby(places):
        end = begin + len(list(readings))
        yield from range(begin, end - WIDTH + 1, WIDTH // 2)
        begin = end


ROOM = Room(
    name="room",
    summary="How many people are in a room? Temperature, light, sound, carbon dioxide and motion over five minutes.",
    modalities=("temperature", "light", "sound", "co2", "motion"),
    classes=("nobody", "one", "two", "three"),
    licence="CC BY 4.0",
    citation="Singh, A. P., Chaudhari, A. (2018). Room Occupancy Estimation. UCI Machine Learning Repository. "
    "doi:10.24432/C5P605",
    origin="UCI Room Occupancy Estimation; ships with this package",
    group="session",
    file=embedded("room", "eb43b0247f3d9ede3ff395c103f85c6fee79590c9a2d4f4b72a56e7508253e70"),
)

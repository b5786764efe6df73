"""icons: 3,507 icons of 21 categories as drawings and by the words of their tags; the seed draws the split.

Icons that are variants of one another (`abacus`, `abacus-off`) are on one side. About half of the stems of each
category train, an eighth validates, the rest tests.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from msam_bench.data.base import Dataset, check_seed
from msam_bench.data.modality import Modality
from msam_bench.data.sets.shipped import Shipped, embedded, unpack_pictures
from msam_bench.data.splits_to_tensors import split_rows, standardised

VALID, TEST = 1 / 8, 3 / 8
VOCABULARY = 4255
"""Words and the padding."""


@dataclass(frozen=True, kw_only=True)
class Icons(Shipped):
    """The loader of icons: pictures `[icons, 1, 24, 24]`, words `[icons, 20]` (int64, 0 is padding)."""

    def load(self, seed: int) -> Dataset:
        """See `Source.load`; every seed of 0 or more draws another split."""
        check_seed(seed)
        stored = self.file.tensors()
        category = stored["category"].long()
        rows = drawn_rows(category.tolist(), stored["stem"].tolist(), seed)
        pictures = standardised(split_rows(rows, {"picture": unpack_pictures(stored["picture"], 24)}, category))
        texts = split_rows(rows, {"text": stored["text"].long()}, category)
        stems = stored["stem"].long()
        splits = {
            part: replace(split, inputs={**split.inputs, **texts[part].inputs}, groups=stems[split.ids])
            for part, split in pictures.items()
        }
        specs = {
            "picture": Modality("image", (1, 24, 24)),
            "text": Modality("tokens", (20,), "int64", vocabulary=VOCABULARY),
        }
        return Dataset(self.name, splits, self.classes, self.fingerprint, specs)

    def sizes(self, seed: int = 0) -> dict[str, int]:
        """See `Source.sizes`; they depend on the draw, hence on categories and stems."""
        return dict(_sizes(self.file.path, seed))


@cache
def _sizes(path: Path, seed: int) -> dict[str, int]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        category, stem = (file.get_tensor(name).tolist() for name in ("category", "stem"))
    return {part: len(chosen) for part, chosen in drawn_rows(category, stem, seed).items()}


def drawn_rows(category: Sequence[int], stem: Sequence[int], seed: int) -> dict[str, list[int]]:
    """The rows of each split: the stems of each category in an order drawn by `seed`, whole stems to each side.

    A stem with icons of several categories counts for the one that has most of them. A stem tests, or validates, unless
    that takes more icons than the share of its category allows; each gets one stem at least.
    """
    draw = random.Random(seed)
    icons: defaultdict[int, list[int]] = defaultdict(list)
    for row, each in enumerate(stem):
        icons[each].append(row)
    stems: defaultdict[int, list[int]] = defaultdict(list)
    for each, members in icons.items():
        stems[Counter(category[row] for row in members).most_common(1)[0][0]].append(each)
    rows: dict[str, list[int]] = {"train": [], "valid": [], "test": []}
    for of in stems.values():
        for each, part in _parted([(each, len(icons[each])) for each in draw.sample(of, len(of))]):
            rows[part] += icons[each]
    return {part: draw.sample(chosen, len(chosen)) for part, chosen in rows.items()}


def _parted(sizes: Sequence[tuple[int, int]]) -> list[tuple[int, str]]:
    """(stem, split) for the stems of a category and their numbers of icons, in the order of the draw."""
    total, taken, parted = sum(count for _, count in sizes), {"test": 0, "valid": 0}, []
    for stem, count in sizes:
        fits = [part for part, share in (("test", TEST), ("valid", VALID)) if _fits(taken[part], count, share * total)]
        part = fits[0] if fits else "train"
        if part != "train":
            taken[part] += count
        parted.append((stem, part))
    return parted


def _fits(taken: int, count: int, room: float) -> bool:
    return (not taken and count <= 2 * room) or taken + count <= room


ICONS = Icons(
    name="icons",
    summary="Icons of 21 categories, as drawings and by the words of their tags.",
    modalities=("picture", "text"),
    classes=(
        "Arrows",
        "Buildings",
        "Communication",
        "Currencies",
        "Design",
        "Development",
        "Devices",
        "Document",
        "E-commerce",
        "Food",
        "Health",
        "Letters",
        "Map",
        "Math",
        "Media",
        "Numbers",
        "Shapes",
        "Sport",
        "Text",
        "Vehicles",
        "Weather",
    ),
    licence="MIT",
    citation="Kuna, P., and contributors (2026). Tabler Icons 3.51.0. https://tabler.io/icons",
    origin="the npm package @tabler/icons 3.51.0; ships with this package",
    group="stem",
    file=embedded("icons", "b5e2c92f0284c81c97d8a3e7a8f107d21fff8f5564e92237955ecb9d2f42ca9d"),
)

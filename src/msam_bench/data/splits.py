"""Splits that a seed draws: sample by sample within each class, or group by group.

    drawn([0, 0, 1, ...], (0.1, 0.2), seed=3)                  # {"train": [...], "valid": [...], "test": [...]}
    drawn_groups(["ann", "ann", "bob", ...], (0.1, 0.2), seed=3)

Every seed draws anew, with a generator of its own whose numbers Python guarantees for every version.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Sequence

from msam_bench.data.base import SPLITS

Rows = dict[str, list[int]]
"""Split -> positions of its samples."""


def drawn(labels: Sequence[Hashable], shares: tuple[float, float], seed: int) -> Rows:
    """A split in which every class has its share, and one sample at least of a class of three or more.

    A share of 0 leaves its split empty.

    Args:
        labels: The class of each sample; the same for all if there are none.
        shares: Of the validation and the test split.
        seed: Of the draw.
    """
    draw = random.Random(seed)
    order = draw.sample(range(len(labels)), len(labels))
    sizes = {label: _sizes(count, shares) for label, count in Counter(labels).items()}
    seen: Counter[Hashable] = Counter()
    rows: Rows = {part: [] for part in SPLITS}
    for row in order:
        label = labels[row]
        valid, test = sizes[label]
        part = "test" if seen[label] < test else "valid" if seen[label] < test + valid else "train"
        rows[part].append(row)
        seen[label] += 1
    return rows


def drawn_groups(groups: Sequence[Hashable], shares: tuple[float, float], seed: int) -> Rows:
    """A split in which every group is on one side; test and validation take whole groups until they have their share.

    Args:
        groups: The group of each sample, three different ones at least.
        shares: Of the validation and the test split; each gets one group at least unless its share is 0, and leaves
            one to train on.
        seed: Of the draw.
    """
    counts = Counter(groups)
    names = list(counts)
    random.Random(seed).shuffle(names)
    of: dict[Hashable, str] = {}
    for part, share, left in (("test", shares[1], 2), ("valid", shares[0], 1)):
        taken = 0
        while share and len(names) > left and (not taken or taken + counts[names[-1]] / 2 < share * len(groups)):
            name = names.pop()
            of[name], taken = part, taken + counts[name]
    rows: Rows = {part: [] for part in SPLITS}
    for row, group in enumerate(groups):
        rows[of.get(group, "train")].append(row)
    return rows


def _sizes(count: int, shares: tuple[float, float]) -> tuple[int, int]:
    """How many samples of a class validate and test."""
    least = 1 if count >= len(SPLITS) else 0
    valid, test = (max(least, round(share * count)) if share else 0 for share in shares)
    return valid, test

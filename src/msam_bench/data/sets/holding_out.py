"""A validation part for published lists that have none: always the same names, whatever the order of the files.

train, valid = without_some(names, 0.1)              # a tenth of the names, one at least
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Sequence


def without_some(
    names: Sequence[str], share: float, of: Sequence[Hashable] | None = None
) -> tuple[list[str], list[str]]:
    """The names without a share of them, and that share; both in the order of the names.

    Args:
        names: Different ones.
        share: From 0 to 1.
        of: The class of each name; each class gives its share, one name at least unless it has only one.
    """
    by_class: defaultdict[Hashable, list[str]] = defaultdict(list)
    for name, label in zip(names, of or [0] * len(names), strict=True):
        by_class[label].append(name)
    held: set[str] = set()
    for members in by_class.values():
        count = min(len(members) - 1, max(1, round(share * len(members))))
        held.update(sorted(members, key=lambda name: hashlib.sha256(name.encode()).digest())[:count])
    return [name for name in names if name not in held], [name for name in names if name in held]

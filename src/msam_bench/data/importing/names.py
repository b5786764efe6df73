"""What people call the columns that are no measurement: labels, splits, groups, samples' names and running numbers."""

from __future__ import annotations

import re

LABELS = ("label", "labels", "class", "target", "targets", "y")
"""Names of a label, the most usual first."""

SPLITS = ("split", "partition", "subset", "fold")
"""Names of the column that says who trains, validates and tests."""

_OWNERS = ("group", "subject", "speaker", "actor", "participant", "person", "patient", "user")
GROUPS = tuple(f"{owner}{end}" for end in ("", "_id", "id", " id", "-id") for owner in _OWNERS)
"""Names of whom a sample belongs to."""

IDS = ("id", "name", "sample", "sample_id", "key")
"""Names of a sample's name."""

ROLES = frozenset((*LABELS, *SPLITS, *GROUPS, *IDS))
"""Names of all columns that have a role."""

_LABEL_COPIES = ("class_name", "classname", "class_id", "label_name", "label_id", "labels_name", "target_name")
_INDEX = re.compile(
    r"(unnamed: \d+(_level_\d+)?(\.\d+)*|index|idx|row|row_?(id|num|number|names?)|level_0|__index_level_\d+__)"
)
_ID = re.compile(r"(.*[_\-. ])?(id|ids|uid|uuid|guid)|file_?names?|file_?paths?|checksum|md5|sha256")
_CAMEL_ID = re.compile(r".*[a-z](ID|Id|UUID)")


def is_index(name: str) -> bool:
    """Whether a name is that of a running number, such as pandas and R write beside a table."""
    return _INDEX.fullmatch(name.lower()) is not None


def is_id(name: str) -> bool:
    """Whether a name says that its column names samples, files or people."""
    return bool(_ID.fullmatch(name.lower()) or _CAMEL_ID.fullmatch(name))


def is_role(name: str, columns: frozenset[str]) -> bool:
    """Whether a name is that of a label, a split, a group or a sample's name.

    Args:
        name: The column's.
        columns: The names of all columns, in lower case: y beside x is a coordinate.
    """
    lower = name.lower()
    if lower == "y":
        return "x" not in columns
    return lower in (*LABELS, *SPLITS, *GROUPS, "id", "name", "sample_id", *_LABEL_COPIES)

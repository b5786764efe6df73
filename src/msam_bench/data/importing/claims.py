"""Columns to modalities: by the patterns that the user states, or by the beginnings of names.

claimed(raw, roles, ImportOptions(modalities=("left=v1_*", "right=v2_*")))     # {"left": ["v1_a", "v1_b"], ...}
name_prefixes(["acc_x", "acc_y", "gyr_x"])                                     # {"acc": ["acc_x", "acc_y"], ...}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from msam_bench.data.importing.options import ImportOptions
from msam_bench.data.importing.roles import Roles
from msam_bench.data.importing.sources import RawSamples
from msam_bench.names import nearest

MOST_NUMBERED = 8
"""Beginnings such as v1_ and v2_ are modalities of their own if there are at most so many of them."""


def claimed(raw: RawSamples, roles: Roles, options: ImportOptions) -> dict[str, list[str]]:
    """Modality -> the columns that the user's patterns name; empty if there are no patterns.

    Raises:
        ValueError: A pattern that is not `name=pattern`, that matches nothing, a label, or another modality's column.
    """
    members: dict[str, list[str]] = {}
    for text in options.modalities:
        name, equals, patterns = text.partition("=")
        if not (equals and patterns and name.replace("-", "_").isidentifier()):
            raise ValueError(f"Expected --modality NAME=PATTERN, such as left=v1_*, found '{text}'.")
        for pattern in patterns.split(","):
            members.setdefault(name, []).extend(_matching(pattern.strip(), raw, roles, options, members))
    return members


def _matching(
    pattern: str, raw: RawSamples, roles: Roles, options: ImportOptions, members: dict[str, list[str]]
) -> list[str]:
    """The columns of one pattern."""
    free = [name for name in raw.columns if name not in (*roles.columns, *options.leave_out)]
    matches = [name for name in free if fnmatchcase(name, pattern)]
    if not matches:
        role = " (it is label, split, group or id)" if pattern in roles.columns else ""
        raise ValueError(
            f"Expected a column that matches '{pattern}' in {raw.title}, found {', '.join(free)}{role}: "
            f"{nearest(pattern, free)}."
        )
    taken = {column: other for other, columns in members.items() for column in columns}
    if twice := [name for name in matches if name in taken]:
        raise ValueError(
            f"Expected each column in one modality, found '{twice[0]}' in '{taken[twice[0]]}' and for '{pattern}': "
            "narrow a pattern."
        )
    return matches


def name_prefixes(names: Sequence[str]) -> dict[str, list[str]]:
    """Columns by the beginnings of their names: acc_x and acc_y; v1_a and v2_a apart; f1, f2, ... together."""
    parts = {name: re.match(r"(([^\W\d_]+)\d*)(?=[_\-. ]|$)?", name) for name in names}
    numbered: dict[str, list[str]] = {}
    for name, match in parts.items():
        if match and re.match(r"[_\-. ].", name[match.end() :]):
            numbered.setdefault(match[1], []).append(name)
    families: dict[str, list[str]] = {}
    for prefix in numbered:
        families.setdefault(re.sub(r"\d+$", "", prefix), []).append(prefix)
    apart = {
        prefix
        for family in families.values()
        if 2 <= len(family) <= MOST_NUMBERED and all(len(numbered[prefix]) > 1 for prefix in family)
        for prefix in family
    }
    groups: dict[str, list[str]] = {}
    for name, match in parts.items():
        key = (
            "columns"
            if match is None
            else match[1]
            if name in numbered.get(match[1], ()) and match[1] in apart
            else match[2]
        )
        groups.setdefault(key, []).append(name)
    return groups

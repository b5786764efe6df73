"""Which columns are no modality: the label, the split, the group and the name of a sample.

roles = assign_roles(raw, ImportOptions())
roles.labels.targets[3], roles.labels.classes
roles.split, roles.group, roles.ids       # a value a sample, or None
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msam_bench.data.importing.endings import has_files
from msam_bench.data.importing.labels import Labels, read_labels
from msam_bench.data.importing.names import GROUPS, IDS, SPLITS
from msam_bench.data.importing.numbers import is_missing
from msam_bench.data.importing.options import NONE, ImportOptions
from msam_bench.data.importing.sources import SPLIT_NAMES, RawSamples
from msam_bench.names import nearest


@dataclass(frozen=True)
class Roles:
    """The columns that are no modality.

    Args:
        labels: What is to be learned.
        split: "train", "valid" or "test" for each sample, or None.
        group: Whom each sample belongs to, or None.
        group_name: The column of the groups.
        ids: The name of each sample.
        columns: All columns that have a role.
    """

    labels: Labels
    split: Sequence[str] | None
    group: Sequence[str] | None
    group_name: str | None
    ids: Sequence[str]
    columns: tuple[str, ...]


def assign_roles(raw: RawSamples, options: ImportOptions) -> Roles:
    """Finds the columns by the options, or by their usual names.

    Raises:
        ValueError: No label, a column that is not there, or cells that are not what their role needs.
    """
    labels = read_labels(raw, options)
    taken = {*labels.columns, *options.leave_out}
    split = _role(raw, options.split, SPLITS, taken)
    group = _role(raw, options.group, GROUPS, taken)
    ids = _role(raw, options.id, IDS, taken)
    if ids and options.id is None and not _names_samples(raw.cells[ids]):
        ids = None
    names = list(raw.places) if ids is None else [str(cell) for cell in raw.cells[ids]]
    _check_distinct(raw, ids, names)
    return Roles(
        labels=labels,
        split=None if split is None else _splits(raw, split),
        group=None if group is None else _groups(raw, group),
        group_name=group,
        ids=names,
        columns=tuple(name for name in (*labels.columns, split, group, ids) if name is not None),
    )


def _role(raw: RawSamples, stated: str | None, usual: Sequence[str], taken: set[str]) -> str | None:
    """The stated column, or the first with a usual name if there is one."""
    if stated == NONE:
        return None
    if stated is None:
        lower = {column.lower(): column for column in reversed(list(raw.cells)) if column not in taken}
        return next((lower[name] for name in usual if name in lower), None)
    if stated not in raw.cells:
        raise ValueError(
            f"Expected a column '{stated}' in {raw.title}, found {', '.join(raw.columns)}: "
            f"{nearest(stated, list(raw.cells))}."
        )
    return stated


def _names_samples(cells: Sequence[Any]) -> bool:
    """Whether cells name one sample each and are no files to read."""
    return len(set(map(str, cells))) == len(cells) and not has_files(cells)


def _check_distinct(raw: RawSamples, column: str | None, names: Sequence[str]) -> None:
    """Every sample has a name of its own."""
    rows: dict[str, int] = {}
    for row, name in enumerate(names):
        if rows.setdefault(name, row) != row:
            raise ValueError(
                f"Expected every sample once, found '{name}' more than once in column '{column}', in "
                f"{raw.places[rows[name]]} and in {raw.places[row]}: name another column by --id, or --id none."
            )


def _splits(raw: RawSamples, column: str) -> list[str]:
    for place, cell in zip(raw.places, raw.cells[column], strict=True):
        if str(cell).lower() not in SPLIT_NAMES:
            raise ValueError(
                f"Expected train, valid or test in column '{column}', found '{cell}' in {place}: rename it, keep its "
                f"values apart by --split none --group {column}, or leave the split to the seed by --split none."
            )
    return [SPLIT_NAMES[str(cell).lower()] for cell in raw.cells[column]]


def _groups(raw: RawSamples, column: str) -> list[str]:
    for place, cell in zip(raw.places, raw.cells[column], strict=True):
        if is_missing(cell):
            raise ValueError(
                f"Expected a group in column '{column}', found an empty cell in {place}: fill it, or say --group none."
            )
    return [str(cell) for cell in raw.cells[column]]

"""Which columns are no modality: the label, the split, the group and the name of a sample.

roles = assigned(raw, Asked())
roles.labels[3], roles.classes            # index of the class, and the names; or values, and none
roles.split, roles.group, roles.ids       # a value a sample, or None
roles.said                                # what was guessed, in lines, with what overrides it
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from msam_bench.data.importing.asked import Asked
from msam_bench.data.importing.raw import SPLIT_NAMES, Raw
from msam_bench.names import nearest

LABELS = ("label", "labels", "class", "target", "targets", "y")
SPLITS = ("split", "partition", "subset", "fold")
GROUPS = ("group", "subject", "speaker", "actor", "participant", "person", "patient", "user")
IDS = ("id", "name", "sample", "sample_id", "key")

MOST_CLASSES = 50
"""Whole numbers of more different values than this are taken as values to regress."""

Said = tuple[str, str, str]
"""What was guessed: of what, how, and the option that overrides it."""


@dataclass(frozen=True)
class Roles:
    """The columns that are no modality.

    Args:
        labels: The index of its class, or the value or values, of each sample.
        classes: The names of the classes; empty for values.
        split: "train", "valid" or "test" for each sample, or None.
        group: Whom each sample belongs to, or None.
        group_name: The column of the groups.
        ids: The name of each sample.
        columns: All columns that have a role.
        said: What was guessed.
    """

    labels: Sequence[int | float | tuple[float, ...]]
    classes: tuple[str, ...]
    split: Sequence[str] | None
    group: Sequence[str] | None
    group_name: str | None
    ids: Sequence[str]
    columns: tuple[str, ...]
    said: tuple[Said, ...]


def assigned(raw: Raw, asked: Asked) -> Roles:
    """Finds the columns by what was asked, or by their usual names.

    Raises:
        ValueError: No label, a column that is not there, or cells that are not what their role needs.
    """
    labels = list(asked.label) or _usual(raw, LABELS)
    if not labels:
        raise ValueError(
            f"Expected a column named {', '.join(LABELS)} in {raw.title}, found {', '.join(raw.columns)}: "
            "name yours by --label."
        )
    split, group, ids = (
        _one(raw, asked.split, SPLITS),
        _one(raw, asked.group, GROUPS),
        _one(raw, asked.id, IDS),
    )
    ids = None if ids in labels or (ids and asked.id is None and len(set(raw.cells[ids])) < len(raw.places)) else ids
    targets, classes, said = _targets(raw, labels, asked)
    return Roles(
        labels=targets,
        classes=classes,
        split=None if split is None else _splits(raw, split),
        group=None if group is None else [str(cell) for cell in raw.cells[group]],
        group_name=group,
        ids=list(raw.places) if ids is None else [str(cell) for cell in raw.cells[ids]],
        columns=tuple(name for name in (*labels, split, group, ids) if name is not None),
        said=said,
    )


def numbers(cells: Sequence[Any]) -> list[float] | None:
    """Cells as numbers; None if one that is not empty is none."""
    try:
        return [float("nan") if cell == "" else float(cell) for cell in cells]
    except (TypeError, ValueError):
        return None


def _usual(raw: Raw, names: Sequence[str]) -> list[str]:
    """The first column with one of the usual names."""
    lower = {column.lower(): column for column in reversed(list(raw.cells))}
    return [lower[name] for name in names if name in lower][:1]


def _one(raw: Raw, asked: str | None, usual: Sequence[str]) -> str | None:
    """The column that was asked for, or the usual one if there is one."""
    if asked == "none":
        return None
    if asked is None:
        return next(iter(_usual(raw, usual)), None)
    return _column(raw, asked)


def _column(raw: Raw, name: str) -> str:
    if name not in raw.cells:
        known = list(raw.cells)
        advice = nearest(name, known)
        raise ValueError(f"Expected a column '{name}' in {raw.title}, found {', '.join(raw.columns)}: {advice}.")
    return name


def _splits(raw: Raw, column: str) -> list[str]:
    for place, cell in zip(raw.places, raw.cells[column], strict=True):
        if str(cell).lower() not in SPLIT_NAMES:
            raise ValueError(
                f"Expected train, valid or test in column '{column}', found '{cell}' in {place}: rename it, or "
                "leave the split to the seed by --split none."
            )
    return [SPLIT_NAMES[str(cell).lower()] for cell in raw.cells[column]]


def _targets(
    raw: Raw, labels: Sequence[str], asked: Asked
) -> tuple[Sequence[int | float | tuple[float, ...]], tuple[str, ...], tuple[Said, ...]]:
    """Class indices and names, or values."""
    columns = [raw.cells[_column(raw, name)] for name in labels]
    where = f"column{'s' * (len(labels) > 1)} {', '.join(labels)}"
    for place, *cells in zip(raw.places, *columns, strict=True):
        if "" in cells:
            raise ValueError(f"Expected a label in {place}, found an empty cell: fill it, or leave the sample out.")
    task = asked.task or ("classes" if len(columns) == 1 and _looks_like_classes(columns[0]) else "values")
    if task == "classes":
        names = _class_names(columns[0], labels)
        index = {name: place for place, name in enumerate(names)}
        shown = ", ".join(names) if len(names) <= 6 else f"{names[0]}, {names[1]}, ..., {names[-1]}"
        says = ("label", f"{where}: {len(names)} classes ({shown})", "--label, --task values")
        return [index[str(cell)] for cell in columns[0]], tuple(names), (says,)
    values = [_values(column, name, raw) for column, name in zip(columns, labels, strict=True)]
    low, high = min(min(column) for column in values), max(max(column) for column in values)
    says = ("label", f"{where}: values to regress, from {low:g} to {high:g}", "--label, --task classes")
    rows: list[float] | list[tuple[float, ...]] = values[0] if len(values) == 1 else list(zip(*values, strict=True))
    return rows, (), (says,)


def _looks_like_classes(cells: Sequence[Any]) -> bool:
    """Texts are classes; so are whole numbers of few different values."""
    found = numbers(cells)
    if found is None:
        return True
    different = set(found)
    return all(value.is_integer() for value in different) and len(different) <= min(
        MOST_CLASSES, max(2, len(cells) // 2)
    )


def _class_names(cells: Sequence[Any], labels: Sequence[str]) -> list[str]:
    """The names of the classes in their order: numbers by size, texts by the alphabet."""
    if len(labels) > 1:
        raise ValueError(f"Expected one column of classes, found {', '.join(labels)}: name one by --label.")
    names = {str(cell) for cell in cells}
    if len(names) < 2:
        raise ValueError(
            f"Expected two classes or more in column '{labels[0]}', found {', '.join(names)}: add another."
        )
    found = numbers(sorted(names))
    return sorted(names) if found is None else sorted(names, key=lambda name: (float(name), name))


def _values(cells: Sequence[Any], name: str, raw: Raw) -> list[float]:
    found = numbers(cells)
    for row, cell in enumerate(cells):
        if found is None or not isfinite(found[row]):
            value = numbers([cell])
            if value is None or not isfinite(value[0]):
                raise ValueError(f"Expected a finite number in column '{name}', found '{cell}' in {raw.places[row]}.")
    assert found is not None
    return found

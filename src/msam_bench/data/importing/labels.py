"""What is to be learned: the index of a class, or values to regress, for each sample.

labels = read_labels(raw, ImportOptions(label=("emotion",)))
labels.targets[3], labels.classes            # index of the class, and the names; or values, and none
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from msam_bench.data.importing.names import LABELS
from msam_bench.data.importing.numbers import NumberColumn, is_missing
from msam_bench.data.importing.options import ImportOptions, Note
from msam_bench.data.importing.sources import RawSamples
from msam_bench.names import nearest

Target = int | float | tuple[float, ...]


@dataclass(frozen=True)
class Labels:
    """The labels of all samples.

    Args:
        columns: Where they stand.
        targets: The index of its class, or the value or values, of each sample.
        classes: The names of the classes; empty for values.
        note: What was inferred.
    """

    columns: tuple[str, ...]
    targets: Sequence[Target]
    classes: tuple[str, ...]
    note: Note


def label_columns(raw: RawSamples, options: ImportOptions) -> tuple[str, ...]:
    """The columns of the label: the stated ones, or the one with the most usual name.

    Raises:
        ValueError: None, or a column that is not there.
    """
    for name in options.label:
        if name not in raw.columns:
            raise ValueError(
                f"Expected a column '{name}' in {raw.title}, found {', '.join(raw.columns)}: "
                f"{nearest(name, raw.columns)}."
            )
    lower = {column.lower(): column for column in reversed(raw.columns)}
    usual = next((lower[name] for name in LABELS if name in lower), None)
    if options.label:
        return options.label
    if usual is None:
        raise ValueError(
            f"Expected a column named {', '.join(LABELS)} in {raw.title}, found {', '.join(raw.columns)}: "
            "name yours by --label."
        )
    return (usual,)


def unlabelled(raw: RawSamples, columns: Sequence[str]) -> list[int]:
    """The rows that lack a label."""
    cells = [raw.cells[name] for name in columns if name in raw.cells]
    arrays = [raw.arrays[name] for name in columns if name in raw.arrays]
    rows = range(len(raw.places))
    return [
        row
        for row in rows
        if any(is_missing(column[row]) for column in cells) or any(column[row] is None for column in arrays)
    ]


def read_labels(raw: RawSamples, options: ImportOptions) -> Labels:
    """The labels of all samples.

    Raises:
        ValueError: A sample without label, cells that are neither classes nor values, several classes a sample.
    """
    columns = label_columns(raw, options)
    if rows := unlabelled(raw, columns):
        cell = next((raw.cells[name][rows[0]] for name in columns if name in raw.cells), None)
        shown = f"'{cell}'" if cell not in (None, "") else "an empty cell"
        raise ValueError(
            f"Expected a label in {raw.places[rows[0]]}, found {shown}: fill it, or leave such samples out by "
            "--missing drop."
        )
    where = f"column{'s' * (len(columns) > 1)} {', '.join(columns)}"
    if len(columns) == 1 and columns[0] in raw.arrays:
        rows_of_values = _array_rows(raw, columns[0])
        names = raw.class_names or tuple(map(str, range(len(rows_of_values[0]))))
    else:
        if strange := [name for name in columns if name in raw.arrays]:
            raise ValueError(f"Expected columns of numbers as labels, found the array '{strange[0]}': name it alone.")
        if len(columns) == 1:
            return _of_column(raw, columns[0], options, where)
        rows_of_values = list(zip(*(_values(raw, name) for name in columns), strict=True))
        names = columns
    return _of_rows(rows_of_values, names, columns, options, where)


def _array_rows(raw: RawSamples, name: str) -> list[tuple[float, ...]]:
    """The rows of an array of labels."""
    array = np.stack([np.asarray(sample) for sample in raw.arrays[name]])
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected labels [n], [n, 1] or [n, classes] of numbers in '{name}', found {list(array.shape)} of "
            f"{array.dtype}: give one label a sample."
        )
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array).all(1)))
        raise ValueError(f"Expected finite labels in '{name}', found others in {raw.places[row]}: correct them.")
    return [tuple(map(float, row)) for row in array]


def _of_rows(
    rows: Sequence[tuple[float, ...]],
    names: Sequence[str],
    columns: Sequence[str],
    options: ImportOptions,
    where: str,
) -> Labels:
    """Several numbers a sample: one-hot classes, or values to regress."""
    binary = all(set(row) <= {0.0, 1.0} for row in rows)
    if binary and options.task != "values":
        if odd := next((row for row in rows if sum(row) != 1), None):
            raise ValueError(
                f"Expected one class a sample in {where}, found {int(sum(odd))} of {len(odd)} at once: several classes "
                "a sample can only be regressed (--task values)."
            )
        if len(names) != len(rows[0]):
            names = [str(place) for place in range(len(rows[0]))]
        here = sorted({row.index(1.0) for row in rows})
        classes = tuple(names[place] for place in here)
        note = Note("label", f"{where}: one-hot, {_listed(classes)}", "--label, --task values")
        return _checked(Labels(tuple(columns), [here.index(row.index(1.0)) for row in rows], classes, note))
    if options.task == "classes":
        raise ValueError(f"Expected one column of classes, found {', '.join(names)}: name one by --label.")
    low, high = min(min(row) for row in rows), max(max(row) for row in rows)
    note = Note("label", f"{where}: {len(rows[0])} values to regress, from {low:g} to {high:g}", "--label, --task")
    return Labels(tuple(columns), list(rows), (), note)


def _of_column(raw: RawSamples, name: str, options: ImportOptions, where: str) -> Labels:
    """One label a sample."""
    numbers = raw.numbers(name)
    whole = not numbers.faulty and not numbers.missing and all(value.is_integer() for value in numbers.values)
    numeric = not numbers.faulty and not numbers.missing and not _are_booleans(raw.cells[name])
    if options.task == "values" or (options.task is None and numbers.is_numeric and not (whole or not numeric)):
        values = _values(raw, name)
        note = Note(
            "label", f"{where}: values to regress, from {min(values):g} to {max(values):g}", "--label, --task classes"
        )
        return Labels((name,), values, (), note)
    if options.task is None and numbers.faulty and numbers.is_numeric and not _mostly_whole(numbers):
        _refuse_faulty(raw, name, numbers)
    texts = [str(cell).strip() for cell in raw.cells[name]]
    if not _are_booleans(raw.cells[name]):
        texts = _class_texts(raw.cells[name], numbers)
    value_of = dict(zip(texts, numbers.values, strict=True))
    order = sorted(value_of, key=(lambda text: (value_of[text], text)) if numeric else None)
    names = _names(order, raw.class_names)
    index = {text: place for place, text in enumerate(order)}
    note = Note("label", f"{where}: {_listed(names)}", "--label, --task values")
    return _checked(Labels((name,), [index[text] for text in texts], names, note))


def _are_booleans(cells: Sequence[Any]) -> bool:
    return any(isinstance(cell, bool) or str(cell).lower() in ("true", "false", "yes", "no") for cell in cells)


def _mostly_whole(numbers: NumberColumn) -> bool:
    """Whether the numbers among classes are whole, so that a text beside them is a class, too."""
    gone = {*numbers.missing, *numbers.faulty}
    return all(value.is_integer() for row, value in enumerate(numbers.values) if row not in gone)


def _class_texts(cells: Sequence[Any], numbers: NumberColumn) -> list[str]:
    """The class of each sample as a text; 1 and 1.0 are the same."""
    written: dict[float, set[str]] = {}
    for cell, value in zip(cells, numbers.values, strict=True):
        written.setdefault(value, set()).add(str(cell).strip())
    return [
        str(cell).strip() if value != value else _class_text(value, written[value], cell)
        for cell, value in zip(cells, numbers.values, strict=True)
    ]


def _class_text(value: float, written: set[str], cell: Any) -> str:
    """A number as it is always written, else as short as can be."""
    if isinstance(cell, str) and len(written) == 1:
        return cell.strip()
    return str(int(value)) if value.is_integer() else repr(value)


def _names(order: Sequence[str], given: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the classes: those that the archive gives to 0, 1, ... or 1, 2, ..., else as they stand."""
    if given and order == [str(place) for place in range(len(given))]:
        return given
    if given and order == [str(place + 1) for place in range(len(given))]:
        return given
    return tuple(order)


def _checked(labels: Labels) -> Labels:
    if len(labels.classes) < 2:
        raise ValueError(
            f"Expected two classes or more in column '{labels.columns[0]}', found {', '.join(labels.classes)}: "
            "add another."
        )
    return labels


def _listed(classes: Sequence[str]) -> str:
    shown = ", ".join(classes) if len(classes) <= 6 else f"{classes[0]}, {classes[1]}, ..., {classes[-1]}"
    return f"{len(classes)} classes ({shown})"


def _values(raw: RawSamples, name: str) -> list[float]:
    numbers = raw.numbers(name)
    if numbers.faulty or numbers.missing:
        _refuse_faulty(raw, name, numbers)
    return numbers.values


def _refuse_faulty(raw: RawSamples, name: str, numbers: NumberColumn) -> None:
    row = min([*numbers.faulty, *numbers.missing])
    raise ValueError(
        f"Expected a finite number in column '{name}', found '{raw.cells[name][row]}' in {raw.places[row]}: correct "
        "it, or say --task classes."
    )

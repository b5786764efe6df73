"""Columns that nobody claimed and that are no measurement: indexes, names, dates, copies of the label.

reasons = left_out(raw, roles, ImportOptions(group="none"))      # {"subject": "names a group, ..."}
warnings = separating(raw, roles, ["city"])                      # columns of names that alone tell the class

Such a column would be a modality that knows the answer: files sorted by class, class names beside the labels.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from msam_bench.data.importing.names import GROUPS, IDS, SPLITS, is_id, is_index, is_role
from msam_bench.data.importing.numbers import NumberColumn, is_missing
from msam_bench.data.importing.options import ImportOptions
from msam_bench.data.importing.roles import Roles
from msam_bench.data.importing.sources import RawSamples

RARELY = 0.1
"""A column of names that errs at most so often as chance does is warned of."""

_FEW = 10
"""Below so many samples, names that differ say nothing."""

_SAMPLE = 1000
"""How many cells tell that a column has more values than there are classes."""

_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ]\d{1,2}:\d{2}.*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}( \d{1,2}:\d{2}.*)?"
    r"|\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?"
)
_FILE = re.compile(r"[^\s@]+([^@\n]*[^\s@])?\.[A-Za-z][A-Za-z0-9]{1,4}")


def left_out(raw: RawSamples, roles: Roles, options: ImportOptions) -> dict[str, str]:
    """The columns of cells that are taken for no modality, and why; a pattern of `modalities` claims any of them."""
    names = frozenset(name.lower() for name in raw.columns)
    reasons = {}
    for name in raw.cells:
        if name in (*roles.columns, *options.leave_out):
            continue
        if reason := _reason(raw, name, names, roles):
            reasons[name] = reason
    for name, samples in raw.arrays.items():
        if name not in (*roles.columns, *options.leave_out) and _is_one_hot_label(samples, roles):
            reasons[name] = "tells the label one to one"
    return reasons


def _reason(raw: RawSamples, name: str, names: frozenset[str], roles: Roles) -> str | None:
    """Why a column of cells is no modality, if it is none."""
    if looks_like_files(raw.cells[name]):
        return "names of files" if raw.folder is None else None
    if reason := _by_name(name, names) or _by_cells(raw, name):
        return reason
    return None if _are_texts(raw.cells[name]) else _as_label(_compared(raw, name, roles), roles)


def _are_texts(cells: Sequence[Any]) -> bool:
    """Whether cells are of three words or more, as texts are and names of classes hardly."""
    return all(isinstance(cell, str) and len(cell.split()) > 2 for cell in cells[:_SAMPLE])


def file_of(folder: Path, cell: Any) -> Path:
    """The file that a cell names, written as on Windows or as elsewhere."""
    text = str(cell).strip()
    path = folder / text
    return path if "\\" not in text or path.is_file() else folder / text.replace("\\", "/")


def _compared(raw: RawSamples, name: str, roles: Roles) -> Sequence[Any]:
    """The cells of a column as they compare with the label: numbers with values, texts with classes."""
    return raw.cells[name] if roles.labels.classes else raw.numbers(name).values


def looks_like_files(cells: Iterable[Any]) -> bool:
    """Whether most cells end as names of files do, whatever the ending."""
    here = [str(cell).strip() for cell in cells if not is_missing(cell)]
    named = [cell for cell in here if _FILE.fullmatch(cell) and (" " not in cell or PurePath(cell).suffix.isalnum())]
    endings = Counter(PurePath(cell.replace("\\", "/")).suffix.lower() for cell in named)
    return 2 * len(named) > len(here) and len(endings) <= max(8, len(here) // 20) and not _are_sentences(named)


def separating(raw: RawSamples, roles: Roles, names: Iterable[str]) -> list[str]:
    """Warnings of columns of names or running numbers that alone tell nearly every class."""
    return [
        f"column '{name}' alone tells nearly every class, as names and running numbers do: leave it out by --leave-out "
        f"{name} unless it is known before the label"
        for name in names
        if _separates(raw, name, roles)
    ]


def _are_sentences(cells: Sequence[str]) -> bool:
    return sum(cell.count(" ") > 3 for cell in cells) * 2 > len(cells)


def _by_name(name: str, names: frozenset[str]) -> str | None:
    lower = name.lower()
    if is_index(name):
        return "a column without a name" if lower.startswith("unnamed") and lower[:10] != "unnamed: 0" else "an index"
    if lower in SPLITS:
        return "names a split; --split takes it for one"
    if lower in GROUPS:
        return "names whom a sample belongs to; --group keeps its samples on one side"
    if is_role(name, names) and lower not in IDS:
        return "names a label; --label takes it for one"
    if _is_named_as_id(name):
        return "names samples; --group keeps those with the same name on one side of the split"
    return None


def _is_named_as_id(name: str) -> bool:
    return name.lower() in ("id", "name", "sample_id") or is_id(name)


def _by_cells(raw: RawSamples, name: str) -> str | None:
    """Whether the cells are nothing, a running number, dates, or names that no two samples share."""
    cells, numbers = raw.cells[name], raw.numbers(name)
    if len(numbers.missing) == len(cells):
        return "empty"
    if numbers.is_numeric:
        return "counts the samples" if _runs(numbers) else None
    here = [cell for cell in cells if not is_missing(cell)]
    if all(hasattr(cell, "isoformat") for cell in here):
        return "dates or times"
    texts = [str(cell) for cell in here]
    if sum(_DATE.fullmatch(text) is not None for text in texts) * 2 > len(texts):
        return "dates or times"
    return "names no two samples alike" if _are_names(texts) and not looks_like_files(texts) else None


def _runs(numbers: NumberColumn) -> bool:
    """Whether numbers count the rows, from 0 or from 1."""
    values = numbers.values
    if len(values) < _FEW or numbers.missing or numbers.faulty or values[0] not in (0, 1):
        return False
    return values == [values[0] + row for row in range(len(values))]


def _are_names(cells: Sequence[str]) -> bool:
    return len(cells) >= _FEW and len(set(cells)) == len(cells) and not any(re.search(r"\s", cell) for cell in cells)


def _as_label(cells: Sequence[Any], roles: Roles) -> str | None:
    """Whether a column says the same as the label: one value a class and one class a value, or the same values."""
    targets, classes = roles.labels.targets, len(roles.labels.classes)
    if len(set(cells[:_SAMPLE])) > max(classes, 1) and classes:
        return None
    if not classes:
        return "repeats the label" if list(cells) == list(targets) else None
    pairs = set(zip(map(str, cells), targets, strict=True))
    alike = len(pairs) == len({value for value, _ in pairs}) == classes < len(cells)
    return "tells the label one to one" if alike else None


def _is_one_hot_label(samples: Sequence[Any], roles: Roles) -> bool:
    """Whether an array has a single 1 a sample, whose place tells the class."""
    first = np.asarray(samples[0]) if samples[0] is not None else np.zeros(())
    if first.ndim != 1 or not 2 <= len(first) <= max(2, 4 * len(roles.labels.classes)):
        return False
    rows = [np.asarray(sample) for sample in samples if sample is not None]
    if not all(set(np.unique(row)) <= {0, 1} and row.sum() == 1 for row in rows if row.dtype.kind in "biuf"):
        return False
    if any(row.dtype.kind not in "biuf" for row in rows):
        return False
    return _as_label([int(row.argmax()) for row in rows], roles) is not None if len(rows) == len(samples) else False


def _separates(raw: RawSamples, name: str, roles: Roles) -> bool:
    """Whether others with the same name, or with the nearest running numbers, tell the class, where chance does not."""
    targets, numbers = list(roles.labels.targets), raw.numbers(name)
    if not roles.labels.classes or len(targets) < _FEW:
        return False
    if not numbers.is_numeric:
        return _by_value(list(map(str, raw.cells[name])), targets)
    return _are_running(numbers.values) and _by_order(numbers.values, targets)


def _are_running(values: Sequence[float]) -> bool:
    """Whether numbers all differ, and are whole or go on by the same step from row to row."""
    if len(set(values[:_SAMPLE])) < len(values[:_SAMPLE]) or values[0] != values[0]:
        return False
    even = np.allclose(np.diff(np.array(values[:_SAMPLE])), values[1] - values[0], rtol=1e-6, atol=1e-9)
    return (even or all(value.is_integer() for value in values)) and len(set(values)) == len(values)


def _by_value(values: Sequence[str], targets: Sequence[Any]) -> bool:
    """Whether the most frequent class of the other samples with the same value is nearly always right."""
    counts: Mapping[str, Counter[Any]] = defaultdict(Counter)
    for value, target in zip(values, targets, strict=True):
        counts[value][target] += 1
    misses = 0
    for value, target in zip(values, targets, strict=True):
        others = counts[value].copy()
        others[target] -= 1
        (best, count), *_ = others.most_common(1)
        misses += count == 0 or best != target
    chance = len(targets) - Counter(targets).most_common(1)[0][1]
    return misses <= RARELY * chance


def _by_order(values: Sequence[float], targets: Sequence[Any]) -> bool:
    """Whether classes stand in blocks along the values: in hardly more runs than there are classes."""
    along = [targets[row] for row in sorted(range(len(values)), key=values.__getitem__)]
    extra = 1 + sum(one != other for one, other in pairwise(along)) - len(set(targets))
    alike = sum(count**2 for count in Counter(targets).values()) / len(targets)
    by_chance = 1 + len(targets) - alike - len(set(targets))
    return by_chance >= 2 and extra <= RARELY * by_chance

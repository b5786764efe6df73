"""Tables of the user's own: csv through the standard library, parquet through pyarrow.

table = read_table(Path("manifest.csv"))
table.cells, table.arrays           # {"file": ["a.wav", ...], "label": ["dog", ...]}, {}
table.lines, table.hint             # the line of each row; how its numbers are written
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msam_bench.data.importing.numbers import DecimalHint, decimal_evidence, parse
from msam_bench.data.importing.options import DecimalSign
from msam_bench.data.media.opening import brief

TABLES = (".csv", ".tsv", ".parquet")
"""Endings of files that are tables."""

_FALLBACK: Mapping[str, Any] = {",": "point", ";": "comma", "|": "point", "\t": None}
"""Separator -> the decimal sign of a comma that could be either: where cells end at a semicolon, commas are decimal."""

_LIST = re.compile(r"\s*\[[\s\d.,+\-eE]*\]\s*")
_EVIDENCE_ROWS = 1000


@dataclass(frozen=True)
class TableContent:
    """The content of a table.

    Args:
        cells: Column -> a number or text a row; None where a parquet table has nothing.
        arrays: Column of lists -> an array a row.
        lines: The line of each row.
        hint: How its numbers are written.
    """

    cells: Mapping[str, Sequence[Any]]
    arrays: Mapping[str, Sequence[NDArray[Any]]]
    lines: Sequence[int]
    hint: DecimalHint = field(default_factory=DecimalHint)


def read_table(path: Path) -> TableContent:
    """The columns of a table.

    Raises:
        ValueError: An empty table, one that is damaged, a row with another number of cells, a name that is there twice.
    """
    table = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    if not table.lines:
        raise ValueError(f"Expected rows in {path}, found none: a table needs a line of names and a line a sample.")
    lists = {name: column for name, column in table.cells.items() if _are_lists(column)}
    arrays = {name: _stack(name, column, table.lines, path) for name, column in lists.items()}
    cells = {name: column for name, column in table.cells.items() if name not in lists}
    return TableContent(cells, arrays, table.lines, table.hint)


def _read_csv(path: Path) -> TableContent:
    rows, lines, separator = _rows_of(path)
    names = _names_of(rows, path)
    for line, row in zip(lines[1:], rows[1:], strict=True):
        if len(row) != len(names):
            raise ValueError(
                f"Expected {len(names)} cells in line {line} of {path}, found {len(row)}: repair the line."
            )
    columns = {name: [row[place].strip() for row in rows[1:]] for place, name in enumerate(names)}
    columns = {name: cells for name, cells in columns.items() if any(cells) or not _is_unnamed(name)}
    return TableContent(columns, {}, lines[1:], DecimalHint(_evidence(columns), _FALLBACK[separator]))


def _evidence(columns: Mapping[str, Sequence[str]]) -> DecimalSign | None:
    """The decimal sign that a table proves, columns with commas first; None where no cell has one."""
    commas = [any("," in cell for cell in cells) for cells in columns.values()]
    ordered = sorted(zip(commas, columns.values(), strict=True), key=lambda pair: not pair[0])
    sample = chain.from_iterable(cells[:_EVIDENCE_ROWS] for _, cells in ordered)
    return decimal_evidence(sample) if any(commas) else None


def _rows_of(path: Path) -> tuple[list[list[str]], list[int], str]:
    """The rows that are not empty, their lines, and the separator."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            separator, stated = _separator(stream.readline())
            if not stated:
                stream.seek(0)
            reader = csv.reader(stream, delimiter=separator)
            numbered = [(reader.line_num + stated, row) for row in reader if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"Expected a table of UTF-8 text in {path}, found: {brief(error, path)}; save it as UTF-8."
        ) from None
    return [row for _, row in numbered], [line for line, _ in numbered], separator


def _separator(first: str) -> tuple[str, bool]:
    """The separator that the line of names has most of, or that the line before it states."""
    if match := re.fullmatch(r'"?sep=(.)"?\s*', first, re.IGNORECASE):
        return match[1] if match[1] in _FALLBACK else ",", True
    return max(_FALLBACK, key=first.count), False


def _names_of(rows: Sequence[Sequence[str]], path: Path) -> list[str]:
    """The names of the columns; rows with one cell more than the line of names begin with an index."""
    names = [name.strip() for name in rows[0]] if rows else []
    if len(rows) > 1 and all(len(row) == len(names) + 1 for row in rows[1:]):
        names = ["", *names]
    numeric = [name for name in names if parse(name) is not None]
    if len(numeric) > len(names) // 2 and not _counts(numeric):
        raise ValueError(
            f"Expected the names of the columns in the first line of {path}, found numbers such as {numeric[0]}: "
            "put a line of names before it."
        )
    names = [name or f"Unnamed: {place}" for place, name in enumerate(names)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"Expected each column of {path} once, found '{twice[0]}' more than once: rename one.")
    return names


def _counts(names: Sequence[str]) -> bool:
    """Whether names number the columns."""
    return all(name.isdigit() for name in names) and all(
        int(after) - int(before) == 1 for before, after in pairwise(names)
    )


def _is_unnamed(name: str) -> bool:
    return name.startswith("Unnamed: ")


def _read_parquet(path: Path) -> TableContent:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ValueError("Expected pyarrow to read parquet, found it missing: pip install 'msam[tables]'.") from None
    try:
        columns: dict[str, list[Any]] = pq.read_table(path).to_pydict()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"Expected a parquet table in {path}, found: {brief(error, path)}.") from None
    for name, column in columns.items():
        if odd := next((cell for cell in column if isinstance(cell, bytes | dict)), None):
            raise ValueError(
                f"Expected numbers, texts or lists in column '{name}' of {path}, found {type(odd).__name__}: write it "
                "to files and name them in the table."
            )
    return TableContent(columns, {}, list(range(len(next(iter(columns.values()), [])))))


def _are_lists(column: Sequence[Any]) -> bool:
    """Whether the cells are lists, or texts such as "[1.0, 2.0]"."""
    here = [cell for cell in column if cell not in (None, "")]
    return bool(here) and all(isinstance(cell, list) or _is_list_text(cell) for cell in here)


def _is_list_text(cell: Any) -> bool:
    return isinstance(cell, str) and _LIST.fullmatch(cell) is not None


def _stack(name: str, column: Sequence[Any], lines: Sequence[int], path: Path) -> list[NDArray[Any]]:
    """Lists as arrays of one shape; None where there is no list."""
    arrays: list[Any] = []
    for line, cell in zip(lines, column, strict=True):
        try:
            arrays.append(None if cell in (None, "") else _array(cell))
        except (TypeError, ValueError):
            raise ValueError(
                f"Expected a list of numbers in column '{name}' of {path}, found {str(cell)[:40]!r} in line {line}: "
                "repair it."
            ) from None
    shapes = {array.shape: line for line, array in reversed(list(zip(lines, arrays, strict=True))) if array is not None}
    if len(shapes) > 1:
        (first, second), (one, other) = list(shapes)[-2:], list(shapes.values())[-2:]
        raise ValueError(
            f"Expected lists of one length in column '{name}' of {path}, found {list(second)} in line {other} and "
            f"{list(first)} in line {one}: cut or fill them."
        )
    return arrays


def _array(cell: Any) -> NDArray[Any]:
    if isinstance(cell, str):
        return np.array([float(part) for part in re.split(r"[\s,]+", cell.strip().strip("[]").strip())], np.float32)
    return np.asarray(cell, dtype=np.float32)

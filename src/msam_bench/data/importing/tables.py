"""Tables of the user's own: csv through the standard library, parquet through pyarrow.

cells, arrays, lines = table(Path("manifest.csv"))      # {"file": ["a.wav", ...], "label": ["dog", ...]}
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msam_bench.data.media.opening import brief

TABLES = (".csv", ".tsv", ".parquet")
"""Endings of files that are tables."""

Table = tuple[Mapping[str, Sequence[Any]], Mapping[str, Sequence[NDArray[Any]]], Sequence[int]]


def table(path: Path) -> Table:
    """The columns of a table.

    Returns:
        Columns of numbers and texts; columns of lists of numbers (parquet only); the line of each row.

    Raises:
        ValueError: An empty table, one that is damaged, a row with another number of cells, a name that is there twice.
    """
    cells, lines = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    if not lines:
        raise ValueError(f"Expected rows in {path}, found none: a table needs a line of names and a line a sample.")
    lists = {name for name, column in cells.items() if isinstance(column[0], list)}
    arrays = {name: [np.asarray(cell, dtype=np.float32) for cell in cells[name]] for name in lists}
    return {name: column for name, column in cells.items() if name not in lists}, arrays, lines


def _csv(path: Path) -> tuple[dict[str, list[str]], list[int]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            separator = _separator(stream.readline())
            stream.seek(0)
            reader = csv.reader(stream, delimiter=separator)
            numbered = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"Expected a table of UTF-8 text in {path}, found: {brief(error, path)}.") from None
    names = numbered[0][1] if numbered else []
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"Expected each column of {path} once, found '{twice[0]}' more than once: rename one.")
    for line, row in numbered[1:]:
        if len(row) != len(names):
            raise ValueError(
                f"Expected {len(names)} cells in line {line} of {path}, found {len(row)}: repair the line."
            )
    columns = {name: [row[place].strip() for _, row in numbered[1:]] for place, name in enumerate(names)}
    return columns, [line for line, _ in numbered[1:]]


def _separator(header: str) -> str:
    """The separator that the line of names has most of."""
    return max(",;\t", key=header.count)


def _parquet(path: Path) -> tuple[dict[str, list[Any]], list[int]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ValueError("Expected pyarrow to read parquet, found it missing: pip install 'msam[tables]'.") from None
    try:
        columns: dict[str, list[Any]] = pq.read_table(path).to_pydict()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"Expected a parquet table in {path}, found: {brief(error, path)}.") from None
    rows = len(next(iter(columns.values()), []))
    for name, column in columns.items():
        if None in column:
            raise ValueError(
                f"Expected a value in every row of '{name}' in {path}, found row {column.index(None)} empty."
            )
    return columns, list(range(rows))

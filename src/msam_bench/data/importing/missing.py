"""Samples that lack a value or a whole modality: refused, dropped, or filled and marked as absent.

rows = rows_to_keep(raw, columns, "drop")           # None if all are kept
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

from msam_bench.data.importing.column import Column
from msam_bench.data.importing.options import Missing


def incomplete(columns: Sequence[Column]) -> list[int]:
    """The rows that lack anything, in order."""
    return sorted({row for column in columns for row in (*column.absent, *column.gaps)})


def absent_modalities(columns: Sequence[Column], count: int) -> list[frozenset[str]]:
    """The modalities that each sample lacks."""
    return [frozenset(column.name for column in columns if row in column.absent) for row in range(count)]


def fill_empty_samples(columns: Sequence[Column], count: int) -> list[Column]:
    """Columns in which samples without any modality have the mean of those that are numbers."""
    empty = {row for row in range(count) if all(row in column.absent for column in columns)}
    if not empty:
        return list(columns)
    return [_filled(column, empty) if column.fillable else column for column in columns]


def _filled(column: Column, rows: set[int]) -> Column:
    """A column in which some samples lack values rather than all of it."""
    absent = {row: gap for row, gap in column.absent.items() if row not in rows}
    return replace(column, absent=absent, gaps={**column.gaps, **{row: column.absent[row] for row in rows}})


def check_complete(columns: Sequence[Column], places: Sequence[str], policy: Missing) -> None:
    """Raises a ValueError for what the policy does not allow.

    Args:
        columns: The modalities.
        places: Where each sample stands.
        policy: "refuse" allows nothing missing; "mean" allows it, but for samples and modalities that miss everything.
    """
    rows = incomplete(columns)
    if rows and policy == "refuse":
        _refuse(columns, places, rows)
    for column in columns:
        if len(column.absent) == len(places):
            raise ValueError(
                f"Expected a sample with the modality '{column.name}', found none: leave it out by --leave-out "
                f"{column.name}."
            )
    for row in rows:
        if all(row in column.absent for column in columns):
            raise ValueError(
                f"Expected a modality in {places[row]}, found all of them missing: drop it, or say --missing drop."
            )


def _refuse(columns: Sequence[Column], places: Sequence[str], rows: Sequence[int]) -> NoReturn:
    """Names the first missing value, and the ways out."""
    column = next(column for column in columns if rows[0] in column.absent or rows[0] in column.gaps)
    gap = column.absent.get(rows[0]) or column.gaps[rows[0]]
    mean = "the mean of the training split" if column.gaps else f"'{column.name}' is then absent from the sample"
    more = f" and in {len(rows) - 1:,} more of {len(places):,} samples" if len(rows) > 1 else ""
    raise ValueError(
        f"Expected {gap.expected}, found {gap.found} in {places[rows[0]]}{more}: fill it, or say --missing mean "
        f"({mean}) or --missing drop."
    )

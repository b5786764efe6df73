"""What the tests of imported data share: tables and arrays of a stranger, planned, built and read again."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msam_bench.data.importing import ImportOptions, ImportPlan, plan_import
from msam_bench.data.store.prepared import Prepared, opened

COUNT = 40
LABELS = [("cat", "dog")[row % 2] for row in range(COUNT)]


def noise(seed: int = 0, count: int = COUNT) -> list[float]:
    return np.random.default_rng(seed).normal(size=count).round(3).tolist()


def write_table(path: Path, columns: Mapping[str, Sequence[Any]], separator: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter=separator)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def table(folder: Path, separator: str = ",", **columns: Sequence[Any]) -> Path:
    """A table with these columns and a label."""
    return write_table(folder / "t.csv", {"label": LABELS, **columns}, separator)


def archive(folder: Path, **arrays: Any) -> Path:
    """An archive with these arrays and, unless there is another label, three classes y."""
    known = {} if {"y", "label"} & set(arrays) else {"y": np.arange(COUNT) % 3}
    np.savez(folder / "a.npz", **known, **arrays)
    return folder / "a.npz"


def planned(*sources: Path, **options: Any) -> ImportPlan:
    return plan_import(sources, "mine", ImportOptions(**options))


def built(folder: Path, *sources: Path, **options: Any) -> Prepared:
    planned(*sources, **options).build(folder / "mine")
    return opened(folder / "mine")


def names(plan: ImportPlan) -> list[str]:
    return [column.name for column in plan.columns]


def note(plan: ImportPlan, subject: str) -> str:
    return next(note.text for note in plan.notes if note.subject == subject)

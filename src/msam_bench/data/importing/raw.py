"""What lies in files of the user's own, before anybody knows what it means: cells and arrays, one a sample.

raw = found([Path("folder")])          # its csv; paths in it are relative to the folder
raw = found([Path("data.npz")])        # arrays whose first axis is the sample
raw = found([Path("train.npz"), Path("test.npz")])
raw.cells["label"][3], raw.arrays["audio"][3], raw.places[3]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msam_bench.data.importing.archives import ARCHIVES, arrays
from msam_bench.data.importing.tables import TABLES, table

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
"""What people call the splits."""


@dataclass(frozen=True)
class Raw:
    """Samples as they were found.

    Args:
        cells: Column -> one number or text a sample.
        arrays: Column -> one array a sample.
        places: Where each sample stands, as one says it ("line 17 of table.csv").
        folder: What paths in cells are relative to; None if there can be none.
        title: The name of the sources, in a few words.
    """

    cells: Mapping[str, Sequence[Any]]
    arrays: Mapping[str, Sequence[NDArray[Any]]]
    places: Sequence[str]
    folder: Path | None = None
    title: str = field(default="", compare=False)

    @property
    def columns(self) -> list[str]:
        """The names of all columns."""
        return [*self.cells, *self.arrays]


def found(sources: Sequence[Path]) -> Raw:
    """What lies in some files, or in one folder with a table of its files.

    Raises:
        ValueError: No source, one that is missing or of another kind, or several that do not go together.
    """
    if not sources:
        raise ValueError("Expected at least one file or folder to import, found none: name one.")
    paths = [_table_in(path) if path.is_dir() else path for path in sources]
    for path in paths:
        if not path.is_file():
            raise ValueError(f"Expected a file or a folder to import at {path}, found none: check the path.")
        if path.suffix.lower() not in (*TABLES, *ARCHIVES):
            raise ValueError(
                f"Expected {', '.join((*TABLES, *ARCHIVES))} or a folder to import, found {path}: convert it first."
            )
    raws = [_one(path) for path in paths]
    return raws[0] if len(raws) == 1 else _together(paths, raws)


def _table_in(folder: Path) -> Path:
    """The table that lists the files of a folder."""
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLES)
    named = [path for path in tables if path.stem.lower() in ("manifest", "labels", "index", "metadata")]
    for choice in (named, tables):
        if len(choice) == 1:
            return choice[0]
    says = ", ".join(path.name for path in tables) or "none"
    raise ValueError(
        f"Expected one table of the samples in {folder}, found {says}: name it manifest.csv, or give its path."
    )


def _one(path: Path) -> Raw:
    """The content of one file."""
    if path.suffix.lower() in TABLES:
        cells, stacked, lines = table(path)
        return Raw(cells, stacked, [f"line {line} of {path.name}" for line in lines], path.parent, path.name)
    return _of_arrays(arrays(path), path)


def _of_arrays(stored: Mapping[str, NDArray[Any]], path: Path) -> Raw:
    """Arrays by their names, or by names that begin with a split, such as train_audio."""
    split = {name: _split_of(name) for name in stored}
    if any(part for part, _ in split.values()):
        parts = list(dict.fromkeys(part for part, _ in split.values() if part))
        raws = [
            _plain({rest: stored[name] for name, (own, rest) in split.items() if own == part}, f"{part} of {path.name}")
            for part in parts
        ]
        return _stacked(dict(zip(parts, raws, strict=True)), path.name)
    return _plain(stored, path.name)


def _split_of(name: str) -> tuple[str, str]:
    """The split that the name of an array begins with, if any, and the rest."""
    for separator in "_-./":
        head, _, rest = name.partition(separator)
        if rest and head.lower() in SPLIT_NAMES:
            return head, rest
    return "", name


def _plain(stored: Mapping[str, NDArray[Any]], where: str) -> Raw:
    counts = {name: len(values) if values.ndim else 0 for name, values in stored.items()}
    if len(set(counts.values())) != 1 or not all(counts.values()):
        says = ", ".join(f"{name} {count}" for name, count in counts.items()) or "no array"
        raise ValueError(
            f"Expected as many samples in every array of {where}, found {says}: leave out what is no data."
        )
    cells = {name: values.tolist() for name, values in stored.items() if values.ndim == 1}
    rest: dict[str, Sequence[NDArray[Any]]] = {name: v for name, v in stored.items() if v.ndim > 1}  # type: ignore[misc]
    return Raw(cells, rest, [f"row {row} of {where}" for row in range(next(iter(counts.values())))], None, where)


def _together(paths: Sequence[Path], raws: Sequence[Raw]) -> Raw:
    """Files named after splits one after the other; others side by side."""
    stems = [path.stem for path in paths]
    if all(stem.lower() in SPLIT_NAMES for stem in stems):
        return _stacked(dict(zip(stems, raws, strict=True)), ", ".join(path.name for path in paths))
    columns = [column for raw in raws for column in raw.columns]
    lengths = {path.name: len(raw.places) for path, raw in zip(paths, raws, strict=True)}
    if len(set(lengths.values())) > 1 or len(set(columns)) < len(columns):
        says = ", ".join(f"{name} {count}" for name, count in lengths.items())
        raise ValueError(f"Expected files with different columns of as many samples, found {says}: bring them in line.")
    return Raw(
        {name: values for raw in raws for name, values in raw.cells.items()},
        {name: values for raw in raws for name, values in raw.arrays.items()},
        raws[0].places,
        raws[0].folder,
        ", ".join(lengths),
    )


def _stacked(parts: Mapping[str, Raw], title: str) -> Raw:
    """Parts one after the other, with a column that says which split each is."""
    raws, first = list(parts.values()), next(iter(parts.values()))
    for name, raw in parts.items():
        if set(raw.columns) != set(first.columns):
            raise ValueError(
                f"Expected the columns {', '.join(first.columns)} in every split, found {', '.join(raw.columns)} in "
                f"{name}: bring them in line."
            )
    split = [name for name, raw in parts.items() for _ in raw.places]
    return Raw(
        {"split": split, **{name: [cell for raw in raws for cell in raw.cells[name]] for name in first.cells}},
        {name: Chain([raw.arrays[name] for raw in raws]) for name in first.arrays},
        [place for raw in raws for place in raw.places],
        first.folder,
        title,
    )


class Chain(Sequence[NDArray[Any]]):
    """Arrays one after the other along the first axis, without copying them."""

    def __init__(self, parts: Sequence[Sequence[NDArray[Any]]]) -> None:
        self.parts = parts
        self.ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, row: Any) -> Any:
        part = int(np.searchsorted(self.ends, row, side="right"))
        return self.parts[part][row - (int(self.ends[part - 1]) if part else 0)]

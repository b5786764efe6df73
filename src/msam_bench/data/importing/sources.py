"""What lies in files of the user's own, before anything is known of its meaning: cells and arrays, one a sample.

raw = read_sources([Path("folder")])          # its csv; paths in it are relative to the folder
raw = read_sources([Path("data.npz")])        # arrays whose first axis is the sample
raw = read_sources([Path("train.npz"), Path("test.npz")])
raw = read_sources([Path("audio.csv"), Path("video.csv")])      # joined on the column of ids that they share
raw.cells["label"][3], raw.arrays["audio"][3], raw.places[3]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msam_bench.data.importing.archives import ARCHIVES, read_arrays
from msam_bench.data.importing.numbers import DecimalHint, NumberColumn, read_numbers
from msam_bench.data.importing.options import Note
from msam_bench.data.importing.tables import TABLES, read_table

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

CLASS_NAMES = ("classes", "class_names", "classnames", "label_names", "labels_names", "target_names", "categories")
"""What people call an array of the classes' names, which is no array of samples."""

Rows = Sequence[Any]


@dataclass(frozen=True)
class RawSamples:
    """Samples as they are stored.

    Args:
        cells: Column -> one number or text a sample; None where it has none.
        arrays: Column -> one array a sample; None where it has none.
        places: Where each sample stands, as one says it ("line 17 of table.csv").
        folder: What paths in cells are relative to; None if there can be none.
        title: The name of the sources, in a few words.
        hints: Column -> how its numbers are written; plainly where there is none.
        class_names: Names of the classes, if an archive has them beside the samples.
        notes: What was inferred on the way.
        files: The files that were read.
        na: Further cells that mean a missing value.
        omitted: Arrays that are no samples, or that the user leaves out.
    """

    cells: Mapping[str, Rows]
    arrays: Mapping[str, Rows]
    places: Sequence[str]
    folder: Path | None = None
    title: str = field(default="", compare=False)
    hints: Mapping[str, DecimalHint] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    files: tuple[Path, ...] = ()
    na: tuple[str, ...] = ()
    omitted: tuple[str, ...] = ()
    _numbers: dict[str, NumberColumn] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def columns(self) -> list[str]:
        """The names of all columns."""
        return [*self.cells, *self.arrays]

    def numbers(self, column: str) -> NumberColumn:
        """A column of cells read as numbers, once."""
        if column not in self._numbers:
            hint = self.hints.get(column, DecimalHint())
            self._numbers[column] = read_numbers(self.cells[column], hint, self.na)
        return self._numbers[column]

    def take(self, rows: Sequence[int | None], places: Sequence[str] | None = None) -> RawSamples:
        """Some samples in another order; None is a sample that is not there."""
        cells = {name: [None if row is None else column[row] for row in rows] for name, column in self.cells.items()}
        arrays = {name: Rearranged(array, rows) for name, array in self.arrays.items()}
        chosen = places or [self.places[row] for row in rows if row is not None]
        return replace(self, cells=cells, arrays=arrays, places=chosen)


class Rearranged(Sequence[Any]):
    """Arrays in another order, without copying them; None where a row is None."""

    def __init__(self, samples: Rows, rows: Sequence[int | None]) -> None:
        self.samples, self.rows = samples, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: Any) -> Any:
        chosen = self.rows[row]
        return None if chosen is None else self.samples[chosen]


class Chain(Sequence[Any]):
    """Arrays one after the other along the first axis, without copying them."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self.parts = parts
        self.ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, row: Any) -> Any:
        part = int(np.searchsorted(self.ends, row, side="right"))
        return self.parts[part][row - (int(self.ends[part - 1]) if part else 0)]


def read_file(path: Path, leave_out: Collection[str] = ()) -> RawSamples:
    """The content of one file, or of a folder with one table of its files.

    Args:
        path: A table, an archive or a folder.
        leave_out: Arrays that need not hold one value a sample.

    Raises:
        ValueError: A source that is missing, of another kind or damaged.
    """
    path = _table_in(path) if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"Expected a file or a folder to import at {path}, found none: check the path.")
    ending = path.suffix.lower()
    if ending not in (*TABLES, *ARCHIVES):
        raise ValueError(
            f"Expected {', '.join((*TABLES, *ARCHIVES))} or a folder to import, found {path}: convert it first."
        )
    if ending in ARCHIVES:
        stored = read_arrays(path, leave_out)
        raw = _of_archive({name: array for name, array in stored.items() if array is not None}, path)
        skipped = tuple(name for name, array in stored.items() if array is None)
        return replace(raw, files=(path,), omitted=(*raw.omitted, *skipped))
    table = read_table(path)
    places = [f"line {line} of {path.name}" for line in table.lines]
    hints = dict.fromkeys(table.cells, table.hint)
    return RawSamples(table.cells, table.arrays, places, path.parent, path.name, hints, files=(path,))


def _table_in(folder: Path) -> Path:
    """The table that lists the files of a folder."""
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLES)
    named = [path for path in tables if path.stem.lower() in ("manifest", "labels", "index", "metadata")]
    for choice in (named, tables):
        if len(choice) == 1:
            return choice[0]
    names = ", ".join(path.name for path in tables) or "none"
    raise ValueError(
        f"Expected one table of the samples in {folder}, found {names}: name it manifest.csv, or give its path."
    )


def _of_archive(stored: Mapping[str, NDArray[Any]], path: Path) -> RawSamples:
    """Arrays by their names, or by names that begin with a split, such as train_audio."""
    split = {name: _split_of(name) for name in stored}
    parts = list(dict.fromkeys(part for part, _ in split.values() if part))
    if not parts:
        return _of_arrays(stored, path.name)
    shared = {rest: stored[name] for name, (part, rest) in split.items() if not part and _is_beside(rest, stored[name])}
    inside = {
        part: {rest: stored[name] for name, (of_part, rest) in split.items() if of_part == part} | shared
        for part in parts
    }
    if lost := [name for name, (part, rest) in split.items() if not part and rest not in shared]:
        raise ValueError(
            f"Expected every array of {path.name} to begin with its split, as {next(iter(split))} does, found "
            f"'{lost[0]}': rename it, or leave it out by --leave-out {lost[0]}."
        )
    raws = {part: _of_arrays(arrays, f"{part} of {path.name}") for part, arrays in inside.items()}
    return stacked(raws, path.name)


def _split_of(name: str) -> tuple[str, str]:
    """The split that the name of an array begins or ends with, if any, and the rest."""
    for separator in "_-./":
        head, _, rest = name.partition(separator)
        if rest and head.lower() in SPLIT_NAMES:
            return head, rest
        rest, _, tail = name.rpartition(separator)
        if rest and tail.lower() in SPLIT_NAMES:
            return tail, rest
    return "", name


def _is_beside(name: str, array: NDArray[Any]) -> bool:
    """Whether an array tells something of the data as a whole: one number, or the classes' names."""
    return array.size == 1 or (name.lower() in CLASS_NAMES and array.ndim == 1)


def _of_arrays(stored: Mapping[str, NDArray[Any]], where: str) -> RawSamples:
    """Arrays of as many samples each; single numbers and names of classes beside them are no samples."""
    if odd := [name for name, array in stored.items() if array.dtype.kind == "c"]:
        raise ValueError(
            f"Expected real numbers in '{odd[0]}', found {stored[odd[0]].dtype}: import its magnitude, or real and "
            f"imaginary part as two arrays, or leave it out by --leave-out {odd[0]}."
        )
    counts = {name: len(array) if array.ndim else 0 for name, array in stored.items()}
    most = max(
        Counter(count for name, count in counts.items() if not _is_beside(name, stored[name])).items(),
        key=lambda item: (item[1], item[0]),
        default=(0, 0),
    )[0]
    beside = [name for name in stored if counts[name] != most and _is_beside(name, stored[name])]
    if not most or any(count != most for name, count in counts.items() if name not in beside):
        listed = ", ".join(f"{name} {count}" for name, count in counts.items()) or "no array"
        others = [name for name, count in counts.items() if count != most and name not in beside]
        advice = f"leave out what is no sample by --leave-out {others[0]}" if others else "add some"
        raise ValueError(f"Expected as many samples in every array of {where}, found {listed}: {advice}.")
    arrays = {name: array for name, array in stored.items() if name not in beside}
    flat = {name: array.reshape(-1) for name, array in arrays.items() if array.size == most}
    names = next((tuple(map(_text, stored[name])) for name in beside if stored[name].ndim and counts[name] > 1), ())
    notes = tuple(
        Note(name, "no sample: left out" if counts[name] < 2 else "names of the classes", "--leave-out")
        for name in beside
    )
    cells = {name: [_text(cell) for cell in array.tolist()] for name, array in flat.items()}
    rest: dict[str, Rows] = {name: array for name, array in arrays.items() if name not in flat}  # type: ignore[misc]
    places = [f"row {row} of {where}" for row in range(most)]
    return RawSamples(cells, rest, places, None, where, class_names=names, notes=notes, omitted=tuple(beside))


def _text(cell: Any) -> Any:
    """Bytes and texts without blanks around them; numbers as they are."""
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "replace")
    return cell.strip() if isinstance(cell, str) else cell


def stacked(parts: Mapping[str, RawSamples], title: str) -> RawSamples:
    """Parts one after the other, with a column that says which split each is."""
    raws, first = list(parts.values()), next(iter(parts.values()))
    for name, raw in parts.items():
        if set(raw.columns) != set(first.columns):
            raise ValueError(
                f"Expected the columns {', '.join(first.columns)} in every split, found {', '.join(raw.columns)} in "
                f"{name}: bring them in line."
            )
    split = [name for name, raw in parts.items() for _ in raw.places]
    return RawSamples(
        {"split": split, **{name: [cell for raw in raws for cell in raw.cells[name]] for name in first.cells}},
        {name: Chain([raw.arrays[name] for raw in raws]) for name in first.arrays},
        [place for raw in raws for place in raw.places],
        first.folder,
        title,
        first.hints,
        first.class_names,
        first.notes,
        tuple(path for raw in raws for path in raw.files),
        omitted=first.omitted,
    )

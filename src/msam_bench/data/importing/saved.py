"""Data sets of Hugging Face's `datasets` that `save_to_disk` wrote; read through pyarrow, without `datasets`.

    is_saved(Path("folder"))             # dataset_dict.json (splits in folders), or state.json (one split)
    content = read_saved(Path("folder"))
    content.cells["label"][3], content.arrays["image"][3]

The type of a feature says what becomes of a column: classes and texts become cells of text, numbers cells of numbers,
lists and Array2D to Array5D arrays, pictures arrays [height, width, 3] of one size, sounds log-mel pictures
[1, bands, times] of one length. Pictures and sounds are decoded when they are asked for. The name of a split becomes a
column `split`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msam_bench.data.media.opening import brief, needed, present

RATE, BANDS = 16_000, 64
SECONDS, SIZE = 10.0, 64
"""The most that is taken of a sound and of a picture's sides."""

_MEASURED = 50
"""How many sounds are decoded to infer a length."""

_INFO, _STATE, _SPLITS = "dataset_info.json", "state.json", "dataset_dict.json"


@dataclass(frozen=True)
class SavedSamples:
    """The samples of a saved data set.

    Args:
        cells: Column -> one number or text a sample; None where it is null.
        arrays: Column -> one array a sample, decoded when asked for; None where it is null.
        places: Where each sample stands ("row 3 of train").
        files: The files that were read.
        kinds: Column -> what its arrays are, where the shape does not tell: "spectrogram".
    """

    cells: Mapping[str, Sequence[Any]]
    arrays: Mapping[str, Sequence[Any]]
    places: tuple[str, ...]
    files: tuple[Path, ...]
    kinds: Mapping[str, str] = field(default_factory=dict)


class Decoded(Sequence[Any]):
    """Values of a column, decoded one by one; None where there is none.

    Args:
        values: What is stored, by row.
        decode: From a stored value to an array; raises a ValueError that lacks the place.
        places: Where each row stands.
    """

    def __init__(self, values: Any, decode: Callable[[Any], NDArray[Any]], places: Sequence[str]) -> None:
        self.values, self.decode, self.places = values, decode, places

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: Any) -> Any:
        value = self.values[int(row)].as_py()
        if value is None:
            return None
        try:
            return self.decode(value)
        except ValueError as error:
            raise ValueError(f"{error} ({self.places[int(row)]})") from None


def is_saved(folder: Path) -> bool:
    """Whether a folder is what `save_to_disk` of a data set or of a dict of splits writes."""
    return (folder / _SPLITS).is_file() or all((folder / name).is_file() for name in (_INFO, _STATE))


def read_saved(folder: Path, size: int | None = None, seconds: float | None = None) -> SavedSamples:
    """The samples of all splits in a folder, one split after the other.

    Args:
        folder: Which `is_saved`.
        size: Pixels of a side of pictures; that of the first, at most 64, if None.
        seconds: Length of sounds; that of the longest of the first 50, at most ten, if None.

    Raises:
        ValueError: Files that are missing or damaged, splits of different features, or a feature of another type.
    """
    splits = _json(folder / _SPLITS)["splits"] if (folder / _SPLITS).is_file() else None
    parts = {name: folder / name for name in splits} if splits else {folder.name: folder}
    features = [_json(part / _INFO)["features"] for part in parts.values()]
    for name, each in zip(parts, features, strict=True):
        if each != features[0]:
            raise ValueError(f"Expected the same features in every split of {folder}, found others in '{name}'.")
    files = {name: _files(part) for name, part in parts.items()}
    tables = {name: _table(paths) for name, paths in files.items()}
    places = tuple(f"row {row} of {name}" for name, table in tables.items() for row in range(len(table)))
    columns = {name: _joined([table[name] for table in tables.values()]) for name in features[0]}
    made = _Columns(folder, places, size, seconds)
    for name, feature in features[0].items():
        made.add(name, feature, columns[name])
    if splits:
        made.cells["split"] = [name for name, table in tables.items() for _ in range(len(table))]
    listed = tuple(path for paths in files.values() for path in paths)
    return SavedSamples(made.cells, made.arrays, places, listed, made.kinds)


class _Columns:
    """The columns of a data set, sorted into cells and arrays by the types of their features."""

    def __init__(self, folder: Path, places: Sequence[str], size: int | None, seconds: float | None) -> None:
        self.folder, self.places, self.size, self.seconds = folder, places, size, seconds
        self.cells: dict[str, Sequence[Any]] = {}
        self.arrays: dict[str, Sequence[Any]] = {}
        self.kinds: dict[str, str] = {}

    def add(self, name: str, feature: Any, column: Any) -> None:
        """Sorts in one column."""
        kind = feature.get("_type") if isinstance(feature, dict) else None
        if kind == "Value":
            self.cells[name] = [_cell(value) for value in column.to_pylist()]
        elif kind == "ClassLabel":
            self.cells[name] = [self._class(name, feature["names"], value) for value in column.to_pylist()]
        elif kind == "Image":
            self.arrays[name] = self._decoded(column, self._pictures(column))
        elif kind == "Audio":
            self.arrays[name] = self._decoded(column, self._sounds(column))
            self.kinds[name] = "spectrogram"
        elif _is_numbers(feature):
            self.arrays[name] = self._decoded(column, _array)
        else:
            raise ValueError(
                f"Expected texts, numbers, classes, pictures, sounds or arrays in {self.folder}, found the column "
                f"'{name}' of type {kind or 'dict'}: remove it by remove_columns('{name}') and save again."
            )

    def _decoded(self, column: Any, decode: Callable[[Any], NDArray[Any]]) -> Decoded:
        return Decoded(column, decode, self.places)

    def _class(self, name: str, names: Sequence[str], value: int | None) -> str | None:
        """The name of a class; -1 is how `datasets` writes that there is none."""
        if value is None or value == -1:
            return None
        if not 0 <= value < len(names):
            raise ValueError(f"Expected numbers of {len(names)} classes in '{name}' of {self.folder}, found {value}.")
        return names[value]

    def _pictures(self, column: Any) -> Callable[[Any], NDArray[Any]]:
        first = next((value.as_py() for value in column if value.is_valid), None)
        side = self.size or (min(SIZE, max(_picture(first).shape[:2])) if first else SIZE)
        return lambda value: _resized(_picture(value), side)

    def _sounds(self, column: Any) -> Callable[[Any], NDArray[Any]]:
        heard = [len(_sound(value.as_py())) / RATE for value in column[:_MEASURED] if value.is_valid]
        samples = ceil((self.seconds or min(SECONDS, max([0.1, *heard]))) * RATE)
        return lambda value: _log_mel(_sound(value), samples)


# ---- what is stored --------------------------------------------------------------------------------------------------


def _json(path: Path) -> Any:
    try:
        return json.loads(present(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"Expected JSON in {path}, found: {brief(error, path)}; save the data set again.") from None


def _files(folder: Path) -> list[Path]:
    state = _json(folder / _STATE)
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise ValueError(
            f"Expected the rows themselves in {folder}, found indices into others: save flatten_indices() again."
        )
    return [present(folder / Path(entry["filename"]).name) for entry in state["_data_files"]]


def _table(paths: Sequence[Path]) -> Any:
    """The rows of the arrow files, mapped into memory."""
    try:
        import pyarrow as pa
    except ImportError:
        raise ValueError(
            "Expected pyarrow to read arrow files, found it missing: pip install 'msam[tables]'."
        ) from None
    tables = []
    for path in paths:
        try:
            tables.append(pa.ipc.open_stream(pa.memory_map(str(path))).read_all())
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"Expected an arrow stream in {path}, found: {brief(error, path)}.") from None
    return pa.concat_tables(tables)


def _joined(columns: Sequence[Any]) -> Any:
    import pyarrow as pa

    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], columns[0].type)


def _cell(value: Any) -> Any:
    """Numbers and texts as they are; a truth value as 0 or 1, anything else (a date) as text."""
    if isinstance(value, bool):
        return int(value)
    return value if value is None or isinstance(value, int | float | str) else str(value)


def _is_numbers(feature: Any) -> bool:
    """Whether a feature is an array: of a fixed shape, or lists of lists of numbers."""
    if isinstance(feature, list):
        return len(feature) == 1 and _is_numbers_or_value(feature[0])
    if not isinstance(feature, dict):
        return False
    kind = str(feature.get("_type"))
    if kind.startswith("Array") and kind.endswith("D"):
        return True
    return kind in ("Sequence", "List", "LargeList") and _is_numbers_or_value(feature["feature"])


def _is_numbers_or_value(feature: Any) -> bool:
    if isinstance(feature, dict) and feature.get("_type") == "Value":
        return str(feature["dtype"]).startswith(("int", "uint", "float", "bool"))
    return _is_numbers(feature)


# ---- how values become arrays ----------------------------------------------------------------------------------------


def _array(value: Any) -> NDArray[Any]:
    try:
        return np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        raise ValueError("Expected an array of numbers without gaps, found lists of different lengths") from None


def _content(value: Any, what: str) -> BytesIO:
    """The bytes of a picture or sound: they are inside, unless the data set was saved with paths alone."""
    if not value.get("bytes"):
        raise ValueError(f"Expected the bytes of a {what}, found only its path '{value.get('path')}'")
    return BytesIO(value["bytes"])


def _picture(value: Any) -> NDArray[Any]:
    """A picture, uint8 `[height, width, 3]`."""
    from msam_bench.data.media.images import bytes_of

    image = needed("PIL.Image")
    try:
        with image.open(_content(value, "picture")) as opened:
            return bytes_of(opened).movedim(0, 2).numpy()
    except (OSError, SyntaxError, image.DecompressionBombError) as error:
        raise ValueError(f"Expected a picture, found: {brief(error, Path())}") from None


def _resized(pixels: NDArray[Any], side: int) -> NDArray[Any]:
    import torch

    from msam_bench.data.media.images import sized

    return sized(torch.from_numpy(pixels.copy()).movedim(2, 0), side).movedim(0, 2).numpy()


def _sound(value: Any) -> NDArray[Any]:
    """A sound at 16 kHz, the mean of its channels, `[samples]`."""
    import torch

    from msam_bench.data.media.audio import resampled

    soundfile = needed("soundfile")
    try:
        samples, rate = soundfile.read(_content(value, "sound"), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise ValueError(f"Expected a sound, found: {brief(error, Path())}") from None
    if not len(samples):
        raise ValueError("Expected a sound, found not a single sample")
    return resampled(torch.from_numpy(samples).mean(1), int(rate), RATE).numpy()


def _log_mel(signal: NDArray[Any], samples: int) -> NDArray[Any]:
    """Log-mel energies `[1, bands, times]`."""
    import torch

    from msam_bench.data.media.audio import fitted
    from msam_bench.data.media.spectrograms import filterbank

    return filterbank(fitted(torch.from_numpy(signal), samples), RATE, BANDS)[None].numpy()

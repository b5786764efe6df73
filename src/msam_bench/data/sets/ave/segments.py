"""The segments of AVE: one sample a second, from the features of its authors.

The columns of the labels have no names in the files. They are taken from Annotations.txt, whose lines are in the order
of the arrays: a column that goes with one category alone has its name, and the column that goes with several is the
background. Where the lines say otherwise, columns are called by their number, and the manifest says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msam_bench.data.modality import Modality

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from msam_bench.data.store.building import Plan, Read

ORDERS = {"train": "train_order.h5", "valid": "val_order.h5", "test": "test_order.h5"}
BACKGROUND = "background"


@dataclass(frozen=True)
class Segments:
    """What a preparation needs to know of the features."""

    specs: Mapping[str, Modality]
    classes: tuple[str, ...]
    details: Mapping[str, Any]
    plan: Plan
    read: Read


def segments(folder: Path) -> Segments:
    """The features in a folder, one sample a second.

    Raises:
        ValueError: A missing file, arrays of other shapes, or a label that is not one of its columns.
    """
    from msam_bench.data.store.building import Sample

    labels = _array(folder / "labels.h5", "avadataset")[:]
    _check(labels, folder / "labels.h5")
    audio, visual = (_array(folder / f"{name}_feature.h5", "avadataset") for name in ("audio", "visual"))
    for array, name in ((audio, "audio"), (visual, "visual")):
        if array.shape[:2] != labels.shape[:2]:
            raise ValueError(
                f"Expected {name} features of {list(labels.shape[:2])} seconds, found {list(array.shape)}."
            )
    names = class_names(labels, _categories(folder / "Annotations.txt"))
    plan = {
        part: [
            Sample(f"{row}-{second}", (row, second), int(labels[row, second].argmax()), f"video {row}")
            for row in _order(folder / name, len(labels))
            for second in range(labels.shape[1])
        ]
        for part, name in ORDERS.items()
    }
    columns = tuple(_name(column, set()) for column in range(labels.shape[2]))
    specs = {"audio": Modality("vector"), "video": Modality("image", dtype="float16")}
    details = {"names": "Annotations.txt" if names else "numbers of columns"}
    return Segments(specs, names or columns, details, plan, lambda item: _read(audio, visual, *item))


def class_names(labels: NDArray[Any], categories: list[str]) -> tuple[str, ...] | None:
    """The name of each column, or None if the categories are not those of the rows.

    Args:
        labels: One-hot, `[videos, seconds, columns]`.
        categories: Of each video.
    """
    import numpy as np

    if len(categories) != len(labels):
        return None
    of: list[set[str]] = [set() for _ in range(labels.shape[2])]
    for row, category in zip(np.any(labels, axis=1), categories, strict=True):
        for column in row.nonzero()[0]:
            of[column].add(category)
    names = [_name(column, seen) for column, seen in enumerate(of)]
    return tuple(names) if len(set(names)) == len(names) and BACKGROUND in names else None


def _name(column: int, categories: set[str]) -> str:
    """Of a column that goes with these categories; one that nothing goes with keeps its number."""
    if len(categories) == 1:
        return next(iter(categories))
    return BACKGROUND if categories else f"column {column}"


def _categories(path: Path) -> list[str]:
    """The category of each event in Annotations.txt; none if there is no such file. A header line is left out."""
    if not path.is_file():
        return []
    fields = [line.strip().rsplit("&", 4) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [category for category, *rest in fields if len(rest) == 4 and rest[2].isdigit()]


def _read(audio: NDArray[Any], visual: NDArray[Any], row: int, second: int) -> dict[str, Tensor]:
    import torch

    seen = torch.from_numpy(visual[row, second]).float().movedim(-1, 0).contiguous()
    return {"audio": torch.from_numpy(audio[row, second]).float(), "video": seen}


def _array(path: Path, key: str) -> Any:
    """An array of an h5 file, read where it is asked for."""
    from msam_bench.data.media.opening import needed, present

    h5py = needed("h5py")
    present(path)
    try:
        return h5py.File(path, "r")[key]
    except (OSError, KeyError) as error:
        raise ValueError(
            f"Expected the array '{key}' in {path}, found: {error.args[0]}; fetch the file again."
        ) from None


def _check(labels: NDArray[Any], path: Path) -> None:
    if labels.ndim != 3 or not bool(((labels != 0).sum(-1) == 1).all()):
        raise ValueError(f"Expected one class a second in {path}, found {list(labels.shape)} with other sums.")


def _order(path: Path, videos: int) -> list[int]:
    rows: list[int] = [int(row) for row in _array(path, "order")[:].reshape(-1)]
    if any(not 0 <= row < videos for row in rows):
        raise ValueError(f"Expected numbers of {videos:,} videos in {path}, found {max(rows):,}.")
    return rows

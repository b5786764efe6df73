"""AV-MNIST: handwritten digits with most of their energy removed, and spectrograms of spoken digits in noise.

Expects the five arrays of MultiBench's `avmnist` folder:

    image/train_data.npy, image/test_data.npy     [60000, 784], [10000, 784], from 0 to 255
    audio/train_data.npy, audio/test_data.npy     [60000, 112, 112], [10000, 112, 112], from 0 to 255
    train_labels.npy, test_labels.npy             digits

Arrays are mapped, never loaded whole: the audio alone has six gigabytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msam_bench.data.modality import Modality
from msam_bench.data.sets.official import Official, Preparation

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

SHAPES = {"image": (28, 28), "audio": (112, 112)}
PARTS = ("train", "test")


@dataclass(frozen=True)
class AVMNIST(Official):
    """The arrays as bytes: images `[1, 28, 28]`, spectrograms `[1, 112, 112]`."""

    def preparation(self, source: Path, recipe: str, split: str) -> Preparation:
        """See `Official.preparation`."""
        from msam_bench.data.store.building import Sample

        folder = source / "avmnist" if (source / "avmnist").is_dir() else source
        labels = {part: _array(folder / f"{part}_labels.npy") for part in PARTS}
        arrays = {(name, part): _array(folder / name / f"{part}_data.npy") for name in SHAPES for part in PARTS}
        for (name, part), array in arrays.items():
            _check(array, len(labels[part]), SHAPES[name], folder / name / f"{part}_data.npy")
        for part, digits in labels.items():
            _check_digits(digits, folder / f"{part}_labels.npy")
        plan = {
            name: [Sample(f"{part}-{row}", (part, row), int(labels[part][row])) for row in rows]
            for name, (part, rows) in _rows(split, len(labels["train"]), len(labels["test"])).items()
        }
        specs = {
            "image": Modality("image", dtype="uint8", scale=1 / 255, encoder="resnet18"),
            "audio": Modality("spectrogram", dtype="uint8", scale=1 / 255, encoder="resnet18"),
        }
        return Preparation(self.header(specs, recipe, split), plan, lambda item: _read(arrays, *item))


def _rows(split: str, train: int, test: int) -> dict[str, tuple[str, range]]:
    """Split -> which array and which of its rows: the last twelfth of train validates, or with AGM the last tenth."""
    last = train * 9 // 10 if split == "agm" else train * 11 // 12
    tested = test * 9 // 10 if split == "agm" else test
    return {
        "train": ("train", range(last)),
        "valid": ("train", range(last, train)),
        "test": ("test", range(tested)),
    }


def _read(arrays: Mapping[tuple[str, str], NDArray[Any]], part: str, row: int) -> dict[str, Tensor]:
    return {name: _bytes(arrays[name, part][row], name, f"{part}-{row}") for name in SHAPES}


def _bytes(values: NDArray[Any], name: str, sample: str) -> Tensor:
    """A picture rounded to whole grey levels, `[1, height, width]`."""
    import numpy as np
    import torch

    grey = np.asarray(values, dtype=np.float64)
    if not bool(((grey >= 0) & (grey <= 255)).all()):
        raise ValueError(
            f"Expected values from 0 to 255 in modality '{name}' of '{sample}', found {grey.min():.4g} to "
            f"{grey.max():.4g}: fetch the arrays again."
        )
    return torch.from_numpy(np.rint(grey).astype(np.uint8).reshape(1, *SHAPES[name]))


def _array(path: Path) -> NDArray[Any]:
    """A mapped npy file; nothing in it is run."""
    import numpy as np

    from msam_bench.data.media.opening import present

    present(path)
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"Expected an array in {path}, found: {error}; fetch the file again.") from None
    return array


def _check(array: NDArray[Any], rows: int, shape: tuple[int, int], path: Path) -> None:
    if len(array) != rows or array[:1].size != shape[0] * shape[1]:
        raise ValueError(
            f"Expected {rows:,} pictures of {shape[0]} x {shape[1]} in {path}, one a label, found shape "
            f"{list(array.shape)}: fetch the arrays again."
        )


def _check_digits(digits: NDArray[Any], path: Path) -> None:
    if digits.ndim != 1 or not bool(((digits >= 0) & (digits <= 9) & (digits % 1 == 0)).all()):
        raise ValueError(f"Expected digits from 0 to 9 in {path}, found others: fetch the arrays again.")


AV_MNIST = AVMNIST(
    name="avmnist",
    summary="Handwritten digits with most of their energy removed, and spectrograms of spoken digits in noise.",
    modalities=("image", "audio"),
    classes=tuple("0123456789"),
    licence="none stated",
    citation="Vielzeuf, V., et al. (2018). CentralNet. arXiv 1808.07275; arrays of MultiBench, arXiv 2107.07502",
    origin="MNIST; spoken digits and environmental noise, mixed by the authors of CentralNet",
    where="The archive avmnist.tar.gz that MultiBench (github.com/pliang279/MultiBench) links; unpack it.",
    recipes={"bytes": "both arrays rounded to whole grey levels, given to the model between 0 and 1"},
    protocols={
        "multibench": "55,000 train, the last 5,000 of the training arrays validate, 10,000 test",
        "agm": "the first 90 % of the training arrays train and the rest validates; the first 90 % of the others test",
    },
    expected={"train": 55_000, "valid": 5_000, "test": 10_000},
)

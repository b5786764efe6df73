"""av-digits from the array file that holds all of it: scores on principal axes, a bank of spectrograms, and pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import torch

from msam_bench.data.base import SPLITS
from msam_bench.data.media.opening import present
from msam_bench.data.sets.avdigits.parts import Digits, picture

if TYPE_CHECKING:
    from numpy.typing import NDArray


def ready(path: Path) -> Digits:
    """The digits in a file.

    Raises:
        ValueError: No such file, or one without the arrays that make av-digits.
    """
    import numpy as np

    present(path)
    names = ["image_mean", "image_axes"]
    names += [f"{part}_{name}" for part in SPLITS for name in ("image", "audio", "pair", "label")]
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in names}
    except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
        raise ValueError(f"Expected the arrays of av-digits in {path}, found: {error.args[0]}.") from None
    return Ready(arrays)


class Ready(Digits):
    """See `ready`."""

    parts = "array file"

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.arrays = arrays
        self.labels = {part: arrays[f"{part}_label"].tolist() for part in SPLITS}

    def image(self, part: str, row: int, components: int) -> torch.Tensor:
        """See `Digits`."""
        scores = self.arrays[f"{part}_image"][row]
        return picture(self.arrays["image_mean"], self.arrays["image_axes"], scores, components)

    def audio(self, part: str, row: int) -> torch.Tensor:
        """See `Digits`."""
        spectrogram = self.arrays[f"{part}_audio"][self.arrays[f"{part}_pair"][row]]
        return torch.from_numpy(spectrogram.copy())[None]

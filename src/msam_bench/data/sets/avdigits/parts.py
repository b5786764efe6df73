"""av-digits from its public parts: MNIST, the Free Spoken Digit Dataset and ESC-10.

Everything that is drawn (noise, offsets, pairs) is drawn from generators of fixed seeds, by the place of a recording in
its split: a sample is the same whenever it is made.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from msam_bench.data.base import SPLITS
from msam_bench.data.sets.avdigits.mnist import mnist
from msam_bench.data.sets.avdigits.sounds import Spoken, recordings

if TYPE_CHECKING:
    from numpy.typing import NDArray

AXES = 20
"""Principal axes that are kept; recipes use the first few."""


class Digits(ABC):
    """All samples of av-digits.

    Args:
        parts: What they were made of, in two words.
        labels: Split -> digits.
    """

    parts: str
    labels: Mapping[str, Sequence[int]]

    @abstractmethod
    def image(self, part: str, row: int, components: int) -> Tensor:
        """A picture of so many principal components, uint8 `[1, 28, 28]`."""

    @abstractmethod
    def audio(self, part: str, row: int) -> Tensor:
        """A spectrogram of a spoken digit in noise, from 0 to 63, uint8 `[1, 32, 32]`."""


def picture(mean: NDArray[Any], axes: NDArray[Any], scores: NDArray[Any], components: int) -> Tensor:
    """`mean + scores @ axes` of the first components, within 0 and 255, rounded."""
    values = mean + scores[:components].astype(np.float32) @ axes[:components]
    return torch.from_numpy(np.rint(values.clip(0, 255)).astype(np.uint8).reshape(1, 28, 28))


def built(source: Path) -> Digits:
    """The digits that the parts in a folder make.

    Raises:
        ValueError: A part that is missing or not what it must be.
    """
    images, digits = mnist(source / "mnist")
    return Built(images, digits, recordings(source / "fsdd", source / "esc"))


class Built(Digits):
    """See `built`.

    Args:
        images: "train" and "test" -> `[images, 784]`, from 0 to 255.
        digits: Likewise `[images]`.
        spoken: Split -> recordings with their noise.
    """

    parts = "public parts"

    def __init__(
        self, images: Mapping[str, NDArray[Any]], digits: Mapping[str, NDArray[Any]], spoken: Mapping[str, Spoken]
    ) -> None:
        last = len(digits["train"]) * 11 // 12  # 55,000 of 60,000
        self.spoken = spoken
        self._train = images["train"]
        self._pixels = {"train": images["train"][:last], "valid": images["train"][last:], "test": images["test"]}
        parts = {"train": digits["train"][:last], "valid": digits["train"][last:], "test": digits["test"]}
        self.labels = {part: values.tolist() for part, values in parts.items()}
        self.pairs = {part: self._paired(part) for part in SPLITS}

    @cached_property
    def _principal(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Mean and first principal axes of all training images, `[784]` and `[20, 784]`."""
        values = self._train.astype(np.float64)
        mean = values.mean(0)
        _, axes = np.linalg.eigh(np.cov(values.T))
        return mean.astype(np.float32), axes[:, ::-1][:, :AXES].T.astype(np.float32)

    def image(self, part: str, row: int, components: int) -> Tensor:
        """See `Digits`."""
        mean, axes = self._principal
        return picture(mean, axes, (self._pixels[part][row] - mean) @ axes.T, components)

    def audio(self, part: str, row: int) -> Tensor:
        """See `Digits`."""
        return self.spoken[part].spectrogram(self.pairs[part][row])

    def _paired(self, part: str) -> list[int]:
        """Which spectrogram goes with each image: those of its digit in a drawn order, again and again."""
        pairs = np.zeros(len(self.labels[part]), dtype=np.int64)
        labels = np.array(self.labels[part])
        for digit in range(10):
            rows, bank = np.flatnonzero(labels == digit), self.spoken[part].of(digit)
            order = np.random.default_rng([0, SPLITS.index(part), digit]).permutation(len(rows))
            pairs[rows[order]] = np.resize(bank, len(rows))
        return [int(pair) for pair in pairs]

"""What a data set is to the bench: a source that, given a seed, loads three splits of dicts of tensors.

    source = msam_bench.data.source("digits6")      # what it is, who made it, under which licence: no tensor yet
    dataset = source.load(seed=0)                   # Dataset: splits "train", "valid" and "test"
    train = dataset.splits["train"]                 # Split: inputs {"fou": [200, 76], ...}, target [200]
    dataset.shapes                                  # {"fou": (76,), ...}, what an encoder of each modality takes

A new data set is a frozen subclass of `Source` with two methods, `load` and `sizes`. Its tensors may be views of
memory-mapped files; nothing here copies or writes them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set: row i of every tensor belongs to sample i.

    Args:
        inputs: A tensor `[samples, *shape]` for each modality, in the data set's order of modalities.
        target: Class indices `[samples]` (int64), or values `[samples]` or `[samples, outputs]` (float) to regress.

    Raises:
        ValueError: No modality, or tensors of different lengths.
    """

    inputs: dict[str, Tensor]
    target: Tensor

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError("Expected at least one modality, found none: give inputs={'name': tensor, ...}.")
        for name, tensor in self.inputs.items():
            if len(tensor) != len(self):
                raise ValueError(
                    f"Expected {len(self)} samples of modality '{name}', as many as targets, found {len(tensor)}: "
                    "give every sample one row in every tensor."
                )

    def __len__(self) -> int:
        return len(self.target)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one sample of each modality."""
        return {name: tuple(tensor.shape[1:]) for name, tensor in self.inputs.items()}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits with the same modalities in the same order and of the same shapes.

    Args:
        name: The name of its source.
        splits: "train", "valid" and "test".
        classes: The name of each class index; empty if the target is a value to regress.
        fingerprint: 64 hexadecimal digits that say which data and which recipe, the same for all seeds: two runs are
            comparable only if theirs are equal.

    Raises:
        ValueError: Other splits, or modalities or shapes that differ between splits.
    """

    name: str
    splits: dict[str, Split]
    classes: tuple[str, ...]
    fingerprint: str

    def __post_init__(self) -> None:
        if set(self.splits) != set(SPLITS):
            raise ValueError(
                f"Expected the splits {', '.join(SPLITS)} in '{self.name}', "
                f"found {', '.join(self.splits) or 'none'}: give exactly these three."
            )
        for name, split in self.splits.items():
            if list(split.shapes.items()) != list(self.shapes.items()):
                raise ValueError(
                    f"Expected the modalities {self.shapes} in every split of '{self.name}', found {split.shapes} "
                    f"in '{name}': give all splits the same modalities, order and shapes."
                )

    @property
    def modalities(self) -> tuple[str, ...]:
        """The names of the modalities, in the order that every part of the bench keeps."""
        return tuple(self.shapes)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one sample of each modality."""
        return self.splits["train"].shapes


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """A data set before it is loaded: what it is, where it comes from, under which terms.

    Args:
        name: What the command line calls it.
        summary: One sentence.
        modalities: The names of the modalities, in the order of `Dataset.modalities`.
        classes: The names of the classes; empty for regression.
        licence: The name of the licence of the data.
        citation: What to cite, with a DOI or arXiv number.
        origin: Where the data come from, by name.
        group: What the split keeps on one side ("subject"), or None if samples are drawn one by one.
    """

    name: str
    summary: str
    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    licence: str
    citation: str
    origin: str
    group: str | None = None

    @abstractmethod
    def load(self, seed: int) -> Dataset:
        """The data set with the split that `seed` gives: the same seed, the same tensors, bit for bit.

        Raises:
            ValueError: A negative seed, or stored data that are missing or damaged.
        """

    @abstractmethod
    def sizes(self, seed: int = 0) -> dict[str, int]:
        """The number of samples of each split, without loading a tensor."""

    def fold(self, seed: int) -> int | None:
        """Which fold of the data is tested, for sources whose seeds go round folds; runs compare within folds only."""
        return None


def check_seed(seed: int) -> None:
    """Raises a ValueError if `seed` is negative."""
    if seed < 0:
        raise ValueError(f"Expected a seed of 0 or more, found {seed}: give a whole number that is not negative.")

"""Data sets of the bench: a source that loads three splits of dicts of tensors, given a seed.

    source = msam_bench.data.source("digits6")      # what it is, who made it, under which licence: no tensor yet
    dataset = source.load(seed=0)                   # Dataset: splits "train", "valid" and "test"
    train = dataset.splits["train"]                 # Split of 200 samples
    inputs, target = train.take(slice(0, 32))       # {"fou": [32, 76], ...}, [32], as a model takes them
    dataset.modality_specs                          # {"fou": Modality("vector", (76,)), ...}, what an encoder takes

A new data set is a frozen subclass of `Source`. Its tensors may be views of memory-mapped files, stored in half
precision or as bytes: nothing here copies or writes them, and `take` turns into float32 only what it takes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msam_bench.data.modality import Modality

if TYPE_CHECKING:
    from torch import Tensor

    from msam_bench.data.scaling import Scaling

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    Args:
        inputs: A tensor `[rows, *shape]` for each modality, as it is stored, in the data set's order of modalities.
        target: Class indices `[samples]` (int64), or values `[samples]` or `[samples, outputs]` (float) to regress.
        rows: Which row of every input each sample is `[samples]` (int64); row i is sample i if None.
        scales: How stored values become the model's float32, for modalities that are not stored as it takes them.
        presence: `modality/present` -> booleans as long as the inputs, for modalities that some samples lack.
        samples: A number for each sample that stays with it whichever seed draws the split `[samples]`; see `ids`.
        groups: A number for the group of each sample, such as a person, `[samples]`; None where there are no groups.

    Raises:
        ValueError: No modality, or tensors of different lengths.
    """

    inputs: dict[str, Tensor]
    target: Tensor
    rows: Tensor | None = None
    scales: Mapping[str, Scaling] = field(default_factory=dict)
    presence: Mapping[str, Tensor] = field(default_factory=dict)
    samples: Tensor | None = None
    groups: Tensor | None = None

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError("Expected at least one modality, found none: give inputs={'name': tensor, ...}.")
        for name, tensor in self.inputs.items():
            samples = len(tensor) if self.rows is None else len(self.rows)
            if samples != len(self):
                raise ValueError(
                    f"Expected {len(self)} samples of modality '{name}', as many as targets, found {samples}: "
                    "give every sample one row in every tensor."
                )

    def __len__(self) -> int:
        return len(self.target)

    @property
    def ids(self) -> Tensor:
        """The number of each sample that no seed changes: its row where a seed draws the split, else its place."""
        import torch

        known = self.samples if self.samples is not None else self.rows
        return torch.arange(len(self)) if known is None else known

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one sample of each modality."""
        return {name: tuple(tensor.shape[1:]) for name, tensor in self.inputs.items()}

    def take(self, chosen: Tensor | slice) -> tuple[dict[str, Tensor], Tensor]:
        """Some samples as a model takes them: inputs in float32 (token ids in int64), masks, and their targets.

        Args:
            chosen: Positions in this split, as an index tensor or a slice.
        """
        rows = chosen if self.rows is None else self.rows[chosen]
        taken = {name: tensor[rows] for name, tensor in self.inputs.items()}
        scaled = {name: self.scales[name](part) if name in self.scales else part for name, part in taken.items()}
        return scaled | {key: mask[rows] for key, mask in self.presence.items()}, self.target[chosen]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits with the same modalities in the same order and of the same shapes.

    Args:
        name: The name of its source.
        splits: "train", "valid" and "test".
        classes: The name of each class index; empty if the target is a value to regress.
        fingerprint: 64 hexadecimal digits that say which data and which recipe, the same for all seeds: two runs are
            comparable only if theirs are equal.
        modality_specs: Specification of each modality; inferred from its shape if omitted.
        criterion: (outputs, target) -> scalar mean loss; that of the score if None.

    Raises:
        ValueError: Other splits, or modalities or shapes that differ between splits.
    """

    name: str
    splits: dict[str, Split]
    classes: tuple[str, ...]
    fingerprint: str
    modality_specs: Mapping[str, Modality] = field(default_factory=dict)
    criterion: Callable[[Tensor, Tensor], Tensor] | None = None

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
        if not self.modality_specs:
            specs = {name: Modality.of(shape) for name, shape in self.shapes.items()}
            object.__setattr__(self, "modality_specs", specs)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The names of the modalities, in the order that every part of the bench keeps."""
        return tuple(self.shapes)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one sample of each modality."""
        return self.splits["train"].shapes

    @property
    def outputs(self) -> int:
        """How many numbers a model gives for a sample: one a class, or one a value to regress."""
        target = self.splits["train"].target
        return len(self.classes) or (target.shape[1] if target.dim() > 1 else 1)


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
        where: Where to get it, in one sentence; empty for what ships with msam or was imported here.
    """

    name: str
    summary: str
    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    licence: str
    citation: str
    origin: str
    group: str | None = None
    where: str = ""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """See `Dataset.fingerprint`; known without loading a tensor."""

    @abstractmethod
    def load(self, seed: int) -> Dataset:
        """The data set with the split that `seed` gives: the same seed, the same tensors, bit for bit.

        Raises:
            ValueError: A negative seed, or stored data that are missing or damaged.
        """

    @abstractmethod
    def sizes(self, seed: int = 0) -> dict[str, int]:
        """The number of samples of each split, without loading a tensor."""

    @property
    def here(self) -> bool:
        """Whether `load` will find it."""
        return True

    def status(self) -> str:
        """Whether `load` will find it, and where, in a few words."""
        return "ships with msam"

    def verify(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Reads every byte again and checks it; what ships with msam is checked whenever it is loaded.

        Args:
            progress: Called with bytes done and bytes in all, where that takes a while.

        Raises:
            ValueError: A file that has changed, by name.
        """
        self.load(0)

    def fold(self, seed: int) -> int | None:
        """Which fold of the data is tested, for sources whose seeds go round folds; runs compare within folds only."""
        return None


def check_seed(seed: int) -> None:
    """Raises a ValueError if `seed` is negative."""
    if seed < 0:
        raise ValueError(f"Expected a seed of 0 or more, found {seed}: give a whole number that is not negative.")

"""A user's Datasets and DataLoaders as splits that the bench trains and evaluates on.

    split = UserSplit.of(loader, unpack, "train", Loading(batch_size=32))
    for inputs, target in split.batches(seed=0, processes=ProcessGroup()).shuffled(epoch=3): ...
    split.take(slice(0, 8)), split.target

A Dataset is batched as the bench batches its own data; a DataLoader keeps its batches, order and workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Subset, default_collate

from msam.nested import samples_in
from msam_bench.data.base import Split
from msam_bench.data.problems.streams import Streams
from msam_bench.training.distributed import ProcessGroup
from msam_bench.training.loaders import Batch, SplitLoader, SplitSet

EPOCHS_APART = 1_000_003
MOST_SHOWN = 2048
"""Training samples that are evaluated after an epoch, at most, or as many as there are of validation."""
Unpack = Callable[[Any], Batch]


@dataclass(frozen=True)
class Loading:
    """How Datasets are loaded.

    Args:
        batch_size: samples of an evaluated batch.
        workers: processes that load.
        pinned: whether batches lie in pinned memory, for a CUDA device.
    """

    batch_size: int = 32
    workers: int = 0
    pinned: bool = False


class UserSplit(Split):
    """One split of a user's data; nothing is loaded before it is needed.

    Args:
        source: a Dataset, a DataLoader, or anything that gives batches again and again.
        unpack: batch -> (inputs, target).
        name: of the split, for messages.
        loading: how a Dataset is loaded.
        shapes: modality -> shape of one sample, of the first batch; {} where they are not known yet.
    """

    source: Any
    unpack: Unpack
    name: str
    loading: Loading
    shapes: Mapping[str, tuple[int, ...]] = {}  # type: ignore[assignment]

    def __init__(
        self, source: Any, unpack: Unpack, name: str, loading: Loading, shapes: Mapping[str, tuple[int, ...]] | None
    ) -> None:
        given = {"source": source, "unpack": unpack, "name": name, "loading": loading, "shapes": dict(shapes or {})}
        for key, value in {**given, "scales": {}, "presence": {}}.items():
            object.__setattr__(self, key, value)

    @classmethod
    def of(
        cls,
        source: Any,
        unpack: Unpack | None,
        name: str,
        loading: Loading,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> UserSplit:
        """The split of what a user's data function gave.

        Raises:
            ValueError: it is neither a Dataset nor gives batches.
        """
        if not _indexed(source) and not hasattr(source, "__iter__"):
            raise ValueError(
                f"Expected a torch Dataset or DataLoader as '{name}', found {type(source).__name__}; give one of these."
            )
        if isinstance(source, DataLoader) and loading.workers:
            raise ValueError("loader_workers are for Datasets; this is a DataLoader: give it num_workers instead.")
        return cls(source, unpack or _pair, name, loading, shapes)

    def loaded_by(self, loading: Loading) -> UserSplit:
        """The same samples, loaded in another way."""
        return UserSplit(self.source, self.unpack, self.name, loading, self.shapes)

    def of_other(self, source: Any) -> UserSplit:
        """Other samples, loaded and unpacked in the same way."""
        return UserSplit(source, self.unpack, self.name, self.loading, self.shapes)

    def __len__(self) -> int:
        return len(self.samples_of) if self.samples_of is not None else len(self.target)

    @property
    def samples_of(self) -> Any:
        """The indexed samples; None of an iterable source."""
        dataset = self.source.dataset if isinstance(self.source, DataLoader) else self.source
        return dataset if _indexed(dataset) else None

    @cached_property
    def target(self) -> Tensor:
        """The targets of all samples, in order."""
        return torch.cat([target for _, target in self.ordered()])

    def take(self, chosen: Tensor | slice) -> Batch:  # type: ignore[override]
        """Some samples, by their places."""
        if self.samples_of is None:
            inputs, target = self._whole
            return {name: tensor[chosen] for name, tensor in inputs.items()}, target[chosen]
        rows = range(len(self.samples_of))[chosen] if isinstance(chosen, slice) else chosen.tolist()
        with Streams(0):
            return self.unpacked(self._collate([self.samples_of[row] for row in rows]))

    def first(self, samples: int) -> Batch:
        """The first samples, without loading others."""
        if self.samples_of is not None:
            return self.take(slice(samples))
        inputs, target = next(iter(self.ordered()))
        return {name: tensor[:samples] for name, tensor in inputs.items()}, target[:samples]

    def ordered(self) -> Iterator[Batch]:
        """All samples in order, batch by batch."""
        yield from replayed(lambda: self._ordered_source, 0, self.unpacked)

    def unpacked(self, batch: Any) -> Batch:
        """A batch as (inputs by modality, target).

        Raises:
            ValueError: it is no such pair.
        """
        try:
            pair: Any = self.unpack(batch)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"unpack failed on a batch of '{self.name}': {_error(error)}.") from error
        return _checked(pair, self.name)

    def batches(self, seed: int, batch_size: int, processes: ProcessGroup) -> RowBatches | LoaderBatches:
        """The training batches of a seed."""
        if _indexed(self.source):
            return RowBatches(self, batch_size, seed, processes)
        if processes.count > 1:
            raise ValueError("Several processes share the batches of Datasets; give Datasets instead of DataLoaders.")
        return LoaderBatches(self, seed)

    def evaluation_set(self, most: int | None = None) -> SplitSet | LoaderSet:
        """The samples to evaluate on: all, or at most so many."""
        if _indexed(self.source) and not self.loading.workers and (most is None or len(self) <= most):
            return SplitSet(self)
        return LoaderSet(self, most)

    @cached_property
    def _whole(self) -> Batch:
        parts = list(self.ordered())
        return {name: torch.cat([p[0][name] for p in parts]) for name in parts[0][0]}, torch.cat([p[1] for p in parts])

    @property
    def _collate(self) -> Callable[[list[Any]], Any]:
        return cast(Any, self.source.collate_fn) if isinstance(self.source, DataLoader) else default_collate

    @cached_property
    def _ordered_source(self) -> Iterable[Any]:
        if self.samples_of is None:
            return cast(Iterable[Any], self.source)
        if isinstance(self.source, DataLoader):
            size, workers = self.source.batch_size or self.loading.batch_size, self.source.num_workers
            pinned = self.source.pin_memory or self.loading.pinned
        else:
            size, workers, pinned = self.loading.batch_size, self.loading.workers, self.loading.pinned
        return DataLoader(
            self.samples_of, size, num_workers=workers, pin_memory=pinned, collate_fn=self._collate, drop_last=False
        )


@dataclass(frozen=True)
class RowBatches(SplitLoader):
    """The training batches of a Dataset, in the order in which the bench's own data are batched."""

    def shuffled(self, epoch: int) -> Iterator[Batch]:
        """This process's part of the batches of an epoch, in an order that the seed and the epoch alone decide."""
        split = cast(UserSplit, self.split)
        seed = self.seed * EPOCHS_APART + epoch
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
        rows = [self.processes.take_part(part).tolist() for part in self._batches(order)]
        loading = split.loading
        loader = DataLoader(
            split.samples_of,
            batch_sampler=rows,
            num_workers=loading.workers,
            pin_memory=loading.pinned,
            collate_fn=split._collate,
        )
        return replayed(lambda: loader, seed + self.processes.rank, split.unpacked)


@dataclass(frozen=True)
class LoaderBatches:
    """The training batches of a DataLoader, of which an epoch is the same however often it is begun.

    Args:
        split: with the loader.
        seed: of the run.
    """

    split: UserSplit
    seed: int

    @cached_property
    def batches(self) -> int:
        """The number of batches of an epoch; those of a source without a length are counted once."""
        try:
            return len(self.split.source)
        except TypeError:
            return sum(1 for _ in replayed(lambda: self.split.source, 0, lambda batch: batch))

    def shuffled(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch."""
        seed = self.seed * EPOCHS_APART + epoch
        reseed(self.split.source, seed, epoch)
        return replayed(lambda: self.split.source, seed, self.split.unpacked)


@dataclass(frozen=True)
class LoaderSet:
    """A split to evaluate on, loaded anew each time; see `EvaluationSet`.

    Args:
        split: the samples.
        most: at most so many of them, evenly spaced; all if None.
    """

    split: UserSplit
    most: int | None = None

    @cached_property
    def _part(self) -> UserSplit:
        samples = self.split.samples_of
        if self.most is None or samples is None or len(samples) <= self.most:
            return self.split
        chosen = Subset(samples, torch.linspace(0, len(samples) - 1, self.most).round().long().tolist())
        if not isinstance(self.split.source, DataLoader):
            return self.split.of_other(chosen)
        loader = self.split.source
        source: DataLoader[Any] = DataLoader(
            chosen,
            loader.batch_size or self.split.loading.batch_size,
            num_workers=loader.num_workers,
            collate_fn=loader.collate_fn,
        )
        return self.split.of_other(source)

    @property
    def target(self) -> Tensor:
        """The targets of all samples, in order."""
        return self._part.target

    def __len__(self) -> int:
        return len(self._part)

    def __iter__(self) -> Iterator[Batch]:
        return self._part.ordered()

    def chunks(self, rank: int = 0, count: int = 1) -> Iterator[Batch]:
        """The samples in order, those of every `count`-th batch from the `rank`-th on."""
        return islice(self._part.ordered(), rank, None, count)


def replayed(make: Callable[[], Iterable[Any]], seed: int, unpack: Callable[[Any], Any]) -> Iterator[Any]:
    """Unpacked batches of a source that draws from streams of its own."""
    streams, end = Streams(seed), object()
    with streams:
        batches = iter(make())
    while True:
        with streams:
            batch = next(batches, end)
            pair = unpack(batch) if batch is not end else None
        if batch is end:
            return
        yield pair


def reseed(source: Any, seed: int, epoch: int) -> None:
    """Starts the generators that a DataLoader holds for an epoch."""
    samplers = [getattr(source, "sampler", None), getattr(getattr(source, "batch_sampler", None), "sampler", None)]
    for holder in (source, *samplers):
        generator = getattr(holder, "generator", None)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(seed)
        if callable(start := getattr(holder, "set_epoch", None)):
            start(epoch)


def unrepeatable(source: Any) -> str:
    """Why an epoch of a source may differ when a run is resumed, in a sentence; empty if nothing tells."""
    if getattr(source, "persistent_workers", False):
        return "its workers persist, and what they draw goes on from epoch to epoch"
    dataset = source.dataset if isinstance(source, DataLoader) else source
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        return "it is a stream: it must give the same samples each time, or draw from torch, NumPy or Python alone"
    return ""


def _indexed(source: Any) -> bool:
    """Whether samples can be taken by their places."""
    iterable = isinstance(source, IterableDataset | DataLoader)
    return not iterable and hasattr(source, "__getitem__") and hasattr(source, "__len__")


def _pair(batch: Any) -> Any:
    return tuple(batch) if isinstance(batch, list) else batch


def _checked(pair: Any, name: str) -> Batch:
    """A pair of inputs by modality and a target.

    Raises:
        ValueError: it is none.
    """
    form = "(inputs by modality, target), such as ({'audio': Tensor, 'image': Tensor}, Tensor)"
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise ValueError(f"Expected batches of '{name}' as {form}, found {_shown(pair)}; pass unpack=lambda batch: ...")
    inputs, target = pair
    if not isinstance(inputs, Mapping) or not isinstance(target, Tensor):
        found = f"({_shown(inputs)}, {_shown(target)})"
        raise ValueError(f"Expected batches of '{name}' as {form}, found {found}; pass unpack=lambda batch: ...")
    for key, value in inputs.items():
        if samples_in(value) != len(target):
            raise ValueError(
                f"Expected a tensor of {len(target)} samples as {key!r} of '{name}', as many as targets, found "
                f"{_shown(value)}; mend the collate function, or leave it out in unpack."
            )
    return dict(inputs), target


def _shown(value: Any) -> str:
    """A value by its form."""
    if isinstance(value, Tensor):
        return f"Tensor{list(value.shape)}"
    if isinstance(value, Mapping):
        return f"a mapping of {', '.join(map(str, value))}"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of {len(value)}: {', '.join(type(each).__name__ for each in value)}"
    return type(value).__name__


def _error(error: Exception) -> str:
    """An error of the user's code in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"

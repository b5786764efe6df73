"""The samples of a run: training batches, ordered batches, and sets to evaluate on, of the bench's data or a user's.

samples = Samples(config, dataset, pinned=False)
samples.training(ProcessGroup()).shuffled(epoch=0)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from msam.types import Batches
from msam_bench.config.run import RunConfig
from msam_bench.data import Dataset, Split
from msam_bench.data.problems.samples import MOST_SHOWN, LoaderBatches, LoaderSet, UserSplit
from msam_bench.training.distributed import ProcessGroup
from msam_bench.training.loaders import EvaluationSet, OrderedBatches, SplitLoader, SplitSet


@dataclass(frozen=True)
class Samples:
    """The samples of one run.

    Args:
        config: of the run.
        dataset: with the split of the seed.
        pinned: whether batches go to a CUDA device.
    """

    config: RunConfig
    dataset: Dataset
    pinned: bool

    def training(self, processes: ProcessGroup) -> SplitLoader | LoaderBatches:
        """The batches that are trained on."""
        split = self._split("train")
        if isinstance(split, UserSplit):
            return split.batches(self.config.seed, self.config.batch_size, processes)
        return SplitLoader(split, self.config.batch_size, self.config.seed, processes)

    def ordered(self, name: str) -> Batches:
        """A split in order, in batches as large as those of training, again and again."""
        split = self._split(name)
        return LoaderSet(split) if isinstance(split, UserSplit) else OrderedBatches(split, self.config.batch_size)

    def evaluated(self) -> dict[str, EvaluationSet]:
        """Every split, as it is evaluated after an epoch; of many training samples a part, as large as validation."""
        return {name: self._evaluated(name) for name in self.dataset.splits}

    def _evaluated(self, name: str) -> EvaluationSet:
        split = self._split(name)
        if not isinstance(split, UserSplit):
            return SplitSet(split)
        return split.evaluation_set(max(len(self._split("valid")), MOST_SHOWN) if name == "train" else None)

    def _split(self, name: str) -> Split:
        split = self.dataset.splits[name]
        if not isinstance(split, UserSplit):
            return split
        loading = replace(
            split.loading,
            batch_size=self.config.batch_size,
            workers=self.config.loader_workers,
            pinned=self.pinned,
        )
        return split.loaded_by(loading)

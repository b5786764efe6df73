"""A prepared store as a data set of the bench: `msam compare --data NAME`, or `--data path/to/folder`.

    opened(Path("data/cremad")).load(seed=0).splits["train"].take(rows)

Tensors stay in the mapped files: all workers share them, and only what a batch takes is read. A store with the splits
train, valid and test gives the same samples for every seed. In a store of the one part "all" the seed draws the split:
group by group where samples have groups, else sample by sample within each class. Values to regress are scaled to mean
0 and variance 1 over the training split, which changes no R2.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.data.base import Dataset, Source, Split, check_seed
from msam_bench.data.splits import Rows, drawn, drawn_groups
from msam_bench.data.store.manifest import ALL, NAME, Manifest, presence_file, read, samples_file, tensor_file, verify

if TYPE_CHECKING:
    from torch import Tensor

    from msam_bench.data.scaling import Scaling


def root() -> Path:
    """The folder of prepared stores: `data` in the working directory, or what MSAM_DATA names."""
    return Path(os.environ.get("MSAM_DATA") or "data")


def prepared() -> dict[str, Path]:
    """Every store under `root`, by the name of its folder."""
    return {path.parent.name: path.parent for path in sorted(root().glob(f"*/{NAME}"))}


def opened(folder: Path) -> Prepared:
    """The data set that a folder holds.

    Raises:
        ValueError: the folder is no prepared store, or a damaged one.
    """
    manifest = read(folder)
    header = manifest.header
    return Prepared(
        name=header.name,
        summary=header.summary,
        modalities=tuple(header.modalities),
        classes=header.classes,
        licence=header.licence,
        citation=header.citation,
        origin=header.origin,
        group=header.group,
        folder=folder,
        manifest=manifest,
    )


@dataclass(frozen=True, kw_only=True)
class Prepared(Source):
    """A data set that lies in a prepared store.

    Args:
        folder: The store.
        manifest: Its content.
    """

    folder: Path
    manifest: Manifest

    @property
    def fingerprint(self) -> str:
        """See `Source.fingerprint`: the manifest's."""
        return self.manifest.fingerprint

    @property
    def seeded(self) -> bool:
        """Whether the seed draws the split."""
        return ALL in self.manifest.counts

    def status(self) -> str:
        """See `Source.status`."""
        return f"prepared in {self.folder}"

    def verify(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """See `Source.verify`: hashes every file."""
        verify(self.folder, progress)

    def load(self, seed: int) -> Dataset:
        """See `Source.load`; the seed matters only where the store leaves the split to it."""
        check_seed(seed)
        splits = self._drawn(seed) if self.seeded else _fixed(self.folder, self.fingerprint)
        if self.group is not None:
            splits = {part: replace(split, groups=self._groups(part, split)) for part, split in splits.items()}
        return Dataset(self.name, splits, self.classes, self.fingerprint, self.manifest.header.modalities)

    def sizes(self, seed: int = 0) -> dict[str, int]:
        """See `Source.sizes`."""
        if not self.seeded:
            return dict(self.manifest.counts)
        labels = [label for label, count in enumerate(self.manifest.per_class[ALL]) for _ in range(count)]
        return {part: len(rows) for part, rows in self._rows(labels, seed).items()}

    def _rows(self, labels: list[int], seed: int) -> Rows:
        shares = self.manifest.header.shares
        if self.group is None:
            return drawn(labels or [0] * self.manifest.counts[ALL], shares, seed)
        return drawn_groups(json.loads((self.folder / samples_file(ALL)).read_bytes())["groups"], shares, seed)

    def _groups(self, part: str, split: Split) -> Tensor:
        """The group of each sample of a split as a number that its name alone decides."""
        import torch

        names = json.loads((self.folder / samples_file(ALL if self.seeded else part)).read_bytes())["groups"]
        digests = (hashlib.sha256(str(name).encode()).digest()[:7] for name in names)
        return torch.tensor([int.from_bytes(digest) for digest in digests])[split.ids]

    def _drawn(self, seed: int) -> dict[str, Split]:
        import torch

        stored = _stored(self.folder, self.manifest, ALL)
        labels = stored.target.tolist() if self.classes else []
        rows = {part: torch.tensor(chosen, dtype=torch.int64) for part, chosen in self._rows(labels, seed).items()}
        for part, chosen in rows.items():
            _check_some(self.name, part, len(chosen), len(stored.target), len(self.classes))
        splits = {
            part: Split(stored.inputs, stored.target[chosen], chosen, presence=stored.presence)
            for part, chosen in rows.items()
        }
        return _scaled(splits, self.manifest)


def _check_some(name: str, part: str, count: int, samples: int, classes: int) -> None:
    """A split that the seed draws has samples."""
    if not count:
        raise ValueError(
            f"Expected samples in the split '{part}' of '{name}', found none: {samples} samples of {classes or 'no'} "
            "classes are too few to draw it from; import them again, which says what to do."
        )


@cache
def _fixed(folder: Path, fingerprint: str) -> dict[str, Split]:
    """The splits of a store, once a process; the fingerprint keeps a store that was prepared anew apart."""
    manifest = read(folder)
    return _scaled({part: _stored(folder, manifest, part) for part in manifest.counts}, manifest)


def _stored(folder: Path, manifest: Manifest, part: str) -> Split:
    """A part as it is stored."""
    from msam.presence import SUFFIX
    from msam_bench.data.store.tensor_file import mapped

    header = manifest.header
    inputs = {name: mapped(folder / tensor_file(part, name)) for name in header.modalities}
    masks = {name + SUFFIX: mapped(folder / presence_file(part, name)).bool() for name in header.partial}
    return Split(inputs, mapped(folder / tensor_file(part, "target")), presence=masks)


def _scaled(splits: Mapping[str, Split], manifest: Manifest) -> dict[str, Split]:
    """The splits with the scales that the manifest declares and the training split shows."""
    scales = {name: _scale(name, splits["train"], manifest) for name in manifest.header.modalities}
    targets = {part: split.target for part, split in splits.items()}
    if not manifest.header.classes:
        targets = _standard(targets)
    return {
        part: Split(split.inputs, targets[part], split.rows, scales, split.presence) for part, split in splits.items()
    }


def _scale(name: str, train: Split, manifest: Manifest) -> Scaling:
    """The scale of a modality, by the training samples that have it."""
    from msam.presence import SUFFIX
    from msam_bench.data.scaling import scale_of, standardised

    spec = manifest.header.modalities[name]
    scale, rows = scale_of(spec), train.rows
    if name in manifest.header.partial:
        mask = train.presence[name + SUFFIX]
        rows = mask.nonzero()[:, 0] if rows is None else rows[mask[rows]]
        if not len(rows):
            raise ValueError(
                f"Expected a training sample of '{manifest.header.name}' that has '{name}', found none: it is too rare "
                "to learn from; leave it out, or try another seed."
            )
    if not spec.standardise:
        return scale
    return standardised(scale, train.inputs[name], rows, spec.axis + 1, impute=name in manifest.header.imputed)


def _standard(targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Values to regress, with mean 0 and variance 1 over the training split; a constant is only shifted."""
    train = targets["train"].double()
    mean, deviation = train.mean(0), train.std(0, correction=0)
    deviation = deviation.masked_fill(deviation == 0, 1.0)
    return {part: ((target.double() - mean) / deviation).float() for part, target in targets.items()}

"""Builds a prepared store, chunk by chunk: kill it anywhere and run it again, it goes on and ends in the same bytes.

    plan = {"train": [Sample("1001_IEO", path, 3, "1001"), ...], "valid": [...], "test": [...]}
    build(folder, Header(name="cremad", ...), plan, read, progress)

`read` turns the item of one sample into `{modality: Tensor}`. It must give the same tensors whenever it is called, and
raises a ValueError of one sentence for what it cannot read. The first sample tells the shape of each modality, which
all others must have, too; the header's `dtype` says how values are stored. A plan of the one part "all" leaves the
split to the seed.

While it grows, a store lies in `NAME.partial/`. Its files have their full size from the start, so that a disk that is
too small shows at once; `done` there names the chunks that are on the disk. Only when the manifest is written and
everything is there does the folder get its name.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from errno import EDQUOT, ENOSPC
from importlib import metadata
from math import isfinite, prod
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from msam_bench.data.base import SPLITS
from msam_bench.data.modality import Modality
from msam_bench.data.store import tensor_file as tensorfile
from msam_bench.data.store.manifest import (
    ALL,
    LAYOUT,
    NAME,
    Header,
    Manifest,
    plain,
    read,
    samples_file,
    sha256,
    sha256_of,
    tensor_file,
)
from msam_bench.files import write_whole

CHUNK_BYTES = 8 * 2**20
"""About this much is read between two notes of what is done."""


@dataclass(frozen=True)
class Sample:
    """One sample of a plan.

    Args:
        id: Its name, unlike any other's.
        item: What `read` takes.
        label: Index of its class, or the value or values to regress.
        group: Whom it belongs to (a speaker, a subject), if anyone.
    """

    id: str
    item: Any
    label: int | float | tuple[float, ...]
    group: str | None = None


Plan = Mapping[str, Sequence[Sample]]
"""Split -> its samples in order; "train", "valid" and "test", or "all" where the seed draws the split."""

Read = Callable[[Any], Mapping[str, Tensor]]


def build(
    folder: Path,
    header: Header,
    plan: Plan,
    read_item: Read,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Manifest:
    """Builds a store, goes on with one that was interrupted, or finds the same one finished.

    Args:
        folder: Where it will lie; its last part is the name that the command line calls it by.
        header: What it says of itself; shapes may be left out.
        plan: Who is in which split.
        read_item: The tensors of a sample.
        progress: Called with the number of samples done, and of all.

    Raises:
        ValueError: an impossible plan; a sample that cannot be stored; another store under that name; a full disk. What
            was done stays in `NAME.partial` for the next try.
    """
    _check(plan, header)
    request = _request(header, plan)
    partial = folder.with_name(f"{folder.name}.partial")
    with _told(folder):
        if folder.exists():
            return _found(folder, request)
        partial.mkdir(parents=True, exist_ok=True)
        with _alone(partial):
            growing = _Growing(partial, header, plan, request)
            growing.begin(read_item)
            growing.fill(read_item, progress)
            manifest = growing.finish()
            growing.files.rename(folder)
        shutil.rmtree(partial)
    return manifest


class _Growing:
    """A store that is being built: its files, and the notes beside them of what is done."""

    def __init__(self, partial: Path, header: Header, plan: Plan, request: str) -> None:
        self.partial, self.header, self.plan, self.request = partial, header, plan, request
        self.files, self.begun, self.done = partial / "store", partial / "begun.json", partial / "done"
        self.looks: dict[str, Modality] = {}

    def begin(self, read_item: Read) -> None:
        """Reserves the files, or finds them from an earlier try at the same request."""
        if self.begun.is_file():
            noted = json.loads(self.begun.read_bytes())
            if noted["request"] == self.request:
                self.looks = {name: Modality(**look) for name, look in noted["looks"].items()}
                return
        self.begun.unlink(missing_ok=True)
        self.done.unlink(missing_ok=True)
        shutil.rmtree(self.files, ignore_errors=True)
        first = next(iter(self.plan.values()))[0]
        self.looks = _looks(self.header, first, read_item(first.item))
        self._reserve()
        noted = {"request": self.request, "looks": {name: plain(look) for name, look in self.looks.items()}}
        write_whole(self.begun, json.dumps(noted))

    def _reserve(self) -> None:
        self.files.mkdir()
        try:
            for part, samples in self.plan.items():
                for name, look in self.looks.items():
                    shape = (len(samples), *look.shape)
                    tensorfile.create(self.files / tensor_file(part, name), name, look.dtype, shape)
        except OSError:
            shutil.rmtree(self.files)
            raise

    def fill(self, read_item: Read, progress: Callable[[int, int], None]) -> None:
        """Reads the chunks that are not done."""
        done = set(self.done.read_text().split("\n")[:-1]) if self.done.is_file() else set()
        read_so_far, total = 0, sum(map(len, self.plan.values()))
        for part, start, chunk in _chunks(self.plan, self.looks):
            if f"{part} {start}" not in done:
                self._write(part, start, [_fitted(s, read_item(s.item), self.looks) for s in chunk])
            read_so_far += len(chunk)
            progress(read_so_far, total)

    def _write(self, part: str, start: int, tensors: Sequence[Mapping[str, Tensor]]) -> None:
        for name in self.looks:
            block = torch.stack([own[name] for own in tensors])
            tensorfile.write_rows(self.files / tensor_file(part, name), start, block)
        with self.done.open("a") as stream:
            stream.write(f"{part} {start}\n")

    def finish(self) -> Manifest:
        """Targets, names and groups, and last the manifest."""
        for part, samples in self.plan.items():
            target = _target(samples, self.header)
            path = self.files / tensor_file(part, "target")
            tensorfile.create(path, "target", str(target.dtype).removeprefix("torch."), tuple(target.shape))
            tensorfile.write_rows(path, 0, target)
            write_whole(self.files / samples_file(part), _names(samples))
        paths = sorted(path for path in self.files.iterdir() if path.name != NAME)
        manifest = Manifest(
            header=replace(self.header, modalities=self.looks),
            counts={part: len(samples) for part, samples in self.plan.items()},
            per_class={part: _per_class(samples, self.header) for part, samples in self.plan.items()},
            files={path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in paths},
            request=self.request,
            versions={name: metadata.version(name) for name in ("msam", "torch", "safetensors")},
        )
        write_whole(self.files / NAME, manifest.text())
        return manifest


# ---- checks ----------------------------------------------------------------------------------------------------------


def _check(plan: Plan, header: Header) -> None:
    if set(plan) not in ({ALL}, set(SPLITS)):
        raise ValueError(f"Expected the splits {', '.join(SPLITS)}, or '{ALL}', found {', '.join(plan) or 'none'}.")
    for name in header.modalities:
        if not name.replace("-", "_").isidentifier() or name == "target" or hasattr(torch.nn.ModuleDict(), name):
            raise ValueError(
                f"Expected a modality named by letters, digits, - and _, found '{name}', or a word that torch uses: "
                "rename it."
            )
    for part, samples in plan.items():
        if not samples:
            raise ValueError(f"Expected samples in the split '{part}', found none: give it some.")
    ids = Counter(sample.id for samples in plan.values() for sample in samples)
    if twice := [name for name, count in ids.items() if count > 1]:
        raise ValueError(f"Expected every sample once, found '{twice[0]}' more than once: give each its own name.")
    if header.group is not None:
        _check_groups(plan)
    for sample in (sample for samples in plan.values() for sample in samples):
        _check_label(sample, len(header.classes))


def _check_groups(plan: Plan) -> None:
    """No group may be in two splits."""
    of: dict[str, str] = {}
    for part, samples in plan.items():
        for sample in samples:
            if sample.group is not None and of.setdefault(sample.group, part) != part:
                raise ValueError(
                    f"Expected each group in one split, found '{sample.group}' in {of[sample.group]} and in {part}: "
                    "move its samples to one of them."
                )


def _check_label(sample: Sample, classes: int) -> None:
    if classes and not (isinstance(sample.label, int) and 0 <= sample.label < classes):
        raise ValueError(
            f"Expected the index of one of {classes} classes for sample '{sample.id}', found {sample.label!r}."
        )
    if not classes and not all(map(isfinite, _values(sample))):
        raise ValueError(f"Expected finite values to regress for sample '{sample.id}', found {sample.label!r}.")


def _looks(header: Header, first: Sample, tensors: Mapping[str, Tensor]) -> dict[str, Modality]:
    """The header's modalities with the shapes of the first sample."""
    _check_names(first, tensors, header.modalities)
    return {name: replace(look, shape=tuple(tensors[name].shape)) for name, look in header.modalities.items()}


def _fitted(sample: Sample, tensors: Mapping[str, Tensor], looks: Mapping[str, Modality]) -> dict[str, Tensor]:
    """The tensors of a sample in the types they are stored in."""
    _check_names(sample, tensors, looks)
    return {name: _stored(tensors[name], look, f"modality '{name}' of '{sample.id}'") for name, look in looks.items()}


def _check_names(sample: Sample, tensors: Mapping[str, Tensor], looks: Mapping[str, Modality]) -> None:
    if set(tensors) != set(looks):
        raise ValueError(
            f"Expected the modalities {', '.join(looks)} of '{sample.id}', found {', '.join(tensors) or 'none'}."
        )


def _stored(tensor: Tensor, look: Modality, where: str) -> Tensor:
    if tuple(tensor.shape) != look.shape:
        raise ValueError(f"Expected shape {list(look.shape)} in {where}, as before, found {list(tensor.shape)}.")
    dtype: torch.dtype = getattr(torch, look.dtype)
    if not dtype.is_floating_point and tensor.is_floating_point():
        raise ValueError(f"Expected whole numbers in {where}, to be stored as {look.dtype}, found {tensor.dtype}.")
    stored = tensor.to(dtype)
    if dtype.is_floating_point and not bool(torch.isfinite(stored).all()):
        _refuse_infinite(tensor, stored, where)
    if not dtype.is_floating_point and not torch.equal(stored.to(tensor.dtype), tensor):
        raise ValueError(f"Expected values that fit {look.dtype} in {where}, found {int(tensor.max())}.")
    return stored


def _refuse_infinite(tensor: Tensor, stored: Tensor, where: str) -> None:
    place = int(torch.isfinite(stored).logical_not().flatten().nonzero()[0])
    value = float(tensor.flatten()[place])
    advice = "store it as float32" if isfinite(value) else "repair the sample, or leave it out"
    raise ValueError(f"Expected finite numbers of {stored.dtype} in {where}, found {value}: {advice}.")


# ---- what is written -------------------------------------------------------------------------------------------------


def _chunks(plan: Plan, looks: Mapping[str, Modality]) -> Iterator[tuple[str, int, Sequence[Sample]]]:
    """Split, first row and samples of each chunk."""
    sample_bytes = sum(prod(look.shape) * getattr(torch, look.dtype).itemsize for look in looks.values())
    size = max(1, min(1024, CHUNK_BYTES // max(1, sample_bytes)))
    for part, samples in plan.items():
        for start in range(0, len(samples), size):
            yield part, start, samples[start : start + size]


def _values(sample: Sample) -> tuple[float, ...]:
    return sample.label if isinstance(sample.label, tuple) else (sample.label,)


def _target(samples: Sequence[Sample], header: Header) -> Tensor:
    """Class indices `[samples]`, or values `[samples]` or `[samples, outputs]`."""
    labels = [sample.label for sample in samples]
    return torch.tensor(labels, dtype=torch.int64 if header.classes else torch.float32)


def _per_class(samples: Sequence[Sample], header: Header) -> tuple[int, ...]:
    counts = Counter(sample.label for sample in samples)
    return tuple(counts[label] for label in range(len(header.classes)))


def _names(samples: Sequence[Sample]) -> str:
    return json.dumps({"ids": [s.id for s in samples], "groups": [s.group for s in samples]}, indent=0)


def _request(header: Header, plan: Plan) -> str:
    """What decides the bytes, apart from what `read` gives."""
    people = {part: [[s.id, s.label, s.group] for s in samples] for part, samples in plan.items()}
    return sha256([LAYOUT, plain(header), people])


# ---- the outside world -----------------------------------------------------------------------------------------------


def _found(folder: Path, request: str) -> Manifest:
    """The store that is already there, if it is the one that was asked for."""
    manifest = read(folder)
    if manifest.request != request:
        raise ValueError(
            f"Expected no other data in {folder}, found some: choose another name, or delete the folder first."
        )
    return manifest


@contextmanager
def _alone(partial: Path) -> Iterator[None]:
    """Holds the folder for one process; the operating system lets go if the process dies."""
    try:
        with FileLock(partial / ".lock", timeout=0):
            yield
    except Timeout:
        raise ValueError(f"Expected {partial} for this process alone, found another one building it: wait.") from None


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Says in a sentence what the disk refused."""
    try:
        yield
    except OSError as error:
        if error.errno not in (ENOSPC, EDQUOT):
            raise ValueError(f"Expected to write {folder}, found: {error}.") from None
        raise ValueError(
            f"Expected room for {folder}, found a full disk: free some, and the same command goes on where it was."
        ) from None

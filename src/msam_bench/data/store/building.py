"""Builds a prepared store, chunk by chunk: kill it anywhere and run it again, it goes on and ends in the same bytes.

    plan = {"train": [Sample("1001_IEO", path, 3, "1001"), ...], "valid": [...], "test": [...]}
    build(folder, Header(name="cremad", ...), plan, read, progress)

`read` turns the item of one sample into `{modality: Tensor}`. It must give the same tensors whenever it is called, and
raises a ValueError of one sentence for what it cannot read. The first sample that has a modality gives its shape, which
all others must have, too; the header's `dtype` says how values are stored. Samples may lack the header's `partial`
modalities: zeros are stored for them, and a mask of who has the modality. A plan of the one part "all" leaves the split
to the seed.

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
from dataclasses import replace
from errno import EDQUOT, ENOSPC
from importlib import metadata
from math import prod
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from msam_bench.data.modality import Modality
from msam_bench.data.store import tensor_file as tensorfile
from msam_bench.data.store.manifest import (
    NAME,
    Header,
    Manifest,
    plain,
    presence_file,
    read,
    samples_file,
    sha256_of,
    tensor_file,
)
from msam_bench.data.store.plan import Plan, Read, Sample, check_plan, request_of
from msam_bench.data.store.sample_tensors import measure_specs, to_stored
from msam_bench.files import write_whole

__all__ = ["CHUNK_BYTES", "Plan", "Read", "Sample", "build"]

CHUNK_BYTES = 8 * 2**20
"""About this much is read between two notes of what is done."""


def build(
    folder: Path,
    header: Header,
    plan: Plan,
    read_item: Read,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    sources: str = "",
    replace_other: bool = False,
) -> Manifest:
    """Builds a store, goes on with one that was interrupted, or finds the same one finished.

    Args:
        folder: Where it will lie; its last part is the name that the command line calls it by.
        header: What it says of itself; shapes may be left out.
        plan: Who is in which split.
        read_item: The tensors of a sample.
        progress: Called with the number of samples done, and of all.
        sources: A hash of what `read_item` reads, where it may change under the same plan.
        replace_other: Whether another store under that name gives way, once this one is finished.

    Raises:
        ValueError: an impossible plan; a sample that cannot be stored; another store under that name; a full disk. What
            was done stays in `NAME.partial` for the next try, unless `sources` tells that a corrected sample begins
            anew.
    """
    check_plan(plan, header)
    request = request_of(header, plan, sources)
    partial = folder.with_name(f"{folder.name}.partial")
    with _explained(folder):
        if folder.exists() and (manifest := _existing(folder, request, sources, replace_other)):
            return manifest
        partial.mkdir(parents=True, exist_ok=True)
        with _exclusive(partial):
            growing = _Growing(partial, header, plan, request)
            try:
                growing.begin(read_item)
                growing.fill(read_item, progress)
            except ValueError:
                if sources:  # a corrected source begins anew
                    shutil.rmtree(partial)
                raise
            manifest = growing.finish()
            _move(growing.files, folder)
        shutil.rmtree(partial)
    return manifest


class _Growing:
    """A store that is being built: its files, and the notes beside them of what is done."""

    def __init__(self, partial: Path, header: Header, plan: Plan, request: str) -> None:
        self.partial, self.header, self.plan, self.request = partial, header, plan, request
        self.files, self.begun, self.done = partial / "store", partial / "begun.json", partial / "done"
        self.specs: dict[str, Modality] = {}

    def begin(self, read_item: Read) -> None:
        """Reserves the files, or finds them from an earlier try at the same request."""
        if self.begun.is_file():
            noted = json.loads(self.begun.read_bytes())
            if noted["request"] == self.request:
                self.specs = {name: Modality(**spec) for name, spec in noted["looks"].items()}
                return
        self.begun.unlink(missing_ok=True)
        self.done.unlink(missing_ok=True)
        shutil.rmtree(self.files, ignore_errors=True)
        self.specs = measure_specs(self.header, self.plan, read_item)
        self._reserve()
        noted = {"request": self.request, "looks": {name: plain(spec) for name, spec in self.specs.items()}}
        write_whole(self.begun, json.dumps(noted))

    def _reserve(self) -> None:
        self.files.mkdir()
        try:
            for part, samples in self.plan.items():
                for name, spec in self.specs.items():
                    shape = (len(samples), *spec.shape)
                    tensorfile.create(self.files / tensor_file(part, name), name, spec.dtype, shape)
        except OSError:
            shutil.rmtree(self.files)
            raise

    def fill(self, read_item: Read, progress: Callable[[int, int], None]) -> None:
        """Reads the chunks that are not done."""
        done = set(self.done.read_text().split("\n")[:-1]) if self.done.is_file() else set()
        read_so_far, total = 0, sum(map(len, self.plan.values()))
        for part, start, chunk in _chunks(self.plan, self.specs):
            if f"{part} {start}" not in done:
                rows = [to_stored(s, read_item(s.item), self.specs, self.header.imputed) for s in chunk]
                self._write(part, start, rows)
            read_so_far += len(chunk)
            progress(read_so_far, total)

    def _write(self, part: str, start: int, tensors: Sequence[Mapping[str, Tensor]]) -> None:
        for name in self.specs:
            block = torch.stack([sample[name] for sample in tensors])
            tensorfile.write_rows(self.files / tensor_file(part, name), start, block)
        with self.done.open("a") as stream:
            stream.write(f"{part} {start}\n")

    def _write_presence(self, part: str, name: str, samples: Sequence[Sample]) -> None:
        """Who has a modality that some lack: 1 or 0."""
        mask = torch.tensor([name not in sample.absent for sample in samples], dtype=torch.uint8)
        path = self.files / presence_file(part, name)
        tensorfile.create(path, name, "uint8", tuple(mask.shape))
        tensorfile.write_rows(path, 0, mask)

    def finish(self) -> Manifest:
        """Targets, names and groups, and last the manifest."""
        for part, samples in self.plan.items():
            target = _target(samples, self.header)
            path = self.files / tensor_file(part, "target")
            tensorfile.create(path, "target", str(target.dtype).removeprefix("torch."), tuple(target.shape))
            tensorfile.write_rows(path, 0, target)
            for name in self.header.partial:
                self._write_presence(part, name, samples)
            write_whole(self.files / samples_file(part), _names(samples))
        paths = sorted(path for path in self.files.iterdir() if path.name != NAME)
        manifest = Manifest(
            header=replace(self.header, modalities=self.specs),
            counts={part: len(samples) for part, samples in self.plan.items()},
            per_class={part: _per_class(samples, self.header) for part, samples in self.plan.items()},
            files={path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in paths},
            request=self.request,
            versions={name: metadata.version(name) for name in ("msam", "torch", "safetensors")},
        )
        write_whole(self.files / NAME, manifest.text())
        return manifest


# ---- what is written -------------------------------------------------------------------------------------------------


def _chunks(plan: Plan, specs: Mapping[str, Modality]) -> Iterator[tuple[str, int, Sequence[Sample]]]:
    """Split, first row and samples of each chunk."""
    sample_bytes = sum(prod(spec.shape) * getattr(torch, spec.dtype).itemsize for spec in specs.values())
    size = max(1, min(1024, CHUNK_BYTES // max(1, sample_bytes)))
    for part, samples in plan.items():
        for start in range(0, len(samples), size):
            yield part, start, samples[start : start + size]


def _target(samples: Sequence[Sample], header: Header) -> Tensor:
    """Class indices `[samples]`, or values `[samples]` or `[samples, outputs]`."""
    labels = [sample.label for sample in samples]
    return torch.tensor(labels, dtype=torch.int64 if header.classes else torch.float32)


def _per_class(samples: Sequence[Sample], header: Header) -> tuple[int, ...]:
    counts = Counter(sample.label for sample in samples)
    return tuple(counts[label] for label in range(len(header.classes)))


def _names(samples: Sequence[Sample]) -> str:
    return json.dumps({"ids": [s.id for s in samples], "groups": [s.group for s in samples]}, indent=0)


# ---- the outside world -----------------------------------------------------------------------------------------------


def _existing(folder: Path, request: str, sources: str, replace_other: bool) -> Manifest | None:
    """The store that is already there, if it is the requested one; None if it is to be replaced."""
    if replace_other and (folder / NAME).is_file():
        manifest = _intact(folder)
        return manifest if manifest is not None and manifest.request == request else None
    manifest = read(folder)
    if manifest.request != request:
        advice = (
            "say --replace to build it anew, or choose another name"
            if sources
            else ("choose another name, or delete the folder first")
        )
        raise ValueError(f"Expected no other data in {folder}, found some: {advice}.")
    return manifest


def _intact(folder: Path) -> Manifest | None:
    """The manifest of a store; None of a damaged one."""
    try:
        return read(folder)
    except ValueError:
        return None


def _move(files: Path, folder: Path) -> None:
    """Gives a finished store its name; the one of before is there until then."""
    if not folder.exists():
        files.rename(folder)
        return
    before = folder.with_name(f"{folder.name}.replaced")
    shutil.rmtree(before, ignore_errors=True)
    folder.rename(before)
    files.rename(folder)
    shutil.rmtree(before)


@contextmanager
def _exclusive(partial: Path) -> Iterator[None]:
    """Holds the folder for one process; the operating system lets go if the process dies."""
    try:
        with FileLock(partial / ".lock", timeout=0):
            yield
    except Timeout:
        raise ValueError(f"Expected {partial} for this process alone, found another one building it: wait.") from None


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Says in a sentence what the disk refused."""
    try:
        yield
    except OSError as error:
        if error.errno not in (ENOSPC, EDQUOT):
            raise ValueError(f"Expected to write {folder}, found: {error}.") from None
        raise ValueError(
            f"Expected room for {folder}, found a full disk: free some, and the same command goes on where it was."
        ) from None

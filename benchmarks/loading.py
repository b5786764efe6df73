"""How fast shuffled batches come from a prepared store, beside h5py; and what it costs in memory.

    python benchmarks/loading.py                    # 1,900 samples, 250 MB, batches of 64
    python benchmarks/loading.py --samples 256      # a quick look

Both sides hold the same spectrograms (float16) and pictures (bytes) and give the same shuffled batches, compared before
anything is timed. h5py reads contiguous, uncompressed data sets, sample by sample into one array or by a sorted list of
rows, whichever is faster. Rates are processor time, as medians over rounds that alternate, with the files in the page
cache: on an idle machine wall-clock time is the same. Needs h5py (`msam[media]`) and Linux for the memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import h5py
import numpy as np
import torch
from torch import Tensor

from msam_bench.data import Modality, Split
from msam_bench.data.store.building import Sample, build
from msam_bench.data.store.manifest import Header
from msam_bench.data.store.prepared import opened

SHAPES = {"sound": (1, 257, 188), "face": (3, 3, 64, 64)}
DTYPES = {"sound": "float16", "face": "uint8"}
BATCH = 64
Batch = dict[str, Tensor]
Reader = Callable[[Tensor], Batch]


def sample(row: int) -> Batch:
    """Noise in the shapes and types of CREMA-D's spectrograms and pictures."""
    draw = torch.Generator().manual_seed(row)
    sound = torch.randn(SHAPES["sound"], generator=draw).half()
    return {"sound": sound, "face": torch.randint(256, SHAPES["face"], generator=draw, dtype=torch.uint8)}


def prepared(folder: Path, samples: int) -> Path:
    """A store of so many samples to train on."""
    looks = {
        "sound": Modality("spectrogram", dtype="float16"),
        "face": Modality("frames", dtype="uint8", scale=1 / 255),
    }
    header = Header(
        name="loading",
        summary="Noise.",
        modalities=looks,
        classes=("only",),
        licence="none",
        citation="none",
        origin="random numbers",
    )
    rows = [Sample(str(row), row, 0) for row in range(samples + 2)]
    build(folder / "store", header, {"train": rows[:samples], "valid": rows[-2:-1], "test": rows[-1:]}, sample)
    return folder / "store"


def copied(folder: Path, split: Split) -> Path:
    """The same tensors as contiguous, uncompressed data sets of h5py."""
    with h5py.File(folder / "train.h5", "w") as file:
        for name, tensor in split.inputs.items():
            file[name] = tensor.numpy()
    return folder / "train.h5"


def sample_by_sample(file: h5py.File, rows: Tensor) -> Batch:
    """A batch as a map-style data set reads it, but straight into the batch's array."""
    found = {name: np.empty((len(rows), *SHAPES[name]), DTYPES[name]) for name in SHAPES}
    for name, into in found.items():
        for place, row in enumerate(rows.tolist()):
            file[name].read_direct(into, row, place)
    return {name: torch.from_numpy(into) for name, into in found.items()}


def by_sorted_rows(file: h5py.File, rows: Tensor) -> Batch:
    """A batch in one call, which wants increasing rows."""
    ordered, back = rows.sort()
    restore = back.argsort()
    return {name: torch.from_numpy(file[name][ordered.numpy()])[restore] for name in SHAPES}


def batches(samples: int, epoch: int) -> Iterator[Tensor]:
    """The rows of an epoch's batches."""
    return iter(torch.randperm(samples, generator=torch.Generator().manual_seed(epoch)).split(BATCH))


def seconds(read: Reader, samples: int, epoch: int) -> float:
    """Processor seconds of an epoch."""
    started = time.process_time()
    for rows in batches(samples, epoch):
        read(rows)
    return time.process_time() - started


def as_stored(split: Split, rows: Tensor) -> Batch:
    """A batch from the store in the types that are stored."""
    return {name: tensor[rows] for name, tensor in split.inputs.items()}


def check(readers: dict[str, Reader], split: Split, samples: int) -> None:
    """All readers give the same batch."""
    rows = next(batches(samples, 0))
    for name, read in readers.items():
        for modality, found in read(rows).items():
            expected = as_stored(split, rows)[modality]
            assert torch.equal(found, expected) or found.dtype == torch.float32, (name, modality)


def memory(field: str, file: str = "smaps_rollup") -> float:
    """Megabytes of this process, from /proc."""
    for line in Path(f"/proc/self/{file}").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"Expected {field} in /proc/self/{file}, found none: this measurement needs Linux.")


def worker(folder: Path, samples: int, ready: object, told: object) -> None:
    """Reads every batch of two epochs, waits for the other, and tells what it holds."""
    torch.set_num_threads(1)
    before = memory("Pss")
    split = opened(folder).load(0).splits["train"]
    for epoch in range(2):
        for rows in batches(samples, epoch):
            split.take(rows)
    ready.wait()  # type: ignore[attr-defined]
    told.put((before, memory("Rss"), memory("Pss")))  # type: ignore[attr-defined]
    ready.wait()  # type: ignore[attr-defined]


def shared(folder: Path, samples: int) -> list[tuple[float, float, float]]:
    """Memory of two processes that have both read everything: share before, resident, share."""
    context = multiprocessing.get_context("spawn")
    ready, told = context.Barrier(2), context.Queue()
    workers = [context.Process(target=worker, args=(folder, samples, ready, told)) for _ in range(2)]
    for each in workers:
        each.start()
    found = [told.get() for _ in workers]
    for each in workers:
        each.join()
    return found


def main() -> None:
    """Builds, times and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1900)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = prepared(Path(place), asked.samples)
        split = opened(folder).load(0).splits["train"]
        with h5py.File(copied(Path(place), split)) as file:
            rates(asked.samples, asked.rounds, split, file)
        flat(asked.samples, split)
        size = sum(tensor.nbytes for tensor in split.inputs.values()) / 2**20
        print(f"\ntwo processes that read the whole store of {size:.0f} MB, MB each:")
        for before, resident, proportional in shared(folder, asked.samples):
            print(f"  resident {resident:.0f}, its share {proportional:.0f}, of which {before:.0f} before the store")


def rates(samples: int, rounds: int, split: Split, file: h5py.File) -> None:
    """Prints samples a second of each reader."""
    readers: dict[str, Reader] = {
        "prepared store": lambda rows: as_stored(split, rows),
        "h5py, sample by sample": lambda rows: sample_by_sample(file, rows),
        "h5py, sorted rows": lambda rows: by_sorted_rows(file, rows),
        "prepared store, as float32": lambda rows: split.take(rows)[0],
    }
    check(readers, split, samples)
    spent: dict[str, list[float]] = {name: [] for name in readers}
    for epoch in range(rounds):
        for name, read in readers.items():
            spent[name].append(seconds(read, samples, epoch))
    found = {name: samples / median(own) for name, own in spent.items()}
    print(
        f"{samples} samples of {split.inputs['sound'][0].nbytes + split.inputs['face'][0].nbytes:,} bytes, samples/s:"
    )
    for name, rate in found.items():
        low, high = samples / max(spent[name]), samples / min(spent[name])
        print(f"  {name:28}{rate:10,.0f}   ({low:,.0f} to {high:,.0f}, {rounds} rounds)")
    best = max(rate for name, rate in found.items() if name.startswith("h5py"))
    print(f"  as stored, against the faster h5py: {found['prepared store'] / best:.1f} times")


def flat(samples: int, split: Split) -> None:
    """Prints what the process holds beside the mapped files, epoch by epoch."""
    print("\nmemory of its own (RssAnon) after each epoch of batches as float32, MB:")
    held = []
    for epoch in range(6):
        for rows in batches(samples, epoch):
            split.take(rows)
        held.append(memory("RssAnon", "status"))
    print("  " + " ".join(f"{megabytes:.1f}" for megabytes in held))


if __name__ == "__main__":
    main()

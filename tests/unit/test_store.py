"""Prepared stores: built chunk by chunk, killed and continued, verified, loaded as views of mapped files."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from msam_bench.data import Modality, source
from msam_bench.data.store import building
from msam_bench.data.store import tensor_file as tensorfile
from msam_bench.data.store.building import Plan, Sample, build
from msam_bench.data.store.manifest import Header, read, verify
from msam_bench.data.store.prepared import opened

HEADER = Header(
    name="toy",
    summary="Random numbers.",
    modalities={"sound": Modality("series", dtype="float16"), "face": Modality("image", dtype="uint8", scale=1 / 255)},
    classes=("no", "yes"),
    licence="CC0-1.0",
    citation="none",
    origin="a test",
)
SIZES = {"train": 7, "valid": 3, "test": 5}


def plan(sizes: dict[str, int] = SIZES, group: bool = False) -> dict[str, list[Sample]]:
    return {
        part: [Sample(f"{part}{i}", (part, i), i % 2, f"{part}-{i // 2}" if group else None) for i in range(count)]
        for part, count in sizes.items()
    }


def sample(item: tuple[str, int]) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(1000 * len(item[0]) + item[1])
    face = torch.randint(256, (3, 4, 4), generator=draw, dtype=torch.uint8)
    return {"sound": torch.randn(2, 9, generator=draw), "face": face}


def made(folder: Path, header: Header = HEADER, people: Plan | None = None, **options: Any) -> Path:
    build(folder, header, people or plan(), options.pop("read_item", sample), **options)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "CHUNK_BYTES", 2 * (2 * 2 * 9 + 3 * 4 * 4))  # two samples a chunk


# ------------------------------------------------------------------------------------------------------------ content


def test_a_store_gives_back_what_was_read(tmp_path: Path) -> None:
    dataset = opened(made(tmp_path / "toy")).load(seed=3)
    assert {part: len(split) for part, split in dataset.splits.items()} == SIZES
    assert (dataset.classes, dataset.modalities, dataset.outputs) == (("no", "yes"), ("sound", "face"), 2)
    for part, split in dataset.splits.items():
        rows = torch.arange(len(split)).flip(0)
        inputs, target = split.take(rows)
        assert target.tolist() == [int(i) % 2 for i in rows]
        for position, row in enumerate(rows.tolist()):
            raw = sample((part, row))
            assert torch.equal(inputs["sound"][position], raw["sound"].half().float())
            torch.testing.assert_close(inputs["face"][position], raw["face"] / 255, rtol=1e-6, atol=0)
        assert {tensor.dtype for tensor in inputs.values()} == {torch.float32}


def test_a_store_tells_what_it_holds(tmp_path: Path) -> None:
    manifest = read(made(tmp_path / "toy"))
    assert manifest.header.modalities["sound"].shape == (2, 9)
    assert manifest.counts == SIZES
    assert manifest.per_class == {"train": (4, 3), "valid": (2, 1), "test": (3, 2)}
    assert json.loads((tmp_path / "toy" / "valid.samples.json").read_bytes())["ids"] == ["valid0", "valid1", "valid2"]
    assert set(manifest.versions) == {"msam", "torch", "safetensors"}


def test_the_files_are_what_the_format_says(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    made(tmp_path / "toy")
    stored = load_file(tmp_path / "toy" / "test.face.safetensors")
    assert torch.equal(stored["face"], torch.stack([sample(("test", i))["face"] for i in range(5)]))


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ("yes", "no")},
        {"recipe": {"hop": 353}},
        {"split": "other"},
        {"modalities": {**HEADER.modalities, "face": Modality("image", dtype="uint8", scale=1 / 128)}},
    ],
)
def test_a_fingerprint_changes_with_all_that_decides_numbers(tmp_path: Path, change: dict[str, Any]) -> None:
    first = opened(made(tmp_path / "one")).fingerprint
    assert opened(made(tmp_path / "two", replace(HEADER, **change))).fingerprint != first
    assert opened(made(tmp_path / "three", replace(HEADER, summary="Others.", name="b"))).fingerprint == first
    other = lambda item: {**sample(item), "sound": torch.zeros(2, 9)}  # noqa: E731
    assert opened(made(tmp_path / "four", read_item=other)).fingerprint != first


# ----------------------------------------------------------------------------------------------------------- resuming


@pytest.mark.parametrize("kill", range(1, 16))
@pytest.mark.usefixtures("small_chunks")
def test_a_build_that_was_interrupted_ends_in_the_same_bytes(tmp_path: Path, kill: int) -> None:
    whole = content(made(tmp_path / "whole"))
    reads: Counter[tuple[str, int]] = Counter()

    def stopping(item: tuple[str, int]) -> dict[str, Tensor]:
        if sum(reads.values()) == kill:
            raise KeyboardInterrupt
        reads[item] += 1
        return sample(item)

    def counting(item: tuple[str, int]) -> dict[str, Tensor]:
        reads[item] += 1
        return sample(item)

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "toy", read_item=stopping)
    assert not (tmp_path / "toy").exists()
    made(tmp_path / "toy", read_item=counting)
    assert content(tmp_path / "toy") == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy", "whole"]
    twice = [item for item, count in reads.items() if count > 1]
    assert len(set(twice) - {("train", 0)}) <= 1  # the chunk that was open: two samples, of which one had been read


def slowly(folder: Path) -> None:
    def slow(item: tuple[str, int]) -> dict[str, Tensor]:
        time.sleep(0.01)
        return sample(item)

    made(folder, read_item=slow)


@pytest.mark.usefixtures("small_chunks")
def test_a_build_that_the_system_kills_ends_in_the_same_bytes(tmp_path: Path) -> None:
    """The plug is pulled again and again, each time a little later, until a try gets to its end."""
    for delay in (0.0, 0.03, 0.05, 0.07, 0.09, 60):
        process = multiprocessing.get_context("fork").Process(target=slowly, args=(tmp_path / "toy",))
        process.start()
        process.join(timeout=delay)
        process.kill()
        process.join()
    whole = content(made(tmp_path / "whole"))
    assert content(tmp_path / "toy") == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy", "whole"]


def test_a_finished_build_is_found_and_not_read_again(tmp_path: Path) -> None:
    made(tmp_path / "toy")
    never: Callable[[Any], Any] = lambda item: pytest.fail("read again")  # noqa: E731
    assert made(tmp_path / "toy", read_item=never)


def test_another_plan_begins_anew_and_does_not_replace_a_store(tmp_path: Path) -> None:
    def stopping(item: tuple[str, int]) -> dict[str, Tensor]:
        if item == ("test", 0):
            raise ValueError("enough")
        return sample(item)

    with pytest.raises(ValueError, match="enough"):
        made(tmp_path / "toy", read_item=stopping)
    other = replace(HEADER, recipe={"other": True})
    made(tmp_path / "toy", other)
    assert content(tmp_path / "toy") == content(made(tmp_path / "fresh", other))
    with pytest.raises(ValueError, match=r"Expected no other data in .*toy, found some: choose another name"):
        made(tmp_path / "toy")


def test_two_processes_do_not_build_the_same_store(tmp_path: Path) -> None:
    def both(item: tuple[str, int]) -> dict[str, Tensor]:
        with pytest.raises(ValueError, match="found another one building it"):
            made(tmp_path / "toy")
        return sample(item)

    made(tmp_path / "toy", read_item=both)


# ------------------------------------------------------------------------------------------------------------- faults


def poisoned(value: float) -> Callable[[tuple[str, int]], dict[str, Tensor]]:
    def read_item(item: tuple[str, int]) -> dict[str, Tensor]:
        tensors = sample(item)
        if item == ("valid", 1):
            tensors["sound"][1, 3] = value
        return tensors

    return read_item


@pytest.mark.parametrize(
    ("value", "found"),
    [(torch.nan, "nan: repair"), (-torch.inf, "-inf: repair"), (1e6, "1000000.0: store it as float32")],
)
def test_a_number_that_is_not_finite_is_refused(tmp_path: Path, value: float, found: str) -> None:
    with pytest.raises(ValueError, match=f"of torch.float16 in modality 'sound' of 'valid1', found {found}"):
        made(tmp_path / "toy", read_item=poisoned(value))
    assert not (tmp_path / "toy").exists()


def shaped(**tensors: Tensor) -> Callable[[tuple[str, int]], dict[str, Tensor]]:
    def read_item(item: tuple[str, int]) -> dict[str, Tensor]:
        return {**sample(item), **(tensors if item == ("train", 4) else {})}

    return read_item


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"sound": torch.zeros(2, 8)},
            r"shape \[2, 9\] in modality 'sound' of 'train4', as before, found \[2, 8\]",
        ),
        (
            {"face": torch.zeros(3, 4, 4)},
            "whole numbers in modality 'face' of 'train4', to be stored as uint8",
        ),
        (
            {"face": torch.full((3, 4, 4), 256)},
            "values that fit uint8 in modality 'face' of 'train4', found 256",
        ),
        ({"more": torch.zeros(1)}, "Expected the modalities sound, face of 'train4', found sound, face, more"),
    ],
)
def test_a_sample_unlike_the_others_is_refused(tmp_path: Path, tensors: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(tmp_path / "toy", read_item=shaped(**tensors))


def changed(part: str, index: int, **change: Any) -> dict[str, list[Sample]]:
    people = plan(group=True)
    people[part][index] = replace(people[part][index], **change)
    return people


@pytest.mark.parametrize(
    ("people", "message"),
    [
        (changed("test", 2, id="train0"), "Expected every sample once, found 'train0' more than once"),
        (changed("test", 2, label=2), "Expected the index of one of 2 classes for sample 'test2', found 2"),
        (changed("test", 2, label=0.5), "Expected the index of one of 2 classes for sample 'test2', found 0.5"),
        (changed("test", 2, group="train-0"), "Expected each group in one split, found 'train-0' in train and in test"),
        (plan({**SIZES, "valid": 0}), "Expected samples in the split 'valid', found none"),
        (plan({"train": 3, "test": 3}), "Expected the splits train, valid, test, or 'all', found train, test"),
    ],
)
def test_an_impossible_plan_is_refused_before_anything_is_written(tmp_path: Path, people: Plan, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(tmp_path / "toy", replace(HEADER, group="person"), people)
    assert list(tmp_path.iterdir()) == []


def test_values_to_regress_are_finite(tmp_path: Path) -> None:
    people = changed("test", 2, label=torch.nan)
    with pytest.raises(ValueError, match="Expected finite values to regress for sample 'test2', found nan"):
        made(tmp_path / "toy", replace(HEADER, classes=()), people)


def full(*arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_is_too_small_shows_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ValueError, match=r"Expected room for .*toy, found a full disk: free some, and the same"):
        made(tmp_path / "toy")
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("call", [1, 2, 7, 14, 19])
def test_a_disk_that_fills_up_leaves_nothing_that_looks_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    whole, write, calls = content(made(tmp_path / "whole")), tensorfile.write_rows, Counter[str]()

    def filling(path: Path, start: int, block: Tensor) -> None:
        calls["write"] += 1
        write(path, start, block[:1] if calls["write"] == call else block)
        if calls["write"] == call:
            full()

    monkeypatch.setattr(tensorfile, "write_rows", filling)
    with pytest.raises(ValueError, match="found a full disk"):
        made(tmp_path / "toy")
    assert not (tmp_path / "toy").exists()
    with pytest.raises(ValueError, match="Expected one of the data sets"):
        source("toy")
    assert content(made(tmp_path / "toy")) == whole


# ------------------------------------------------------------------------------------------------------------- verify


def test_verify_hashes_every_file(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    manifest = verify(made(tmp_path / "toy"), lambda done, total: steps.append((done, total)))
    assert len(steps) == len(manifest.files) == 12
    assert steps[-1][0] == steps[-1][1] == sum(file["bytes"] for file in manifest.files.values())


@pytest.mark.parametrize("name", ["train.sound", "valid.face", "test.target"])
def test_verify_names_the_file_in_which_one_byte_has_changed(tmp_path: Path, name: str) -> None:
    path = made(tmp_path / "toy") / f"{name}.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"Expected .*{name}.safetensors with sha256 .*, found .*: the file has"):
        verify(tmp_path / "toy")


def test_verify_refuses_a_file_that_the_manifest_does_not_name(tmp_path: Path) -> None:
    (made(tmp_path / "toy") / "more.txt").write_text("")
    with pytest.raises(ValueError, match=r"only what the manifest names in .*toy, found more.txt: move it away"):
        verify(tmp_path / "toy")


def test_a_store_with_a_missing_or_shortened_file_is_not_opened(tmp_path: Path) -> None:
    path = made(tmp_path / "toy") / "test.sound.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"Expected [\d,]+ bytes in .*test.sound.safetensors, found [\d,]+ bytes"):
        opened(tmp_path / "toy")
    path.unlink()
    with pytest.raises(ValueError, match=r"bytes in .*test.sound.safetensors, found none: prepare the data again"):
        opened(tmp_path / "toy")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"layout": 1', '"layout": 2', r"Expected layout 1 in .*manifest.json, found 2"),
        ('"yes"', '"yea"', r"Expected .*manifest.json as it was written, found it changed"),
        ('"CC0-1.0"', '"MIT"', "found it changed"),
        ("{", "", r"Expected a manifest in .*manifest.json, found: "),
        ('"seal"', '"meal"', r"found: 'seal'"),
    ],
)
def test_a_manifest_that_was_edited_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = made(tmp_path / "toy") / "manifest.json"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        opened(tmp_path / "toy")


# ----------------------------------------------------------------------------------------------------- drawn by a seed


def drawable(group: str | None = None, count: int = 40) -> tuple[Header, Plan]:
    people = [Sample(f"{i}", ("train", i), int(i % 4 == 0), f"p{i // 4}" if group else None) for i in range(count)]
    return replace(HEADER, split="drawn", group=group), {"all": people}


def test_a_seed_draws_a_stratified_split_where_the_store_leaves_it_open(tmp_path: Path) -> None:
    found = opened(made(tmp_path / "toy", *drawable()))
    for seed in (0, 1):
        splits = found.load(seed).splits
        counts = {part: split.target.bincount().tolist() for part, split in splits.items()}
        assert counts == {"train": [21, 7], "valid": [3, 1], "test": [6, 2]}
        assert {part: len(split) for part, split in splits.items()} == found.sizes(seed)
        rows = torch.cat([split.rows for split in splits.values() if split.rows is not None])
        assert rows.sort().values.tolist() == list(range(40))
        inputs, _ = splits["test"].take(slice(2, 4))
        assert splits["test"].rows is not None
        expected = sample(("train", int(splits["test"].rows[3])))["sound"].half().float()
        assert torch.equal(inputs["sound"][1], expected)
    first, second = (found.load(seed).splits["test"].rows for seed in (0, 1))
    assert first is not None
    assert second is not None
    assert not torch.equal(first, second)
    assert found.load(0).fingerprint == found.load(1).fingerprint


@pytest.mark.parametrize("seed", range(6))
def test_a_drawn_split_keeps_a_group_on_one_side(tmp_path: Path, seed: int) -> None:
    found = opened(made(tmp_path / "toy", *drawable("person")))
    rows = {part: split.rows.tolist() for part, split in found.load(seed).splits.items() if split.rows is not None}
    people = {part: {row // 4 for row in own} for part, own in rows.items()}
    assert {part: len(own) for part, own in people.items()} == {"train": 7, "valid": 1, "test": 2}
    assert set().union(*people.values()) == set(range(10))
    assert found.sizes(seed) == {"train": 28, "valid": 4, "test": 8}


# ------------------------------------------------------------------------------------------------------------ scaling


def test_a_modality_is_standardised_by_the_training_split_alone(tmp_path: Path) -> None:
    looks = {
        "sound": replace(HEADER.modalities["sound"], standardise=True),
        "face": replace(HEADER.modalities["face"], standardise=True),
    }
    for name, arguments in (("fixed", ()), ("drawn", drawable()[1:])):
        header = replace(HEADER, modalities=looks)
        splits = opened(made(tmp_path / name, header, *arguments)).load(0).splits
        inputs, _ = splits["train"].take(slice(None))
        for tensor in inputs.values():
            axes = [axis for axis in range(tensor.dim()) if axis != 1]
            torch.testing.assert_close(tensor.mean(axes), torch.zeros(tensor.shape[1]), atol=1e-5, rtol=0)
            torch.testing.assert_close(tensor.std(axes, correction=0), torch.ones(tensor.shape[1]), atol=1e-5, rtol=0)
        assert splits["test"].take(slice(None))[0]["sound"].mean().abs() > 1e-3


def test_scales_go_along_the_channels(tmp_path: Path) -> None:
    looks = {
        "sound": HEADER.modalities["sound"],
        "face": Modality("image", dtype="uint8", scale=(1.0, 2.0, 3.0), shift=(0.0, 0.0, -5.0)),
    }
    inputs, _ = opened(made(tmp_path / "toy", replace(HEADER, modalities=looks))).load(0).splits["train"].take(slice(1))
    raw = sample(("train", 0))["face"].float()
    assert torch.equal(inputs["face"][0], torch.stack([raw[0], 2 * raw[1], 3 * raw[2] - 5]))


def test_values_to_regress_have_unit_variance_in_training(tmp_path: Path) -> None:
    people = {
        part: [replace(s, label=(3.0 * i + 7, -float(i))) for i, s in enumerate(own)] for part, own in plan().items()
    }
    dataset = opened(made(tmp_path / "toy", replace(HEADER, classes=()), people)).load(0)
    train, test = (dataset.splits[part].take(slice(None))[1] for part in ("train", "test"))
    assert (dataset.outputs, dataset.classes) == (2, ())
    torch.testing.assert_close(train.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(train.std(0, correction=0), torch.ones(2))
    torch.testing.assert_close(test[1], torch.tensor([-1.0, 1.0]))  # i = 1, two below the mean of 0 ... 6


# ---------------------------------------------------------------------------------------------------- names and paths


def test_a_store_is_found_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "data" / "toy")
    monkeypatch.chdir(tmp_path)
    fingerprints = {source(name).fingerprint for name in ("toy", "data/toy", str(tmp_path / "data" / "toy"))}
    assert len(fingerprints) == 1
    monkeypatch.setenv("MSAM_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(ValueError, match=r"Expected one of the data sets digits6, smartwatch, .*, found 'toy'"):
        source("toy")
    with pytest.raises(ValueError, match=r"Expected a prepared data set in data/other, found no manifest.json"):
        source("data/other")


def test_a_build_that_grows_is_no_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSAM_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="finite"):
        made(tmp_path / "toy", read_item=poisoned(torch.nan))
    assert (tmp_path / "toy.partial").is_dir()
    with pytest.raises(ValueError, match="found 'toy'"):
        source("toy")

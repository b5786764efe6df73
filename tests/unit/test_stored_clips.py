"""Kinetics-Sounds and VGGSound: from stored spectrograms and pictures, which the tests make, to what a model sees."""

from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import official_clips as files
from msam_bench.data import Dataset, source
from official import ids_of, prepared, refused


def check_seen_and_heard(dataset: Dataset) -> None:
    """Every sample has the colour and the band of its class, and pictures from the middle of each third."""
    for split in dataset.splits.values():
        for row, label in enumerate(split.target.tolist()):
            shown = split.inputs["video"][row].float().mean((2, 3))
            expected = torch.tensor(files.COLOURS[label]).float() + 5 * torch.tensor([[1.0], [3.0], [5.0]])
            torch.testing.assert_close(shown, expected, atol=5, rtol=0)  # JPEG
            heard = split.inputs["audio"][row, 0]
            assert torch.equal(heard[label].float(), torch.arange(files.TIMES).float())
            assert heard.sum() == heard[label].sum()


@pytest.mark.parametrize("ogm", [False, True])
def test_kinetics_sounds_is_seen_and_heard(tmp_path: Path, ogm: bool) -> None:
    store = prepared("kinetics-sounds", files.kinetics_sounds(tmp_path / "files", ogm), tmp_path / "store")
    dataset = store.load(0)
    assert dataset.shapes == {"audio": (1, files.BANDS, files.TIMES), "video": (3, 3, 224, 224)}
    assert [split.target.bincount().tolist() for split in dataset.splits.values()] == [[9] * 3, [1] * 3, [3] * 3]
    assert store.manifest.header.recipe["missing"] == {"train": 1, "test": 1}
    assert len(dataset.classes) == 31
    check_seen_and_heard(dataset)


def test_vggsound_is_seen_and_heard(tmp_path: Path) -> None:
    store = prepared("vggsound", files.vggsound(tmp_path / "files"), tmp_path / "store")
    dataset = store.load(0)
    assert dataset.classes == files.SOUNDS
    assert [split.target.bincount().tolist() for split in dataset.splits.values()] == [[9, 8, 9], [1] * 3, [3] * 3]
    said = store.manifest.header.recipe
    assert (said["missing"], said["untrained"]) == ({"train": 1, "test": 1}, 0)
    assert "test/-te0_000010" in ids_of(store, "test")
    check_seen_and_heard(dataset)


def test_vggsound_leaves_out_sounds_that_nothing_trains(tmp_path: Path) -> None:
    folder = files.vggsound(tmp_path / "files")
    for path in (folder / "audio/train").glob("-id2_*"):
        path.unlink()
    store = prepared("vggsound", folder, tmp_path / "store")
    assert store.load(0).classes == files.SOUNDS[:2]
    assert store.manifest.header.recipe["untrained"] == 3


def _no_sounds(folder: Path) -> None:
    shutil.rmtree(folder / "test_spec")


def _no_frames(folder: Path) -> None:
    shutil.rmtree(folder / "val-frames-1fps")


def _no_list(folder: Path) -> None:
    (folder / "ks_test_overlap.txt").unlink()


def _class(folder: Path) -> None:
    (folder / "ks_test_overlap.txt").write_text("-id00_test_000010_000020 31\n")


def _shape(folder: Path) -> None:
    np.save(next((folder / "test_spec").glob("*.npy")), np.zeros((3, 4, 5), "f4"))


def _code(folder: Path) -> None:
    np.save(next((folder / "test_spec").glob("*.npy")), np.array([print], dtype=object))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_no_sounds, r"Expected .*test_spec.*npy and pictures in .*, found none of the 10 clips of the test list"),
        (_no_frames, "Expected the folder val-frames-1fps/test or test-frames-1fps/test in .*, found none"),
        (_no_list, "Expected the list ks_test_overlap.txt or my_test.txt in .*, found none"),
        (_class, "Expected lines of a name and a class from 0 to 30 in .*, found '-id00_test_000010_000020 31'"),
        (_shape, r"Expected a spectrogram \[times, bands\] in .*, found float32 \[3, 4, 5\]"),
        (_code, r"Expected an array in .*\.npy, found: "),
    ],
)
def test_kinetics_sounds_says_what_is_wrong(tmp_path: Path, spoil: Callable[[Path], None], says: str) -> None:
    folder = files.kinetics_sounds(tmp_path / "files")
    spoil(folder)
    assert re.search(says, refused("kinetics-sounds", folder, tmp_path / "store"))


def test_vggsound_says_what_is_wrong(tmp_path: Path) -> None:
    folder = files.vggsound(tmp_path / "files")
    (folder / "vggsound.csv").write_text("id,ten,dog barking,train\n")
    assert "Expected lines of id, start, class, train or test in" in refused("vggsound", folder, tmp_path / "store")
    (folder / "vggsound.csv").unlink()
    assert re.search("Expected the file .*vggsound.csv, found none", refused("vggsound", folder, tmp_path / "store"))


@pytest.mark.parametrize("name", ["kinetics-sounds", "vggsound"])
def test_a_source_travels_to_another_process(name: str) -> None:
    assert pickle.loads(pickle.dumps(source(name))) == source(name)

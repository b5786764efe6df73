"""AVE: clips of videos with sound, and seconds of features; class names with commas, videos that come twice."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import official
from msam_bench.data import source
from msam_bench.data.sets.ave.segments import class_names
from msam_bench.data.sets.ave.source import CATEGORIES, listed
from official import COLOURS, EVENTS, ids_of, prepared, refused


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return official.ave_clips(tmp_path_factory.mktemp("files") / "AVE_Dataset")


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return official.ave_segments(tmp_path_factory.mktemp("files"))


def test_there_are_the_published_categories() -> None:
    assert len(CATEGORIES) == 28
    assert list(CATEGORIES) == sorted(CATEGORIES)
    assert sum("," in name for name in CATEGORIES) == 7
    assert source("ave").classes == CATEGORIES


def test_ave_hears_and_sees_the_event(videos: Path, tmp_path: Path) -> None:
    store = prepared("ave", videos.parent, tmp_path / "store")
    dataset = store.load(0)
    assert dataset.shapes == {"audio": (1, 257, 1004), "video": (4, 3, 224, 224)}
    assert store.sizes() == {"train": 6, "valid": 3, "test": 4}
    for split in dataset.splits.values():
        for row, label in enumerate(split.target.tolist()):
            event = EVENTS.index(CATEGORIES[label])
            shown = split.inputs["video"][row].float().mean((0, 2, 3))
            torch.testing.assert_close(shown, torch.tensor(COLOURS[event]).float(), atol=7, rtol=0)
            heard = split.inputs["audio"][row, 0, :, 20:180].float().mean(1).argmax()
            assert heard == round(300 * (event + 1) * 512 / 16_000)
            assert split.inputs["audio"][row].float().std() == pytest.approx(1, abs=1e-2)  # stored in half precision


def test_ave_keeps_a_videos_first_line_and_names_those_in_two_splits(videos: Path, tmp_path: Path) -> None:
    store = prepared("ave", videos, tmp_path / "store")
    recipe = store.manifest.header.recipe
    assert (recipe["repeats"], recipe["in_two_splits"]) == (1, ["-video_1"])
    assert ids_of(store, "train")[0] == "train/-video_0"
    assert CATEGORIES[store.load(0).splits["train"].target[0]] == EVENTS[0]
    assert ids_of(store, "test")[-1] == "test/-video_1"


def test_ave_reads_names_with_commas_and_ids_with_anything(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("Baby cry, infant cry&-a_b&good&0&10\n\nViolin, fiddle&x&y&bad&1&2\n")
    with pytest.raises(ValueError, match=r"Expected one of the 28 categories of AVE in .*, found 'Violin, fiddle&x'"):
        listed(tmp_path / "l.txt")
    (tmp_path / "l.txt").write_text("Baby cry, infant cry&-a_b&good&0&10\n")
    assert listed(tmp_path / "l.txt") == [("Baby cry, infant cry", "-a_b")]


def _header(files: Path) -> None:
    (files / "valSet.txt").write_text("Category&VideoID&Quality&StartTime&EndTime\n")


def _category(files: Path) -> None:
    (files / "valSet.txt").write_text("Baby cry&-video_6&good&0&10\n")


def _missing(files: Path) -> None:
    (files / "AVE/-video_4.mp4").unlink()


def _mute(files: Path) -> None:
    official.write_video(files / "AVE/-video_4.mp4", [COLOURS[0]])


def _cut(files: Path) -> None:
    path = files / "AVE/-video_4.mp4"
    path.write_bytes(path.read_bytes()[:3000])


CLIPS: dict[str, tuple[Callable[[Path], None], str]] = {
    "header": (_header, "Expected lines like Church bell&VIDEO&good&0&10 in .*valSet.txt, found 'Category&Video"),
    "category": (_category, "Expected one of the 28 categories of AVE in .*valSet.txt, found 'Baby cry'"),
    "list": (lambda files: (files / "testSet.txt").unlink(), "Expected the file .*testSet.txt, found none"),
    "video": (_missing, r"Expected .*-video_4.mp4, found none \(1 videos of 12 are missing\)"),
    "mute": (_mute, "Expected sound in .*-video_4.mp4, found a video without any: leave its sample out"),
    "cut": (_cut, "Expected (sound|a video) in .*-video_4.mp4, found: .*fetch the file again"),
}


@pytest.mark.parametrize("fault", CLIPS)
def test_ave_says_what_is_wrong_with_its_clips(videos: Path, tmp_path: Path, fault: str) -> None:
    files = tmp_path / "files"
    shutil.copytree(videos, files)
    spoil, says = CLIPS[fault]
    spoil(files)
    assert re.search(says, refused("ave", files, tmp_path / "store"))


# ------------------------------------------------------------------------------------------------------------ segments


def test_a_segment_is_a_second_with_the_name_of_its_column(features: Path, tmp_path: Path) -> None:
    store = prepared("ave", features, tmp_path / "store", "segments")
    dataset = store.load(0)
    assert dataset.shapes == {"audio": (128,), "video": (512, 7, 7)}
    assert (store.sizes(), store.group) == ({"train": 60, "valid": 30, "test": 30}, "video")
    assert [dataset.classes[column] for column in (4, 20, 7, 28, 0)] == [*EVENTS, "background", "column 0"]
    assert len(dataset.classes) == 29
    with h5py.File(features / "visual_feature.h5") as visual, h5py.File(features / "audio_feature.h5") as audio:
        row = ids_of(store, "train").index("3-7")
        assert row == 7  # the order of the videos is the file's
        split = dataset.splits["train"]
        assert dataset.classes[split.target[row]] == EVENTS[0]
        np.testing.assert_array_equal(split.inputs["audio"][row], audio["avadataset"][3, 7].astype("f4"))
        expected = visual["avadataset"][3, 7].transpose(2, 0, 1).astype("f2")
        np.testing.assert_array_equal(split.inputs["video"][row], expected)


def test_columns_are_numbered_where_the_annotations_are_of_other_videos(features: Path) -> None:
    with h5py.File(features / "labels.h5") as file:
        labels = file["avadataset"][:]
    right = [EVENTS[number % 3] for number in range(12)]
    assert class_names(labels, right) is not None
    assert class_names(labels, right[:-1]) is None
    assert class_names(labels, right[1:] + right[:1]) is not None  # a consistent renaming cannot be told
    assert class_names(labels, right[:6] + right[7:] + right[:1]) is None


def test_segments_without_annotations_say_so(features: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    shutil.copytree(features, files)
    (files / "Annotations.txt").unlink()
    store = prepared("ave", files, tmp_path / "store", "segments")
    assert store.manifest.header.recipe["names"] == "numbers of columns"
    assert store.classes[4] == "column 4"


def _replaced(name: str, values: np.ndarray, key: str = "avadataset") -> Callable[[Path], None]:
    def replace(files: Path) -> None:
        with h5py.File(files / name, "w") as file:
            file[key] = values

    return replace


SEGMENTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "key": (_replaced("labels.h5", np.zeros(3), "other"), "Expected the array 'avadataset' in .*labels.h5, found: "),
    "sums": (_replaced("labels.h5", np.zeros((12, 10, 29))), "Expected one class a second in .*labels.h5"),
    "shape": (_replaced("audio_feature.h5", np.zeros((9, 10, 128))), r"Expected audio features of \[12, 10\] seconds"),
    "order": (_replaced("val_order.h5", np.array([12]), "order"), "Expected numbers of 12 videos in .*val_order.h5"),
    "missing": (lambda files: (files / "test_order.h5").unlink(), "Expected the file .*test_order.h5, found none"),
    "kind": (lambda files: (files / "labels.h5").write_text("no h5"), "Expected the array 'avadataset' in .*labels.h5"),
}


@pytest.mark.parametrize("fault", SEGMENTS)
def test_ave_says_what_is_wrong_with_its_features(features: Path, tmp_path: Path, fault: str) -> None:
    files = tmp_path / "files"
    shutil.copytree(features, files)
    spoil, says = SEGMENTS[fault]
    spoil(files)
    assert re.search(says, refused("ave", files, tmp_path / "store", recipe="segments"))


def test_a_feature_that_is_no_number_is_refused(features: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    shutil.copytree(features, files)
    _replaced("audio_feature.h5", np.full((12, 10, 128), np.nan))(files)
    said = refused("ave", files, tmp_path / "store", recipe="segments")
    assert re.search(r"Expected finite numbers of .* in modality 'audio' of '3-0', found nan", said)

"""UCF101, UPMC Food-101, MVSA-Single, IEMOCAP, NVGesture: from files that the tests make to what a model sees."""

from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import official_media as files
from msam_bench.data import source
from msam_bench.data.importing.texts import ids
from msam_bench.data.sets.holding_out import without_some
from msam_bench.data.sets.mvsa import agreed
from msam_bench.data.sets.ucf101 import middles
from official import ids_of, prepared, refused

# ----------------------------------------------------------------------------------------------------------- held out


def test_some_names_of_each_class_are_held_out_whatever_their_order() -> None:
    names = [f"name{number}" for number in range(40)]
    labels = [number % 4 for number in range(40)]
    train, valid = without_some(names, 0.2, labels)
    assert sorted(train + valid) == sorted(names)
    assert [labels[names.index(name)] for name in valid].count(0) == 2
    other = without_some(names[::-1], 0.2, labels[::-1])
    assert set(other[1]) == set(valid)
    assert without_some(["a"], 0.5) == (["a"], [])
    assert [len(part) for part in without_some(["a", "b"], 0.01)] == [1, 1]


# ------------------------------------------------------------------------------------------------------------- UCF101


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files.ucf101(tmp_path_factory.mktemp("files") / "ucf")


def test_ucf101_keeps_groups_on_one_side_and_validates_on_the_first_two_of_training(
    videos: Path, tmp_path: Path
) -> None:
    store = prepared("ucf101", videos, tmp_path / "store")
    groups = {
        part: {re.search(r"g(\d\d)", name)[1] for name in ids_of(store, part)}  # type: ignore[index]
        for part in ("train", "valid", "test")
    }
    assert groups == {"train": {"05", "06"}, "valid": {"03", "04"}, "test": {"01", "02"}}
    assert (store.group, store.manifest.header.recipe["held_out"]) == ("group", [3, 4])
    dataset = store.load(0)
    assert dataset.classes == files.ACTIONS
    assert dataset.shapes == {"rgb": (3, 3, 224, 224), "flow": (3, 2, 224, 224)}


@pytest.mark.parametrize("nested", [False, True])
def test_ucf101_shows_the_middle_of_each_third(videos: Path, tmp_path: Path, nested: bool) -> None:
    folder = files.ucf101(tmp_path / "nested", nested=True) if nested else videos
    split = prepared("ucf101", folder, tmp_path / "store").load(0).splits["test"]
    for row, label in enumerate(split.target.tolist()):
        shown = split.inputs["rgb"][row].float().mean((2, 3))
        expected = torch.tensor(files.COLOURS[label]).float() + 5 * torch.tensor([[1.0], [3.0], [5.0]])  # of six frames
        torch.testing.assert_close(shown, expected, atol=5, rtol=0)  # JPEG
        moved = split.inputs["flow"][row].float().mean((0, 2, 3))
        torch.testing.assert_close(moved, torch.tensor([60.0 + 60 * label, 128]), atol=2, rtol=0)
    inputs, _ = split.take(slice(0, 1))
    assert inputs["flow"][0, 0, 1].mean() == pytest.approx(128 / 127.5 - 1, abs=0.02)


def test_the_middle_of_each_third_is_in_the_middle() -> None:
    paths = [Path(str(number)) for number in range(9)]
    assert [int(path.name) for path in middles(paths, Path())] == [1, 4, 7]
    assert [int(path.name) for path in middles(paths[:1], Path())] == [0, 0, 0]
    assert [int(path.name) for path in middles(paths[:2], Path())] == [0, 1, 1]


def _no_flow(folder: Path) -> None:
    shutil.rmtree(folder / "u")


def _no_video(folder: Path) -> None:
    shutil.rmtree(folder / "v/v_Archery_g05_c01")


def _no_picture(folder: Path) -> None:
    for path in (folder / "rgb/v_ApplyEyeMakeup_g05_c01").iterdir():
        path.unlink()


def _line(folder: Path) -> None:
    (folder / "ucfTrainTestlist/testlist01.txt").write_text("Archery/v_Archery_c01.avi\n")


def _numbers(folder: Path) -> None:
    (folder / "ucfTrainTestlist/classInd.txt").write_text("2 Archery\n")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_no_flow, "Expected the folder u or tvl1_flow/u or flow/u in .*, found none"),
        (_no_video, r"Expected pictures in .*v/v_Archery_g05_c01, found no folder \(1 folders are missing\)"),
        (_no_picture, r"Expected pictures \(jpg\) in .*rgb/v_ApplyEyeMakeup_g05_c01, found none"),
        (_line, "Expected lines like ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi in .*, found 'Archery/v_Archery_c01"),
        (_numbers, "Expected lines of a number and a class, from 1 on, in .*classInd.txt"),
    ],
)
def test_ucf101_says_what_is_wrong(videos: Path, tmp_path: Path, spoil: Callable[[Path], None], says: str) -> None:
    folder = tmp_path / "files"
    shutil.copytree(videos, folder)
    spoil(folder)
    assert re.search(says, refused("ucf101", folder, tmp_path / "store"))


# ------------------------------------------------------------------------------------------------------- UPMC Food-101


@pytest.mark.parametrize("header", [False, True])
def test_food101_has_pictures_and_titles(tmp_path: Path, header: bool) -> None:
    store = prepared("food101", files.food101(tmp_path / "files", header), tmp_path / "store")
    dataset = store.load(0)
    assert dataset.classes == files.DISHES
    assert tuple(map(len, dataset.splits.values())) == (27, 3, 9)
    assert dataset.shapes == {"image": (3, 224, 224), "text": (40,)}
    for part, split in dataset.splits.items():
        for row, name in enumerate(ids_of(store, part)):
            label, page = split.target[row].item(), re.search(r"_(\d+)\.jpg", name)[1]  # type: ignore[index]
            shown = split.inputs["image"][row].float().mean((1, 2))
            torch.testing.assert_close(shown, torch.tensor(files.COLOURS[label]).float(), atol=5, rtol=0)
            title = f"Grandma's {files.DISHES[label]}, number {page}"  # without its link
            assert torch.equal(split.inputs["text"][row], ids(title, 40))
    assert dataset.splits["valid"].target.tolist() == [0, 1, 2]


def test_food101_says_what_is_wrong(tmp_path: Path) -> None:
    folder = files.food101(tmp_path / "files")
    (folder / "images/train/sushi/sushi_4.jpg").unlink()
    assert re.search("Expected the picture .*sushi_4.jpg, found none", refused("food101", folder, tmp_path / "store"))
    (folder / "texts/train_titles.csv").write_text("sushi_4.jpg,sushi\n")
    assert "Expected a picture, a title and a class in each line" in refused("food101", folder, tmp_path / "store")
    shutil.rmtree(folder / "texts")
    assert re.search("Expected the file .*train_titles.csv, found none", refused("food101", folder, tmp_path / "store"))


def test_food101_refuses_a_class_without_training(tmp_path: Path) -> None:
    folder = files.food101(tmp_path / "files")
    lines = (folder / "texts/train_titles.csv").read_text().splitlines()
    (folder / "texts/train_titles.csv").write_text("\n".join(line for line in lines if "sushi" not in line))
    said = refused("food101", folder, tmp_path / "store")
    assert "Expected classes of the training list in test_titles.csv, found 'sushi' besides" in said


# ---------------------------------------------------------------------------------------------------------------- MVSA


@pytest.mark.parametrize(
    ("text", "picture", "label"),
    [
        ("positive", "positive", "positive"),
        ("neutral", "negative", "negative"),
        ("positive", "neutral", "positive"),
        ("neutral", "neutral", "neutral"),
        ("negative", "positive", None),
    ],
)
def test_a_neutral_sentiment_gives_way(text: str, picture: str, label: str | None) -> None:
    assert agreed(text, picture) == label


def test_mvsa_has_pictures_and_texts(tmp_path: Path) -> None:
    store = prepared("mvsa", files.mvsa(tmp_path / "files"), tmp_path / "store")
    dataset = store.load(0)
    assert store.manifest.header.recipe["contradicting"] == 3
    assert tuple(map(len, dataset.splits.values())) == (29, 4, 4)
    names = {part: ids_of(store, part) for part in dataset.splits}
    assert sorted(int(name) for part in names.values() for name in part) == list(range(4, 41))
    for part, split in dataset.splits.items():
        for row, name in enumerate(names[part]):
            pair = files.PAIRS[int(name) % 4]
            assert dataset.classes[split.target[row]] == agreed(*pair)
            assert torch.equal(split.inputs["text"][row], ids(f"RT @a: a {pair[0]} café #day", 40))
            shown = split.inputs["image"][row].float().mean((1, 2))
            torch.testing.assert_close(shown, torch.tensor(files.COLOURS[int(name) % 3]).float(), atol=5, rtol=0)


def test_mvsa_says_what_is_wrong(tmp_path: Path) -> None:
    folder = files.mvsa(tmp_path / "files")
    (folder / "data/7.txt").unlink()
    assert re.search(r"Expected .*7.txt, found none \(1 files", refused("mvsa", folder, tmp_path / "store"))
    labels = folder / "labelResultAll.txt"
    labels.write_text(labels.read_text() + "9\tneutral,neutral\n")
    assert "Expected every pair once in" in refused("mvsa", folder, tmp_path / "store")
    labels.write_text("ID\ttext,image\n1\tpositive,happy\n")
    assert "Expected lines like 1<tab>positive,neutral in" in refused("mvsa", folder, tmp_path / "store")


# ------------------------------------------------------------------------------------------------------------- IEMOCAP


@pytest.mark.parametrize(("split", "valid"), [("official", None), ("session", {"Ses04F_impro01", "Ses04M_impro01"})])
def test_iemocap_has_an_utterance_a_sample_and_dialogues_on_one_side(
    tmp_path: Path, split: str, valid: set[str] | None
) -> None:
    folder = files.iemocap(tmp_path / "files")
    store = prepared("iemocap", folder, tmp_path / "store", split=split)
    dataset = store.load(0)
    assert dataset.shapes == {"text": (5,), "audio": (4,), "video": (6,)}
    dialogues = {part: {name[:-4] for name in ids_of(store, part)} for part in dataset.splits}
    assert dialogues["test"] == {"Ses05F_impro01", "Ses05M_impro01"}
    assert not dialogues["train"] & dialogues["valid"]
    assert len(dialogues["train"] | dialogues["valid"]) == 8
    assert dialogues["valid"] == valid or (valid is None and len(dialogues["valid"]) == 1)
    content = pickle.loads((folder / "IEMOCAP_features.pkl").read_bytes())
    for row, name in enumerate(ids_of(store, "test")):
        dialogue, number = name[:-4], int(name[-3:])
        assert dataset.splits["test"].target[row] == content[2][dialogue][number]
        stored = dataset.splits["test"].inputs["video"][row]
        assert torch.equal(stored, torch.from_numpy(content[5][dialogue][number]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c[:8], "Expected nine entries in .*, found tuple"),
        (lambda c: print, r"found a call of builtins\.print: nothing of it was run"),
        (lambda c: (*c[:4], {}, *c[5:]), "Expected audio of the dialogue Ses01F_impro01 in .*, found none"),
        (lambda c: (*c[:2], {**c[2], "Ses05M_impro01": [0]}, *c[3:]), "Expected 1 utterances of Ses05M_impro01 in .*"),
        (
            lambda c: (*c[:2], {**c[2], "Ses01F_impro01": [0, 6, 1]}, *c[3:]),
            "Expected emotions from 0 to 5 in Ses01F_impro01 of .*, found 6",
        ),
    ],
)
def test_iemocap_says_what_is_wrong(tmp_path: Path, change: Callable[[Any], Any], says: str) -> None:
    path = files.iemocap(tmp_path / "files") / "IEMOCAP_features.pkl"
    path.write_bytes(pickle.dumps(change(pickle.loads(path.read_bytes()))))
    assert re.search(says, refused("iemocap", path.parent, tmp_path / "store"))


# ----------------------------------------------------------------------------------------------------------- NVGesture


def test_nvgesture_sees_the_gesture_and_keeps_people_on_one_side(tmp_path: Path) -> None:
    store = prepared("nvgesture", files.nvgesture(tmp_path / "files"), tmp_path / "store")
    dataset = store.load(0)
    assert dataset.shapes == {"rgb": (3, 3, 224, 224), "depth": (3, 1, 224, 224)}
    assert tuple(map(len, dataset.splits.values())) == (12, 3, 3)
    assert (store.group, store.manifest.header.recipe["on_both_sides"]) == ("subject", [])
    for split in dataset.splits.values():
        for row, label in enumerate(split.target.tolist()):
            shown = split.inputs["rgb"][row].float().mean((2, 3))
            torch.testing.assert_close(shown, torch.tensor([files.COLOURS[label]] * 3).float(), atol=8, rtol=0)
            deep = split.inputs["depth"][row].float().mean((1, 2, 3))
            torch.testing.assert_close(deep, torch.tensor([60.0 + 60 * label] * 3), atol=8, rtol=0)  # JPEG


def test_nvgesture_says_who_is_on_both_sides(tmp_path: Path) -> None:
    store = prepared("nvgesture", files.nvgesture(tmp_path / "files", shared=True), tmp_path / "store")
    assert store.group is None
    assert store.manifest.header.recipe["on_both_sides"] == ["subject5"]


def _gone(folder: Path) -> None:
    (folder / "Video_data/class_02/subject3_r0/sk_depth.avi").unlink()


def _short(folder: Path) -> None:
    files._video(folder / "Video_data/class_02/subject6_r0/sk_color.avi", [(9, 9, 9)] * 4)


def _other(folder: Path) -> None:
    (folder / "Video_data/class_02/subject6_r0/sk_color.avi").write_bytes(b"no video")


def _odd(folder: Path) -> None:
    path = folder / "nvgesture_test_correct_cvpr2016_v2.lst"
    path.write_text(path.read_text().replace("label:3", "label:26"))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_gone, r"Expected .*class_02/subject3_r0/sk_depth.avi, found none \(1 videos are missing\)"),
        (_short, "Expected a picture number 4 in .*subject6_r0/sk_color.avi, found the end of the video"),
        (_other, "Expected a video in .*sk_color.avi, found: "),
        (_odd, "Expected lines like path:.* in .*, found 'path:.*label:26'"),
    ],
)
def test_nvgesture_says_what_is_wrong(tmp_path: Path, spoil: Callable[[Path], None], says: str) -> None:
    folder = files.nvgesture(tmp_path / "files")
    spoil(folder)
    assert re.search(says, refused("nvgesture", folder, tmp_path / "store"))


@pytest.mark.parametrize("name", ["ucf101", "food101", "mvsa", "iemocap", "nvgesture"])
def test_a_source_travels_to_another_process(name: str) -> None:
    assert pickle.loads(pickle.dumps(source(name))) == source(name)
    assert source(name).sizes() == {}
    assert not source(name).here

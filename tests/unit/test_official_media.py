"""UCF101, UPMC Food-101 and MVSA-Single: from their publishers' files, which the tests make, to what a model sees."""

from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

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


@pytest.mark.parametrize("name", ["ucf101", "food101", "mvsa"])
def test_a_source_travels_to_another_process(name: str) -> None:
    assert pickle.loads(pickle.dumps(source(name))) == source(name)
    assert source(name).sizes() == {}
    assert not source(name).here

"""The published data sets: from their publishers' files, which the tests make, to what a model sees."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import official
from clips import POINTER, write_wav
from msam_bench.data import source
from msam_bench.data.sets.cremad.splits import clips, drawn, listed, with_validation
from official import ids_of, prepared, refused

# ------------------------------------------------------------------------------------------------------------ AV-MNIST


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return official.avmnist(tmp_path_factory.mktemp("files") / "avmnist")


@pytest.mark.parametrize(("split", "sizes"), [("multibench", (44, 4, 12)), ("agm", (43, 5, 10))])
def test_avmnist_has_the_arrays_rows(digits: Path, tmp_path: Path, split: str, sizes: tuple[int, ...]) -> None:
    dataset = prepared("avmnist", digits.parent, tmp_path / "store", split=split).load(0)
    assert tuple(map(len, dataset.splits.values())) == sizes
    assert dataset.shapes == {"image": (1, 28, 28), "audio": (1, 112, 112)}
    inputs, target = dataset.splits["valid"].take(slice(None))
    first = sizes[0]
    assert target.tolist() == [row % 10 for row in range(first, 48)]
    image = np.load(digits / "image/train_data.npy")[first:].reshape(-1, 1, 28, 28) / 255
    audio = np.load(digits / "audio/train_data.npy")[first:][:, None] / 255
    half = 0.5 / 255 + 1e-6  # whole grey levels
    torch.testing.assert_close(inputs["image"], torch.from_numpy(image).float(), atol=half, rtol=0)
    torch.testing.assert_close(inputs["audio"], torch.from_numpy(audio).float(), atol=half, rtol=0)


def test_avmnist_of_the_published_size_has_the_published_splits() -> None:
    from msam_bench.data.sets.avmnist import _rows

    sizes = {name: len(rows) for name, (_, rows) in _rows("multibench", 60_000, 10_000).items()}
    assert sizes == source("avmnist").sizes() == {"train": 55_000, "valid": 5_000, "test": 10_000}
    assert [len(rows) for _, rows in _rows("agm", 60_000, 10_000).values()] == [54_000, 6_000, 9_000]


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("image/train_data.npy", None, "Expected the file .*train_data.npy, found none"),
        ("image/train_data.npy", np.zeros((47, 784)), r"Expected 48 pictures of 28 x 28 .* found shape \[47, 784\]"),
        ("audio/test_data.npy", np.zeros((12, 56, 56)), r"Expected 12 pictures of 112 x 112 .* found shape \[12, 56"),
        ("audio/test_data.npy", np.full((12, 112, 112), -1.0), "Expected values from 0 to 255 in modality 'audio'"),
        ("audio/test_data.npy", np.full((12, 112, 112), np.nan), "Expected values from 0 to 255 .* found nan to nan"),
        ("test_labels.npy", np.arange(12), "Expected digits from 0 to 9 in .*test_labels.npy, found others"),
        ("test_labels.npy", np.array([print], dtype=object), "Expected an array in .*test_labels.npy, found: "),
    ],
)
def test_avmnist_refuses_other_arrays(tmp_path: Path, name: str, values: object, says: str) -> None:
    files = official.avmnist(tmp_path / "files")
    (files / name).unlink()
    if values is not None:
        np.save(files / name, values)  # type: ignore[arg-type]
    assert re.search(says, refused("avmnist", files, tmp_path / "store"))


# ------------------------------------------------------------------------------------------------------------- CREMA-D


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return official.cremad(tmp_path_factory.mktemp("files") / "CREMA-D")


SHAPES = {
    "ogm-1fps": {"audio": (1, 257, 188), "video": (3, 224, 224)},
    "fbank-3f": {"audio": (1, 128, 298), "video": (3, 3, 224, 224)},
}


@pytest.mark.parametrize("recipe", SHAPES)
@pytest.mark.parametrize("flash", [True, False])
def test_cremad_sees_the_colour_and_hears_the_pitch_of_the_emotion(
    faces: Path, tmp_path: Path, recipe: str, flash: bool
) -> None:
    files = faces if flash else official.cremad(tmp_path / "files", flash=False)
    store = prepared("cremad", files, tmp_path / "store", recipe)
    dataset = store.load(0)
    assert (dataset.shapes, dataset.classes) == (SHAPES[recipe], official.EMOTIONS)
    assert tuple(map(len, dataset.splits.values())) == (20, 2, 2)
    for split in dataset.splits.values():
        for row, label in enumerate(split.target.tolist()):
            shown = split.inputs["video"][row].reshape(-1, 3, 224, 224).float().mean((0, 2, 3))
            torch.testing.assert_close(shown, torch.tensor(official.COLOURS[label]).float(), atol=7, rtol=0)
            heard = split.inputs["audio"][row, 0].float().mean(1).argmax()
            assert heard == pytest.approx(_band(recipe, 200.0 * (label + 2)), abs=1.5)


def _band(recipe: str, hertz: float) -> float:
    """Where a tone is to be seen."""
    if recipe == "ogm-1fps":
        return hertz * 512 / 22_050
    mel = [1127 * math.log(1 + each / 700) for each in (20, hertz, 8000)]
    return (mel[1] - mel[0]) / (mel[2] - mel[0]) * 129 - 1


def test_cremads_numbers_reach_the_model_scaled(faces: Path, tmp_path: Path) -> None:
    train = prepared("cremad", faces, tmp_path / "store", "fbank-3f").load(0).splits["train"]
    inputs, _ = train.take(slice(None))
    assert inputs["audio"].mean().item() == pytest.approx(0, abs=1e-3)  # stored in half precision
    assert inputs["audio"].std().item() == pytest.approx(1, abs=1e-2)
    colour = train.inputs["video"][0, 0, :, 100, 100] / 255
    expected = (colour - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(inputs["video"][0, 0, :, 100, 100], expected, atol=1e-5, rtol=0)


def test_cremads_drawn_lists_have_the_sizes_of_the_published_ones() -> None:
    names = [
        f"{1001 + actor}_S{chr(65 + i // 26)}{chr(65 + i % 26)}_{official.EMOTIONS[i % 6]}_XX"
        for actor, i in clip_numbers()
    ]
    assert len(names) == 7442
    sizes = {part: len(members) for part, members in drawn(names, "paper").items()}
    assert sizes == source("cremad").sizes() == {"train": 6028, "valid": 670, "test": 744}
    actors = {part: {name[:4] for name in members} for part, members in drawn(names, "actor-disjoint").items()}
    assert {part: len(members) for part, members in actors.items()} == {"train": 64, "valid": 9, "test": 18}
    assert not actors["train"] & actors["test"]
    assert not actors["valid"] & (actors["train"] | actors["test"])
    assert {name[:4] for name in drawn(names, "paper")["test"]} > actors["test"]


def clip_numbers() -> list[tuple[int, int]]:
    """(actor, clip): 91 actors with 82 clips, but one with 62."""
    return [(actor, i) for actor in range(91) for i in range(82 if actor else 62)]


def test_cremads_draw_does_not_depend_on_the_order_of_the_files() -> None:
    names = [f"{1000 + i}_IEO_NEU_XX" for i in range(40)]
    assert drawn(names, "paper") == drawn(names[::-1], "paper")
    more = drawn([*names, "2000_IEO_NEU_XX"], "paper")
    assert len(set(drawn(names, "paper")["test"]) - set(more["test"])) <= 1


def test_cremads_actors_are_apart_in_the_store(faces: Path, tmp_path: Path) -> None:
    store = prepared("cremad", faces, tmp_path / "store", split="actor-disjoint")
    assert (store.group, tuple(store.sizes().values())) == ("actor", (12, 6, 6))


def test_cremad_reads_the_lists_of_ogm_ge(faces: Path, tmp_path: Path) -> None:
    names = clips(faces / "AudioWAV")
    test, train = names[:5], names[5:]
    for part, members in (("train", train), ("test", test)):
        lines = "".join(f"{name},{name.split('_')[2]}\r\n" for name in members)
        (tmp_path / f"{part}.csv").write_text("\ufeff" + lines, encoding="utf-8")
    lists = listed(tmp_path)
    assert lists == {"train": train, "test": test}
    split = with_validation(lists, names)
    assert (split["test"], len(split["valid"])) == (test, 2)
    assert sorted(split["train"] + split["valid"]) == train


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (
            {"train": "1001_IEO_NEU_XX,HAP"},
            "Expected train.csv and test.csv in .*, found only train.csv: add the other",
        ),
        ({"train": "1001_IEO_NEU_XX,HAP", "test": ""}, "Expected lines like .*, found '1001_IEO_NEU_XX,HAP'"),
        ({"train": "1001_IEO_NEU_XX", "test": ""}, "Expected lines like .*, found '1001_IEO_NEU_XX'"),
        (
            {"train": "9999_IEO_NEU_XX,NEU", "test": ""},
            "Expected the listed clip 9999_IEO_NEU_XX in AudioWAV, found none",
        ),
    ],
)
def test_cremad_refuses_other_lists(tmp_path: Path, lines: dict[str, str], says: str) -> None:
    for part, text in lines.items():
        (tmp_path / f"{part}.csv").write_text(text)
    write_wav(tmp_path / "AudioWAV/1001_IEO_NEU_XX.wav", np.zeros(9, "f4"))
    assert re.search(says, refused("cremad", tmp_path, tmp_path / "store"))


def _pointer(files: Path) -> None:
    (files / "AudioWAV/1001_IEO_SAD_XX.wav").write_text(POINTER)


def _other_rate(files: Path) -> None:
    write_wav(files / "AudioWAV/1001_IEO_SAD_XX.wav", np.zeros(800, "f4"), 8_000)


def _cut(files: Path) -> None:
    path = files / "VideoFlash/1001_IEO_SAD_XX.flv"
    path.write_bytes(path.read_bytes()[:1500])


def _unseen(files: Path) -> None:
    for name in ("SAD", "HAP"):
        (files / f"VideoFlash/1001_IEO_{name}_XX.flv").unlink()


def _misnamed(files: Path) -> None:
    (files / "AudioWAV/1001_IEO_SAD_XX.wav").rename(files / "AudioWAV/1001_IEO_BAD_XX.wav")


def _no_picture(files: Path) -> None:
    path = files / "VideoFlash/1001_IEO_SAD_XX.flv"
    path.write_bytes((files / "AudioWAV/1001_IEO_SAD_XX.wav").read_bytes())


def _nothing(files: Path) -> None:
    for path in files.rglob("*.wav"):
        path.unlink()


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "pointer": (_pointer, "Expected .*1001_IEO_SAD_XX.wav itself, found a Git-LFS pointer to it: run 'git lfs pull'"),
    "rate": (_other_rate, "Expected 16,000 samples a second in .*1001_IEO_SAD_XX.wav, found 8,000"),
    "cut": (_cut, "Expected 2.0 s of video in .*1001_IEO_SAD_XX.flv, found pictures until 0.. s: the file is cut off"),
    "unseen": (_unseen, "Expected .*1001_IEO_HAP_XX.flv, found neither .* \\(2 clips of 24 are not to be seen\\)"),
    "misnamed": (_misnamed, "Expected a clip named like 1001_IEO_NEU_XX in .*, found '1001_IEO_BAD_XX'"),
    "picture": (_no_picture, "Expected at least one picture in .*1001_IEO_SAD_XX.flv, found none"),
    "nothing": (_nothing, "Expected the clips of CREMA-D in .*AudioWAV, found none"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_cremad_says_what_is_wrong_with_its_files(faces: Path, tmp_path: Path, fault: str) -> None:
    files = tmp_path / "files"
    shutil.copytree(faces, files)
    spoil, says = FAULTS[fault]
    spoil(files)
    assert re.search(says, refused("cremad", files, tmp_path / "store"))


@pytest.mark.parametrize("samples", [0, 100, 40_000])
def test_cremad_keeps_a_silent_clip_and_says_which(faces: Path, tmp_path: Path, samples: int) -> None:
    files = tmp_path / "files"
    shutil.copytree(faces, files)
    write_wav(files / "AudioWAV/1002_IEO_SAD_LO.wav", np.zeros(samples, "f4"))
    for recipe in SHAPES:
        store = prepared("cremad", files, tmp_path / recipe, recipe)
        assert store.manifest.header.recipe["silent"] == ["1002_IEO_SAD_LO"]
        ids, audio = ids_of(store, "train"), store.load(0).splits["train"].inputs["audio"]
        silent = audio[ids.index("1002_IEO_SAD_LO")]
        assert len(silent.unique()) == 1

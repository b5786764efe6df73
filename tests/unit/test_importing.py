"""Data of the user's own: what is guessed of arrays, tables and folders, what is said of it, and what is refused."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from clips import tone, write_video, write_wav
from msam_bench.data.importing import ImportOptions, ImportPlan, plan_import, texts
from msam_bench.data.importing.layouts import infer_layout
from msam_bench.data.store.prepared import Prepared, opened

COUNT = 30
LABELS = [("cat", "dog", "owl")[row % 3] for row in range(COUNT)]


def imported(tmp_path: Path, *sources: Path, **options: Any) -> Prepared:
    plan_import(sources, "mine", ImportOptions(**options)).build(tmp_path / "data" / "mine")
    return opened(tmp_path / "data" / "mine")


def planned(*sources: Path, **options: Any) -> ImportPlan:
    return plan_import(sources, "mine", ImportOptions(**options))


def note(plan: ImportPlan, subject: str) -> str:
    return next(f"{text} ({option})" for name, text, option in plan.notes if name == subject)


def written(path: Path, columns: dict[str, Sequence[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def numbers(width: int, *more: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(width).normal(size=(COUNT, width, *more))


# ------------------------------------------------------------------------------------------------------------- arrays


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_arrays_of_an_archive_are_modalities(tmp_path: Path, ending: str) -> None:
    arrays = {"pose": numbers(5), "motion": numbers(3, 20), "label": np.arange(COUNT) % 3}
    path = tmp_path / f"mine.{ending}"
    if ending == "npz":
        np.savez(path, **arrays)
    else:
        save_file(arrays, path)
    dataset = imported(tmp_path, path).load(0)
    assert {name: (look.kind, look.shape) for name, look in dataset.modality_specs.items()} == {
        "pose": ("vector", (5,)),
        "motion": ("series", (3, 20)),
    }
    assert dataset.classes == ("0", "1", "2")
    assert {part: len(split) for part, split in dataset.splits.items()} == {"train": 21, "valid": 3, "test": 6}
    split = dataset.splits["test"]
    assert split.rows is not None
    torch.testing.assert_close(split.inputs["pose"][split.rows], torch.from_numpy(arrays["pose"]).float()[split.rows])
    assert torch.equal(split.target, split.rows % 3)


def test_files_named_after_splits_are_splits(tmp_path: Path) -> None:
    for part, count in (("train", 12), ("val", 5), ("test", 7)):
        np.savez(tmp_path / f"{part}.npz", pose=numbers(4)[:count], label=np.arange(count) % 2)
    found = imported(tmp_path, *(tmp_path / f"{part}.npz" for part in ("train", "val", "test")))
    assert found.sizes() == {"train": 12, "valid": 5, "test": 7}
    assert found.manifest.header.split == "given"
    test = found.load(5).splits["test"]
    torch.testing.assert_close(test.inputs["pose"], torch.from_numpy(numbers(4)[:7]).float())


def test_arrays_named_after_splits_are_splits(tmp_path: Path) -> None:
    parts = {"train": 12, "valid": 5, "test": 7}
    arrays = {f"{part}_pose": numbers(4)[:count] for part, count in parts.items()}
    np.savez(tmp_path / "all.npz", **arrays, **{f"{part}_label": np.arange(count) % 2 for part, count in parts.items()})
    assert imported(tmp_path, tmp_path / "all.npz").sizes() == parts


def test_arrays_in_files_of_their_own_lie_side_by_side(tmp_path: Path) -> None:
    np.save(tmp_path / "pose.npy", numbers(4))
    np.save(tmp_path / "sound.npy", numbers(2, 30))
    np.save(tmp_path / "label.npy", np.array(LABELS))
    found = imported(tmp_path, *(tmp_path / f"{name}.npy" for name in ("pose", "sound", "label")))
    assert (found.modalities, found.classes) == (("pose", "sound"), ("cat", "dog", "owl"))


@pytest.mark.parametrize(
    ("shape", "dtype", "kind", "expected", "arranged"),
    [
        ((), "float32", None, "vector", (1,)),
        ((9,), "float32", None, "vector", (9,)),
        ((9,), "float32", "series", "series", (1, 9)),
        ((9,), "int64", "tokens", "tokens", (9,)),
        ((3, 50), "float32", None, "series", (3, 50)),
        ((50, 3), "float32", None, "series", (3, 50)),
        ((50, 3), "float32", "sequence", "sequence", (50, 3)),
        ((50, 3), "float32", "vector", "vector", (150,)),
        ((28, 28), "float32", None, "image", (1, 28, 28)),
        ((20, 28), "uint8", None, "image", (1, 20, 28)),
        ((64, 100), "float32", "spectrogram", "spectrogram", (1, 64, 100)),
        ((3, 32, 24), "uint8", None, "image", (3, 32, 24)),
        ((32, 24, 3), "uint8", None, "image", (3, 32, 24)),
        ((8, 32, 24), "uint8", None, "frames", (8, 1, 32, 24)),
        ((8, 3, 32, 24), "uint8", None, "frames", (8, 3, 32, 24)),
        ((8, 32, 24, 3), "uint8", None, "frames", (8, 3, 32, 24)),
    ],
)
def test_a_shape_tells_the_kind_and_the_way_round(
    shape: tuple[int, ...], dtype: str, kind: str | None, expected: str, arranged: tuple[int, ...]
) -> None:
    layout = infer_layout(shape, dtype, kind)
    assert layout.kind == expected
    sample = torch.arange(int(np.prod(shape))).reshape(shape)
    assert tuple(layout.arrange(sample).shape) == arranged
    assert layout.arrange(sample).sum() == sample.sum()


def test_a_shape_that_is_not_of_the_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"of one to four dimensions that make a 'frames', found shape \[3\]"):
        infer_layout((3,), "float32", "frames")
    with pytest.raises(ValueError, match=r"Expected samples of one to four dimensions, found shape \[2, 2, 2, 2, 2\]"):
        infer_layout((2,) * 5, "float32")


def test_channels_last_pictures_keep_their_pixels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(COUNT, 8, 6, 3)).astype(np.uint8)
    np.savez(tmp_path / "p.npz", face=pixels, label=LABELS)
    split = imported(tmp_path, tmp_path / "p.npz").load(0).splits["train"]
    assert split.inputs["face"].dtype == torch.uint8
    assert torch.equal(split.inputs["face"], torch.from_numpy(pixels).movedim(3, 1))


def test_tokens_have_the_vocabulary_that_occurs(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(40, size=(COUNT, 7))
    ids[0, 0] = 41
    np.savez(tmp_path / "t.npz", words=ids, label=LABELS)
    dataset = imported(tmp_path, tmp_path / "t.npz", kinds={"words": "tokens"}).load(0)
    assert (dataset.modality_specs["words"].kind, dataset.modality_specs["words"].vocabulary) == ("tokens", 42)
    assert dataset.splits["train"].take(slice(2))[0]["words"].dtype == torch.int64


# ------------------------------------------------------------------------------------------------------------- tables


def columns() -> dict[str, Sequence[Any]]:
    values = numbers(5)
    return {
        "acc_x": values[:, 0].tolist(),
        "acc_y": values[:, 1].tolist(),
        "gyr.1": values[:, 2].tolist(),
        "gyr.2": values[:, 3].tolist(),
        "note": [f"Number {row}, a {LABELS[row]}!" for row in range(COUNT)],
        "label": LABELS,
    }


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_columns_of_a_table_are_grouped_by_their_names(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"mine.{ending}"
    if ending == "csv":
        written(path, columns())
    else:
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        pq.write_table(pa.table(columns()), path)
    dataset = imported(tmp_path, path, words=4).load(0)
    assert {name: (look.kind, look.shape) for name, look in dataset.modality_specs.items()} == {
        "acc": ("vector", (2,)),
        "gyr": ("vector", (2,)),
        "note": ("tokens", (4,)),
    }
    split = dataset.splits["train"]
    torch.testing.assert_close(split.inputs["gyr"], torch.from_numpy(numbers(5)[:, 2:4]).float())
    assert torch.equal(split.inputs["note"][7], texts.ids("number 7 a dog", 4))


def test_lists_of_a_parquet_table_are_arrays(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"pose": numbers(4).tolist(), "label": LABELS}), tmp_path / "p.parquet")
    split = imported(tmp_path, tmp_path / "p.parquet").load(0).splits["train"]
    torch.testing.assert_close(split.inputs["pose"], torch.from_numpy(numbers(4)).float())


def test_other_separators_are_seen(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("\ufeffa;b;label\n" + "\n".join(f"{row % 4};1,5;x{row % 2}" for row in range(9)))
    made = planned(tmp_path / "mine.csv")
    assert [column.name for column in made.columns] == ["a", "b"]
    assert made.read(3)["b"].tolist() == [1.5]


def test_a_word_has_the_same_id_everywhere() -> None:
    assert texts.ids("The cat, THE hat?", 6).tolist() == [4129, 5826, 4129, 7371, 0, 0]
    assert texts.ids("", 2).tolist() == [0, 0]
    assert texts.length_for(["one two", "a b c d"]) == 4


# ------------------------------------------------------------------------------------------------------------ folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve samples: a wav, a png, an npy and a video each, three people."""
    place = tmp_path / "zoo"
    for row in range(12):
        write_wav(place / "sound" / f"{row}.wav", tone(300 + 200 * (row % 3), 0.3 + 0.02 * row, 8_000), 8_000)
        (place / "photo").mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), (80 * (row % 3), 90, 20 * row)).save(place / "photo" / f"{row}.png")
        (place / "pose").mkdir(exist_ok=True)
        np.save(place / "pose" / f"{row}.npy", np.full((2, 6), row, np.float64))
    table = {
        "voice": [f"sound/{row}.wav" for row in range(12)],
        "photo": [f"photo/{row}.png" for row in range(12)],
        "pose": [f"pose/{row}.npy" for row in range(12)],
        "animal": LABELS[:12],
        "keeper": [f"k{row // 4}" for row in range(12)],
    }
    written(place / "samples.csv", table)
    return place


def test_a_folder_of_files_is_decoded(tmp_path: Path, folder: Path) -> None:
    found = imported(tmp_path, folder, label=("animal",), group="keeper")
    dataset = found.load(0)
    assert {name: (look.kind, look.shape) for name, look in dataset.modality_specs.items()} == {
        "voice": ("spectrogram", (1, 64, 50)),
        "photo": ("image", (3, 40, 40)),
        "pose": ("series", (2, 6)),
    }
    split = dataset.splits["train"]
    assert split.inputs["pose"][7].eq(7).all()
    assert split.inputs["photo"][7, :, 20, 20].tolist() == [80, 90, 140]
    bands = split.inputs["voice"][:3, 0, :, 5].float().argmax(-1).tolist()
    assert bands == sorted(set(bands))  # higher tones, higher bands
    assert found.sizes() == {"train": 4, "valid": 4, "test": 4}
    assert "keeper" in (found.group or "")


def test_a_video_gives_pictures_and_a_sound(tmp_path: Path) -> None:
    for row in range(6):
        colours = [(200, 0, 0), (0, 200, 0)] if row % 2 else [(0, 0, 200), (0, 200, 0)]
        write_video(tmp_path / "v" / f"{row}.mp4", colours, sound=tone(440, 2.0, 22_050))
    written(tmp_path / "v" / "list.csv", {"clip": [f"{row}.mp4" for row in range(6)], "label": list("ababab")})
    dataset = imported(tmp_path, tmp_path / "v", size=16, seconds=1.0).load(0)
    assert {name: (look.kind, look.shape) for name, look in dataset.modality_specs.items()} == {
        "clip": ("frames", (3, 3, 16, 16)),
        "clip-sound": ("spectrogram", (1, 64, 98)),
    }
    pictures = dataset.splits["train"].inputs["clip"]
    assert pictures[1, 0, :, 8, 8].argmax() == 0
    assert torch.equal(pictures[1, 1], pictures[1, 2])  # two seconds: the last picture again


def test_what_is_guessed_is_said_with_what_overrides_it(folder: Path) -> None:
    made = planned(folder, label=("animal",))
    assert note(made, "label") == "column animal: 3 classes (cat, dog, owl) (--label, --task values)"
    assert "drawn by the seed: 70 % train, 10 % validate, 20 % test (--split, --group)" in note(made, "split")
    assert note(made, "photo") == "pictures of 40 x 40 from .png; encoder cnn2d (--size, --encoder)"
    assert "64 bands, of 0.52 s of .wav at 16 kHz; encoder cnn2d (--seconds, --encoder)" in note(made, "voice")
    assert note(made, "pose") == "npy files of float32 [2, 6]; encoder cnn1d (--kind, --encoder)"
    assert "the first 1 words of each text, hashed to 8192 ids; encoder transformer (--words" in note(made, "keeper")


def test_what_is_asked_for_is_done(folder: Path) -> None:
    asked = {"label": ("animal",), "leave_out": ("pose", "keeper"), "size": 8, "seconds": 0.2}
    made = planned(folder, **asked, kinds={}, encoders={"photo": "lenet"})
    assert [column.name for column in made.columns] == ["voice", "photo"]
    assert tuple(made.read(0)["photo"].shape) == (3, 8, 8)
    assert tuple(made.read(0)["voice"].shape) == (1, 64, 18)
    assert made.header.modalities["photo"].encoder == "lenet"


# -------------------------------------------------------------------------------------------------- labels and splits


def table_with(tmp_path: Path, **more: Sequence[Any]) -> Path:
    return written(tmp_path / "t.csv", {"a": numbers(1)[:, 0].tolist(), **more})


@pytest.mark.parametrize(
    ("labels", "task", "classes"),
    [
        (LABELS, None, ("cat", "dog", "owl")),
        ([row % 10 for row in range(COUNT)], None, tuple(map(str, range(10)))),
        ([row / 2 for row in range(COUNT)], None, ()),
        (list(range(COUNT)), "values", ()),
        ([row % 3 for row in range(COUNT)], "values", ()),
        ([row % 5 + 0.5 for row in range(COUNT)], "classes", tuple(str(row + 0.5) for row in range(5))),
    ],
)
def test_labels_are_classes_or_values(
    tmp_path: Path, labels: Sequence[Any], task: Any, classes: tuple[str, ...]
) -> None:
    made = planned(table_with(tmp_path, label=labels), task=task)
    assert made.header.classes == classes
    first = next(iter(made.plan.values()))[7]
    assert first.label == (classes.index(str(labels[7])) if classes else labels[7])


def test_several_labels_are_values(tmp_path: Path) -> None:
    path = table_with(tmp_path, up=list(range(COUNT)), down=[-row for row in range(COUNT)])
    dataset = imported(tmp_path, path, label=("up", "down")).load(0)
    assert (dataset.classes, dataset.outputs, dataset.modalities) == ((), 2, ("a",))


def test_a_split_that_is_given_is_kept_and_validation_is_carved_out_of_training(tmp_path: Path) -> None:
    split = ["Train"] * 20 + ["TEST"] * 10
    people = [f"p{row // 2}" for row in range(COUNT)]
    made = planned(table_with(tmp_path, label=LABELS, split=split, subject=people))
    assert {part: len(samples) for part, samples in made.plan.items()} == {"train": 18, "valid": 2, "test": 10}
    assert len({sample.group for sample in made.plan["valid"]}) == 1
    assert "as given, each subject on one side, and a tenth of train validates" in note(made, "split")
    again = planned(table_with(tmp_path, label=LABELS, split=split, subject=people))
    assert again.plan == made.plan
    assert {sample.item for samples in made.plan.values() for sample in samples} == set(range(COUNT))


def test_a_group_on_both_sides_of_a_given_split_is_refused(tmp_path: Path) -> None:
    split = [("train", "valid", "test")[row % 3] for row in range(COUNT)]
    path = table_with(tmp_path, label=LABELS, split=split, speaker=[f"s{row // 4}" for row in range(COUNT)])
    with pytest.raises(ValueError, match="Expected each group in one split, found 's0' in train and in valid"):
        imported(tmp_path, path)
    assert imported(tmp_path, path, group="none", leave_out=("speaker",)).sizes() == dict.fromkeys(
        ("train", "valid", "test"), 10
    )


# ------------------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("change", "asked", "message"),
    [
        ({"label": None}, {}, r"Expected a column named label, .* in t.csv, found a: name yours by --label"),
        ({}, {"label": ("lable",)}, "Expected a column 'lable' in t.csv, found a, label: write 'label'"),
        ({}, {"group": "who"}, "Expected a column 'who' in t.csv"),
        ({"label": ["", *LABELS[1:]]}, {}, "Expected a label in line 2 of t.csv, found an empty cell"),
        ({"label": ["x"] * COUNT}, {}, "Expected two classes or more in column 'label', found x"),
        ({"split": ["train"] * 29 + ["later"]}, {}, "train, valid or test in column 'split', found 'later' in line 31"),
        ({"split": ["train"] * COUNT}, {}, "Expected samples in the split 'test', found none"),
        ({"id": ["same"] * COUNT}, {"id": "id"}, "Expected every sample once, found 'same' more than once"),
        (
            {"b": ["", *numbers(1)[1:, 0]]},
            {},
            "Expected a number in column 'b', found an empty cell in line 2 of t.csv",
        ),
        (
            {"b": ["nan", *numbers(1)[1:, 0]]},
            {},
            "Expected a number in column 'b', found 'nan' in line 2 of t.csv: fill it, or say --missing mean",
        ),
        ({"b": ["inf", *numbers(1)[1:, 0]]}, {}, "Expected a number in column 'b', found 'inf' in line 2 of t.csv"),
        ({"label": ["1.5", "x"] * 15}, {"task": "values"}, "a finite number in column 'label', found 'x' in line 3"),
        (
            {"label": ["1.5", "nan"] * 15},
            {"task": "values"},
            "Expected a label in line 3 of t.csv, found 'nan'",
        ),
        (
            {"subject": ["p", "q"] * 15},
            {},
            "Expected three or more different of 'subject' to draw a split from, found 2",
        ),
        ({}, {"leave_out": ("a",)}, "Expected a column in t.csv that is no label, found none"),
        ({}, {"leave_out": ("c",)}, "Expected a column among a, label, found 'c'"),
        ({}, {"kinds": {"b": "image"}}, "Expected a modality among a, found 'b'"),
        ({}, {"encoders": {"a": "resnet"}}, "Expected an encoder among .*, found 'resnet': write 'resnet18'"),
        ({}, {"encoders": {"a": "resnet18"}}, "for 'resnet18', found 'a' of kind 'vector': choose another encoder"),
        ({"file": ["../t.wav"] * COUNT}, {}, "Expected a file inside .*, found '../t.wav' in line 2 of t.csv"),
        ({"file": ["/etc/t.wav"] * COUNT}, {}, "Expected a file inside .*, found '/etc/t.wav' in line 2 of t.csv"),
        ({"file": ["none.wav"] * COUNT}, {}, "Expected the file .*none.wav, which line 2 of t.csv names, found none"),
        ({"file": [*["t.wav"] * 29, ""]}, {}, "Expected the file .*t.wav, which line 2"),
    ],
)
def test_a_fault_of_a_table_is_one_sentence(
    tmp_path: Path, change: dict[str, Any], asked: dict[str, Any], message: str
) -> None:
    table = {name: cells for name, cells in {"label": LABELS, **change}.items() if cells is not None}
    path = table_with(tmp_path, **table)
    with pytest.raises(ValueError, match=message):
        imported(tmp_path, path, **asked)
    assert not (tmp_path / "data" / "mine").exists()


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "secret.wav").write_bytes((folder / "sound" / "3.wav").read_bytes())
    (folder / "sound" / "3.wav").unlink()
    (folder / "sound" / "3.wav").symlink_to(tmp_path / "secret.wav")
    with pytest.raises(ValueError, match=r"Expected a file inside .*zoo, found 'sound/3.wav' in line 5"):
        planned(folder, label=("animal",))


def test_an_empty_cell_among_paths_is_refused(folder: Path) -> None:
    text = (folder / "samples.csv").read_text()
    (folder / "samples.csv").write_text(text.replace("photo/5.png", ""))
    with pytest.raises(ValueError, match=r"Expected a file in column 'photo', found '' in line 7 of samples.csv"):
        planned(folder, label=("animal",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,label\n1,x\n2\n", "Expected 2 cells in line 3 of .*t.csv, found 1: repair the line"),
        ("a,a,label\n1,2,x\n", "Expected each column of .*t.csv once, found 'a' more than once"),
        ("a,label\n", "Expected rows in .*t.csv, found none"),
        ("", "Expected rows in .*t.csv, found none"),
        (b"a,label\n\xff\xfe,x\n", "Expected a table of UTF-8 text in .*t.csv, found"),
    ],
)
def test_a_broken_table_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=message):
        planned(tmp_path / "t.csv")


def objects(path: Path) -> None:
    np.savez(path, a=np.array([{}, {}], dtype=object), allow_pickle=True)


def ragged(path: Path) -> None:
    np.savez(path, a=np.zeros((3, 2)), label=np.zeros(4))


@pytest.mark.parametrize(
    ("write", "name", "message"),
    [
        (objects, "x.npz", "Expected arrays of numbers or texts in .*x.npz, found Python objects"),
        (ragged, "x.npz", "Expected as many samples in every array of x.npz, found a 3, label 4"),
        (lambda path: path.write_bytes(b"PK\3\4 no"), "x.npz", "Expected arrays in .*x.npz, found: "),
        (lambda path: path.write_bytes(b"no"), "x.safetensors", "Expected arrays in .*x.safetensors, found: "),
        (lambda path: path.write_bytes(b"no"), "x.parquet", "Expected a parquet table in .*x.parquet, found: "),
        (lambda path: path.write_bytes(b"no"), "x.mat", "Expected arrays in .*x.mat, found: "),
        (lambda path: path.write_bytes(b"no"), "x.h5", "Expected arrays in .*x.h5, found: "),
        (lambda path: path.write_bytes(b"no"), "x.xlsx", "Expected .*, found .*x.xlsx: convert it first"),
        (lambda path: None, "x.npz", "Expected a file or a folder to import at .*x.npz, found none"),
    ],
)
def test_a_broken_archive_is_refused(tmp_path: Path, write: Any, name: str, message: str) -> None:
    write(tmp_path / name)
    with pytest.raises(ValueError, match=message):
        planned(tmp_path / name)


def test_a_folder_without_one_table_is_refused(tmp_path: Path, folder: Path) -> None:
    (folder / "more.csv").write_text("")
    with pytest.raises(
        ValueError, match=r"Expected one table of the samples in .*, found more.csv, samples.csv: name it"
    ):
        planned(folder)
    with pytest.raises(ValueError, match=r"found none: name it manifest\.csv"):
        planned(folder / "sound")


def test_sources_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "train.npz", a=numbers(2), label=LABELS)
    np.savez(tmp_path / "test.npz", b=numbers(2), label=LABELS)
    np.savez(tmp_path / "short.npz", c=numbers(2)[:4])
    with pytest.raises(ValueError, match="Expected the columns label, a in every split, found label, b in test"):
        planned(tmp_path / "train.npz", tmp_path / "test.npz")
    with pytest.raises(ValueError, match=r"different columns of as many samples, found train.npz 30, short.npz 4"):
        planned(tmp_path / "train.npz", tmp_path / "short.npz")
    with pytest.raises(ValueError, match="Expected at least one file or folder to import, found none"):
        planned()

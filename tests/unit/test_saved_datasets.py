"""Data sets that Hugging Face's `datasets` saved: columns by the types of their features, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from msam_bench.cli import main
from msam_bench.data import source
from msam_bench.data.importing.saved import is_saved, read_saved
from saved_datasets import COLOURS, rows, write_split, write_splits


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    parts = {"train": rows(12), "validation": rows(6, 12), "test": rows(6, 18)}
    return write_splits(tmp_path / "animals", parts)


def test_columns_become_what_their_features_are(folder: Path) -> None:
    content = read_saved(folder)
    assert is_saved(folder)
    assert content.cells["label"][:4] == ["cat", "dog", "owl", "cat"]
    assert content.cells["text"][1] == "it is green"
    assert content.cells["flag"][:3] == [1, 0, 1]
    assert content.cells["split"] == ["train"] * 12 + ["validation"] * 6 + ["test"] * 6
    assert (content.places[0], content.places[-1]) == ("row 0 of train", "row 5 of test")
    assert {name: values[3].shape for name, values in content.arrays.items()} == {
        "image": (30, 30, 3),
        "audio": (1, 64, 51),  # 0.53 s: 51 windows of 25 ms every 10 ms
        "vector": (4,),
        "array": (3, 5),
    }
    assert content.kinds == {"audio": "spectrogram"}
    assert all(path.is_file() for path in content.files)
    for row in (0, 7, 23):
        assert (content.arrays["image"][row] == COLOURS[row % 3]).all()
        assert content.arrays["vector"][row].tolist() == [row, 1, 2, 3]
        assert np.unique(content.arrays["array"][row]).tolist() == [row % 3]
    heard = [int(content.arrays["audio"][row][0].mean(1).argmax()) for row in range(3)]
    assert heard == sorted(set(heard))  # 300, 600 and 900 Hz


def test_size_and_seconds_can_be_said(folder: Path) -> None:
    content = read_saved(folder, size=8, seconds=0.2)
    assert content.arrays["image"][0].shape == (8, 8, 3)
    assert content.arrays["audio"][0].shape == (1, 64, 18)


def test_a_single_split_and_several_files_are_read(tmp_path: Path) -> None:
    one, three = (read_saved(write_split(tmp_path / f"s{n}", rows(7), shards=n)) for n in (1, 3))
    assert "split" not in one.cells
    assert one.cells == three.cells
    assert [each.tolist() for each in one.arrays["vector"]] == [each.tolist() for each in three.arrays["vector"]]
    assert len(three.files) == 3


def test_nulls_and_unknown_classes_stay_empty(tmp_path: Path) -> None:
    columns = rows(4)
    columns["label"][1], columns["label"][2] = None, -1
    columns["image"][0] = columns["text"][3] = columns["vector"][2] = None
    content = read_saved(write_split(tmp_path / "s", columns))
    assert content.cells["label"] == ["cat", None, None, "cat"]
    assert content.cells["text"][3] is None
    assert content.arrays["image"][0] is None
    assert content.arrays["image"][1].shape == (30, 30, 3)
    assert content.arrays["vector"][2] is None


def test_older_ways_to_write_lists_are_read(tmp_path: Path) -> None:
    value = {"dtype": "float32", "_type": "Value"}
    old = {
        "vector": {"feature": value, "length": -1, "_type": "Sequence"},
        "array": [[value]],
        "large": {"feature": value, "_type": "LargeList"},
    }
    columns = {name: rows(3)[name] for name in ("vector", "array")} | {"large": [[1.0, 2.0]] * 3}
    content = read_saved(write_split(tmp_path / "s", columns, old))
    assert {name: values[0].shape for name, values in content.arrays.items()} == {
        "vector": (4,),
        "array": (3, 5),
        "large": (2,),
    }


def test_import_builds_a_store_of_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MSAM_DATA", raising=False)
    with pytest.raises(SystemExit) as stopped:
        main(["data", "import", str(folder), "--name", "pets", "--size", "16"])
    assert not stopped.value.code, capsys.readouterr().err
    dataset = source("pets").load(0)
    assert dataset.classes == ("cat", "dog", "owl")
    assert tuple(map(len, dataset.splits.values())) == (12, 6, 6)
    assert dataset.shapes["image"] == (3, 16, 16)
    assert dataset.shapes["audio"] == (1, 64, 51)
    specs: dict[str, Any] = dict(getattr(dataset, "modality_specs", None) or dataset.looks)
    assert {name: spec.kind for name, spec in specs.items()} == {
        "image": "image",
        "audio": "spectrogram",
        "vector": "vector",
        "array": "series",
        "flag": "vector",
        "text": "tokens",
    }
    shown = dataset.splits["test"].inputs["image"][0, :, 5, 5]
    assert torch.equal(shown.long(), torch.tensor(COLOURS[18 % 3]))


def _indices(folder: Path) -> None:
    state = json.loads((folder / "train/state.json").read_text())
    (folder / "train/state.json").write_text(json.dumps({**state, "_indices_data_files": [{"filename": "i.arrow"}]}))


def _features(folder: Path) -> None:
    info = json.loads((folder / "test/dataset_info.json").read_text())
    info["features"]["label"]["names"].reverse()
    (folder / "test/dataset_info.json").write_text(json.dumps(info))


def _cut(folder: Path) -> None:
    path = folder / "train/data-00000-of-00001.arrow"
    path.write_bytes(path.read_bytes()[:500])


def _gone(folder: Path) -> None:
    (folder / "train/data-00000-of-00001.arrow").unlink()


def _json(folder: Path) -> None:
    (folder / "test/state.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_indices, "Expected the rows themselves in .*train, found indices into others"),
        (_features, "Expected the same features in every split of .*animals, found others in 'test'"),
        (_cut, "Expected an arrow stream in .*data-00000-of-00001.arrow, found: "),
        (_gone, "Expected the file .*data-00000-of-00001.arrow, found none"),
        (_json, "Expected JSON in .*state.json, found: "),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(folder: Path, spoil: Any, says: str) -> None:
    spoil(folder)
    with pytest.raises(ValueError, match=says):
        read_saved(folder)


@pytest.mark.parametrize(
    ("column", "feature"),
    [
        ("clip", {"_type": "Video"}),
        ("pair", {"en": {"dtype": "string", "_type": "Value"}}),
        ("tags", {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}),
    ],
)
def test_a_feature_of_another_type_is_refused(tmp_path: Path, column: str, feature: Any) -> None:
    split = write_split(tmp_path / "s", {"label": [0], column: [["a"]]}, {column: feature})
    with pytest.raises(ValueError, match=rf"found the column '{column}' of type .*: remove it by remove_columns"):
        read_saved(split)


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("image", {"bytes": b"no picture", "path": None}, r"Expected a picture, found: .* \(row 1 of s\)"),
        (
            "image",
            {"bytes": None, "path": "a.png"},
            r"Expected the bytes of a picture, found only its path 'a.png' \(row",
        ),
        ("audio", {"bytes": b"no sound", "path": None}, r"Expected a sound, found: .*"),
        ("array", [[1.0], [1.0, 2.0]], r"Expected an array of numbers without gaps, .* \(row 1 of s\)"),
    ],
)
def test_a_value_that_cannot_be_decoded_is_named(tmp_path: Path, column: str, value: Any, says: str) -> None:
    columns = rows(3)
    columns[column][1] = value
    split = write_split(tmp_path / "s", columns)
    with pytest.raises(ValueError, match=says):
        read_saved(split, seconds=0.2).arrays[column][1]


def test_a_class_out_of_range_is_refused(tmp_path: Path) -> None:
    columns = rows(3)
    columns["label"][1] = 7
    with pytest.raises(ValueError, match=r"Expected numbers of 3 classes in 'label' of .*, found 7"):
        read_saved(write_split(tmp_path / "s", columns))


def test_other_folders_are_none(tmp_path: Path) -> None:
    assert not is_saved(tmp_path)
    assert not is_saved(tmp_path / "gone")


def test_the_package_datasets_is_not_needed(folder: Path) -> None:
    code = (
        "import sys; sys.modules['datasets'] = None\n"
        "from pathlib import Path; from msam_bench.data.importing.saved import read_saved\n"
        f"print(read_saved(Path({str(folder)!r})).arrays['image'][0].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(30, 30, 3)"

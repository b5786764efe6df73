"""CMU-MOSI, CMU-MOSEI and MUStARD: from the pickles that are passed on, which the tests make, to sequences of words."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import official_sentiment as files
from msam_bench.data import source
from official import prepared, refused


def content(folder: Path, name: str) -> Any:
    return pickle.loads((folder / name).read_bytes())


@pytest.mark.parametrize("name", ["mosi_raw.pkl", "mosi_data.pkl"])
def test_words_begin_with_the_texts_first_and_are_padded_behind(tmp_path: Path, name: str) -> None:
    folder = files.multibench(tmp_path / "files", name)
    store = prepared("mosi", folder, tmp_path / "store")
    dataset, raw = store.load(0), content(folder, name)
    assert dataset.shapes == {"vision": (20, 8), "audio": (20, 6), "text": (20, 7)}
    assert tuple(map(len, dataset.splits.values())) == (13, 7, 7)  # one of train has no text
    for row in range(7):
        for modality, width in files.WIDTHS.items():
            values = dataset.splits["test"].inputs[modality][row]
            assert torch.equal(values[: 3 + row, :width], torch.from_numpy(raw["test"][modality][row][17 - row :]))
            assert values[: 3 + row, width].tolist() == [1.0] * (3 + row)
            assert not values[3 + row :].any()
    said = store.manifest.header.recipe
    assert (said["file"], said["aligned"], said["without_text"], said["without_label"]) == (name, True, 1, 0)
    assert said["not_finite"] == {"vision": 0, "audio": 1, "text": 0}
    assert dataset.splits["train"].inputs["audio"][2, 5, 1] == 0  # row 3: its last word of six


QUESTIONS = {
    "positive": ([0, 0, 0, 0, 1, 1, 1], ("not positive", "positive")),
    "negative": ([0, 0, 0, 1, 1, 1, 1], ("negative", "not negative")),
    "polar": ([0, 0, 0, 1, 1, 1], ("negative", "positive")),
    "seven": ([0, 2, 3, 3, 3, 5, 6], ("-3", "-2", "-1", "0", "1", "2", "3")),
}


@pytest.mark.parametrize("recipe", QUESTIONS)
@pytest.mark.parametrize("data", ["mosi", "mosei"])
def test_a_recipe_says_what_becomes_of_a_score(tmp_path: Path, data: str, recipe: str) -> None:
    name = {"mosi": "mosi_raw.pkl", "mosei": "mosei_senti_data.pkl"}[data]
    store = prepared(data, files.multibench(tmp_path / "files", name), tmp_path / "store", recipe)
    dataset, (labels, classes) = store.load(0), QUESTIONS[recipe]
    assert dataset.splits["test"].target.tolist() == labels
    assert dataset.classes == classes
    assert store.manifest.header.recipe["without_label"] == (
        4 if recipe == "polar" else 0
    )  # two of 14, one of 7, one of 7


def test_scores_can_be_regressed(tmp_path: Path) -> None:
    store = prepared("mosi", files.multibench(tmp_path / "files", "mosi_raw.pkl"), tmp_path / "store", "score")
    dataset = store.load(0)
    assert dataset.classes == ()
    target = dataset.splits["valid"].take(slice(None))[1]
    expected = torch.tensor(files.SCORES)
    assert torch.corrcoef(torch.stack([target, expected]))[0, 1] == pytest.approx(1)


def test_modalities_that_are_not_aligned_keep_their_times(tmp_path: Path) -> None:
    name = "mosei_senti_data_noalign.pkl"
    folder = files.multibench(tmp_path / "files", name, times=(40, 30, 20))
    store = prepared("mosei", folder, tmp_path / "store")
    dataset, raw = store.load(0), content(folder, name)
    assert dataset.shapes == {"vision": (40, 8), "audio": (30, 6), "text": (20, 7)}
    assert store.manifest.header.recipe["aligned"] is False
    audio = dataset.splits["test"].inputs["audio"][2]
    assert torch.equal(audio[:5, :5], torch.from_numpy(raw["test"]["audio"][2][25:]))
    assert audio[:, 5].sum() == 5


def test_mmsa_says_by_berts_mask_where_words_are(tmp_path: Path) -> None:
    folder = files.mmsa(tmp_path / "files")
    dataset, raw = prepared("mosi", folder, tmp_path / "store").load(0), content(folder, "aligned_50.pkl")
    for row in range(7):
        text = dataset.splits["valid"].inputs["text"][row]
        assert torch.equal(text[: 4 + row, :6], torch.from_numpy(raw["valid"]["text"][row][: 4 + row]))
        assert not text[4 + row :].any()
    assert dataset.splits["valid"].target.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_mustard_is_read_as_multibench_has_it(tmp_path: Path) -> None:
    dataset = prepared("mustard", files.multibench(tmp_path / "files", "sarcasm.pkl"), tmp_path / "store").load(0)
    assert dataset.classes == ("not sarcastic", "sarcastic")
    assert dataset.splits["test"].target.tolist() == [0, 0, 0, 0, 1, 1, 1]


FAULTS: dict[str, tuple[str, str]] = {
    "code": ("content = print", r"found a call of builtins\.print: nothing of it was run"),
    "split": ("del content['valid']", "Expected 'vision' of 'valid' in .*mosi_raw.pkl, found none"),
    "labels": ("del content['test']['labels']", "Expected 'labels' of 'test' in .*mosi_raw.pkl, found none"),
    "rows": ("content['test']['labels'] = np.zeros(3)", r"Expected arrays .* in 'test' .* and 3 labels"),
    "shape": (
        "content['test']['text'] = np.zeros((7, 20))",
        r"Expected arrays \[samples, times, features\] .* in 'test'",
    ),
    "number": ("content['test']['labels'][3] = np.nan", "Expected finite labels in .*, found nan in row 3 of 'test'"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_pickle_is_checked(tmp_path: Path, fault: str) -> None:
    folder = files.multibench(tmp_path / "files", "mosi_raw.pkl")
    change, says = FAULTS[fault]
    scope = {"content": content(folder, "mosi_raw.pkl"), "np": np}
    exec(change, scope)
    (folder / "mosi_raw.pkl").write_bytes(pickle.dumps(scope["content"]))
    assert re.search(says, refused("mosi", folder, tmp_path / "store"))


def test_a_missing_pickle_is_named(tmp_path: Path) -> None:
    tmp_path.joinpath("files").mkdir()
    assert "Expected sarcasm.pkl in" in refused("mustard", tmp_path / "files", tmp_path / "store")
    assert "mosi_raw.pkl or mosi_data.pkl or" in refused("mosi", tmp_path / "files", tmp_path / "store")


@pytest.mark.parametrize("name", ["mosi", "mosei", "mustard"])
def test_a_source_travels_to_another_process(name: str) -> None:
    assert pickle.loads(pickle.dumps(source(name))) == source(name)

"""UR-FUNNY from both forms of its features: words aligned, padding, what is dropped and what is replaced."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import official
from msam_bench.encoders import encoder
from official import WIDTHS, ids_of, prepared, refused


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return official.urfunny_multibench(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def authors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return official.urfunny_sdk(tmp_path_factory.mktemp("files"))


def read(path: Path) -> Any:
    return pickle.loads(path.read_bytes())


def test_multibenchs_words_begin_with_the_texts_first_and_are_padded_behind(arrays: Path, tmp_path: Path) -> None:
    dataset = prepared("urfunny", arrays, tmp_path / "store").load(0)
    assert dataset.shapes == {name: (50, width + 1) for name, width in WIDTHS.items()}
    assert dataset.classes == ("not humorous", "humorous")
    inputs, target = dataset.splits["valid"].take(slice(None))
    assert target.tolist() == [0, 1, 0, 1]
    theirs = read(arrays / "humor.pkl")["valid"]
    for name, width in WIDTHS.items():
        for row in range(4):
            words = 5 + row
            expected = torch.zeros(50, width + 1)
            expected[:words, :-1] = torch.from_numpy(theirs[name][row, -words:]).float()
            expected[:words, -1] = 1
            assert torch.equal(inputs[name][row], expected)


def test_samples_without_text_are_dropped_and_numbers_that_are_none_replaced(arrays: Path, tmp_path: Path) -> None:
    store = prepared("urfunny", arrays, tmp_path / "store")
    assert store.sizes() == {"train": 11, "valid": 4, "test": 4}
    assert "train-1" not in ids_of(store, "train")
    recipe = store.manifest.header.recipe
    assert (recipe["without_text"], recipe["not_finite"]) == (1, {"vision": 0, "audio": 1, "text": 0})
    first = store.load(0).splits["train"].inputs["audio"][0]
    assert torch.isfinite(first).all()
    assert first[4].tolist()[2::3] == [0, 1]  # the number, and the mark of a word


def test_the_authors_sentences_are_one_sequence_of_the_last_fifty_words(authors: Path, tmp_path: Path) -> None:
    store = prepared("urfunny", authors, tmp_path / "store", "sdk")
    assert store.sizes() == {"train": 12, "valid": 4, "test": 4}
    language, vision = (read(authors / f"{name}.pkl") for name in ("language_sdk", "openface_features_sdk"))
    vectors = np.array(read(authors / "word_embedding_list.pkl"), dtype="f4")
    dataset = store.load(0)
    for key, words in ((2, 9), (3, 50)):
        row = ids_of(store, "train").index(f"train-{key}")
        first, second = language[key]["context_embedding_indexes"]
        numbers = [*first, *second, *language[key]["punchline_embedding_indexes"]]
        text = dataset.splits["train"].inputs["text"][row]
        assert text[:, -1].sum() == words
        np.testing.assert_array_equal(text[:words, :-1], vectors[numbers[-words:]])
        blocks = np.concatenate([*vision[key]["context_features"], vision[key]["punchline_features"]])
        np.testing.assert_array_equal(
            dataset.splits["train"].inputs["vision"][row, :words, :-1], blocks[-words:].astype("f4")
        )
    assert store.manifest.header.recipe["not_finite"]["audio"] == 1


def test_padding_does_not_reach_the_feature_of_a_sample(arrays: Path, tmp_path: Path) -> None:
    dataset = prepared("urfunny", arrays, tmp_path / "store").load(0)
    net = encoder(dataset.modality_specs["text"], 8, 12, layers=2).eval().double()
    sequence = dataset.splits["test"].inputs["text"].double()
    short = sequence[:, :8]  # the longest has eight words
    torch.testing.assert_close(net(sequence), net(short), atol=1e-12, rtol=0)


def _without(key: str) -> Callable[[Any], Any]:
    return lambda content: {name: value for name, value in content.items() if name != key}


def _changed(change: Callable[[Any], None]) -> Callable[[Any], Any]:
    def changed(content: Any) -> Any:
        change(content)
        return content

    return changed


ARRAYS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "split": (_without("valid"), "Expected 'vision' of 'valid' in .*humor.pkl, found none"),
    "labels": (_changed(lambda c: c["test"].pop("labels")), "Expected 'labels' of 'test' in .*humor.pkl, found none"),
    "shape": (
        _changed(lambda c: c["test"].update(text=np.zeros((4, 20, 6)))),
        "Expected arrays of the same samples and times in 'test' of .*humor.pkl, found .*20",
    ),
    "list": (lambda content: [1, 2], "Expected 'vision' of 'train' in .*humor.pkl, found none"),
    "code": (lambda content: print, "found a call of builtins.print: nothing of it was run"),
}


@pytest.mark.parametrize("fault", ARRAYS)
def test_multibenchs_file_is_checked(arrays: Path, tmp_path: Path, fault: str) -> None:
    change, says = ARRAYS[fault]
    (tmp_path / "humor.pkl").write_bytes(pickle.dumps(change(read(arrays / "humor.pkl"))))
    assert re.search(says, refused("urfunny", tmp_path, tmp_path / "store"))


AUTHORS: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "fold": ("data_folds", _without("dev"), "Expected an entry 'dev' in data_folds.pkl, found none"),
    "label": (
        "humor_label_sdk",
        lambda c: {k: v for k, v in c.items() if k != 5},
        "Expected an entry 5 in humor",
    ),
    "features": ("covarep_features_sdk", lambda c: {}, "Expected an entry 0 in covarep_features_sdk.pkl, found none"),
    "sentence": (
        "covarep_features_sdk",
        _changed(lambda c: c[0]["context_features"].pop()),
        "Expected features of 3 sentences for 0 in covarep_features_sdk.pkl, found 2",
    ),
    "word": (
        "language_sdk",
        _changed(lambda c: c[0].update(punchline_embedding_indexes=[40])),
        "Expected words below 40 in sample 0, found 40",
    ),
}


@pytest.mark.parametrize("fault", AUTHORS)
def test_the_authors_files_are_checked(authors: Path, tmp_path: Path, fault: str) -> None:
    name, change, says = AUTHORS[fault]
    for path in authors.glob("*.pkl"):
        content = change(read(path)) if path.stem == name else read(path)
        (tmp_path / path.name).write_bytes(pickle.dumps(content))
    assert re.search(says, refused("urfunny", tmp_path, tmp_path / "store", recipe="sdk"))


def test_the_other_recipe_is_offered_where_a_file_is_missing(tmp_path: Path) -> None:
    said = refused("urfunny", tmp_path, tmp_path / "store")
    assert re.search(r"Expected humor.pkl in .*, found none: put it there, or ask for --recipe sdk", said)

"""A published data set is known before it is prepared, and prepared from the files that its source describes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from stores import TEXTS


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "downloads"
    folder.mkdir()
    for index, part in enumerate(("train", "valid", "test")):
        (folder / f"{part}.txt").write_text(f"{index} {index + 0.5}")
    monkeypatch.setenv("MSAM_DATA", str(tmp_path / "data"))
    return folder


def test_a_published_set_says_what_to_do_before_it_is_prepared(files: Path) -> None:
    assert TEXTS.status() == "not prepared here"
    assert TEXTS.sizes() == {"train": 1, "valid": 1, "test": 1}
    with pytest.raises(ValueError, match=r"nothing there: run 'msam data prepare texts FOLDER' .* Ask the author"):
        TEXTS.load(0)


def test_it_is_prepared_once_and_loaded_from_there(files: Path) -> None:
    TEXTS.prepare(files)
    assert TEXTS.status().startswith("prepared in ")
    assert TEXTS.load(0).splits["test"].take(slice(None))[0]["digits"].tolist() == [[2.0, 2.5]]
    assert pickle.loads(pickle.dumps(TEXTS)) == TEXTS
    first = TEXTS.fingerprint
    TEXTS.prepare(files, recipe="twice", folder=files.parent / "data" / "doubled")
    assert TEXTS.fingerprint == first


def test_recipes_give_other_numbers_and_other_fingerprints(files: Path) -> None:
    from msam_bench.data import source

    TEXTS.prepare(files, recipe="twice", folder=files.parent / "data" / "doubled")
    TEXTS.prepare(files)
    doubled = source("doubled")
    assert doubled.load(0).splits["test"].take(slice(None))[0]["digits"].tolist() == [[4.0, 5.0]]
    assert doubled.fingerprint != TEXTS.fingerprint


def test_what_it_does_not_know_is_refused(files: Path) -> None:
    with pytest.raises(ValueError, match="Expected a recipe of texts among once, twice, found 'twic': write 'twice'"):
        TEXTS.prepare(files, recipe="twic")
    with pytest.raises(ValueError, match="Expected a protocol of texts among official, found 'mine'"):
        TEXTS.prepare(files, split="mine")
    with pytest.raises(ValueError, match=r"Expected the files of texts in .*gone, found no folder there: Ask"):
        TEXTS.prepare(files.parent / "gone")

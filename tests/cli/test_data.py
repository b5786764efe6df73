"""`msam data`: what is listed, shown, prepared and verified, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from msam_bench import data
from msam_bench.cli import main
from stores import TEXTS, copied


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a prepared store, and a published data set that is not prepared."""
    known = data.registered()
    monkeypatch.setattr(data, "registered", lambda: {**known, "texts": TEXTS})
    monkeypatch.delenv("MSAM_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    copied(tmp_path / "data" / "views")
    return tmp_path


def msam(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that succeeds prints."""
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    said = capsys.readouterr()
    assert not stopped.value.code, said.err
    return said.out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence of a command that is refused."""
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    said = capsys.readouterr().err
    assert (stopped.value.code, said.count("\n"), said[:6]) == (2, 1, "msam: ")
    return said


def row(listed: str, name: str) -> str:
    return next(line for line in listed.splitlines() if line.startswith(name))


@pytest.mark.usefixtures("place")
def test_the_list_says_what_is_here_and_where_to_get_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    listed = msam(capsys, "data", "list")
    assert "200 / 200 / 1,600" in row(listed, "views")
    assert "prepared in data/views" in row(listed, "views")
    assert "ships with msam" in row(listed, "digits6")
    assert "not prepared here" in row(listed, "texts")
    assert "Where to get what does not ship with msam:\ntexts                 Ask the author.\n" in listed


def test_a_damaged_store_does_not_hide_the_others(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "data" / "views" / "manifest.json").write_text("{")
    listed = msam(capsys, "data", "list")
    assert "damaged; msam data verify views says how" in row(listed, "views")
    assert "Expected a manifest in data/views/manifest.json" in refused(capsys, "data", "verify", "views")
    assert "ships with msam" in row(listed, "smartwatch")


def test_a_store_is_shown_by_name_and_by_path(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = msam(capsys, "data", "show", "views")
    assert all(
        words in shown for words in ("Views of digits6.", "CC BY 4.0", "vector [76], stored as float32", "1,600")
    )
    assert msam(capsys, "data", "show", "data/views") == shown
    assert data.source("views").fingerprint in shown


@pytest.mark.usefixtures("place")
def test_a_published_set_is_shown_before_it_is_prepared(capsys: pytest.CaptureFixture[str]) -> None:
    shown = msam(capsys, "data", "show", "texts")
    assert all(words in shown for words in ("not prepared here", "--recipe twice", "doubled", "--split official"))


def test_a_published_set_is_prepared_and_verified(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "files").mkdir()
    for part in ("train", "valid", "test"):
        (place / "files" / f"{part}.txt").write_text("1 2")
    prepared = msam(capsys, "data", "prepare", "texts", "files")
    assert all(words in prepared for words in ("data/texts", "3 of 3 samples", "vector [2]"))
    assert "is as it was prepared" in msam(capsys, "data", "verify", "texts")
    msam(capsys, "data", "prepare", "texts", "files", "--recipe", "twice", "--rename", "doubled", "--into", "elsewhere")
    assert "is as it was prepared" in msam(capsys, "data", "verify", "elsewhere/doubled")


def test_verify_names_the_file_that_changed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is as it was prepared" in msam(capsys, "data", "verify", "views")
    assert "is as it was prepared" in msam(capsys, "data", "verify", "digits6")
    path = place / "data" / "views" / "test.mor.safetensors"
    content = bytearray(path.read_bytes())
    content[500] ^= 4
    path.write_bytes(content)
    assert "Expected data/views/test.mor.safetensors with sha256" in refused(capsys, "data", "verify", "views")


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prepare", "digits6", "files"], "a published data set to prepare, found digits6 (ships with msam)"),
        (["prepare", "views", "files"], "found views (prepared in data/views): use it as it is"),
        (["prepare", "text", "files"], "found 'text': write 'texts' if you meant that"),
        (["prepare", "texts", "files"], "Expected the files of texts in files, found no folder there: Ask the author."),
        (["prepare", "texts", ".", "--recipe", "thrice"], "among once, twice, found 'thrice': write 'twice'"),
        (["verify", "texts"], "found nothing there: run 'msam data prepare texts FOLDER'"),
        (["show", "data/none"], "Expected a prepared data set in data/none, found no manifest.json"),
    ],
)
def test_a_mistake_is_one_sentence(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert words in refused(capsys, "data", *arguments)

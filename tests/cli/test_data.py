"""`msam data`: what is listed, shown, prepared and verified, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clips import tone, write_wav
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
    elsewhere = listed.partition("Where to get what does not ship with msam:\n")[2]
    assert "texts                 Ask the author.\n" in elsewhere


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


# ------------------------------------------------------------------------------------------------------ bring your own


@pytest.fixture
def zoo(place: Path) -> Path:
    """A stranger's folder: sixty recordings and photographs of three animals on twelve farms, and a table."""
    draw = np.random.default_rng(0)
    lines = ["sound,photo,animal,farm"]
    for row in range(60):
        kind = row % 3
        noise = 0.05 * draw.normal(size=len(tone(1, 0.5))).astype(np.float32)
        write_wav(place / "zoo" / "sound" / f"{row}.wav", tone(300 * (kind + 1), 0.5) + noise)
        pixels = draw.integers(200, size=(16, 20, 3)).astype(np.uint8)
        pixels[4:10, 5:15, kind] = 250
        (place / "zoo" / "photo").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(place / "zoo" / "photo" / f"{row}.png")
        lines.append(f"sound/{row}.wav,photo/{row}.png,{('cat', 'dog', 'owl')[kind]},farm{row // 5}")
    (place / "zoo" / "samples.csv").write_text("\n".join(lines) + "\n")
    return place / "zoo"


@pytest.mark.slow
@pytest.mark.usefixtures("zoo")
def test_a_strangers_folder_goes_to_a_comparison_in_two_commands(capsys: pytest.CaptureFixture[str]) -> None:
    told = msam(capsys, "data", "import", "zoo", "--name", "mine", "--label", "animal", "--group", "farm")
    assert "column animal: 3 classes (cat, dog, owl)   (--label, --task values)" in told
    assert "each farm on one side   (--split, --group)" in told
    assert "pictures of 20 x 20 from .png; encoder cnn2d   (--size, --encoder)" in told
    assert "msam compare --data mine" in told
    settings = [
        "--seeds",
        "2",
        "--epochs",
        "2",
        "--methods",
        "joint,msam",
        "--workers",
        "1",
        "--hidden",
        "16",
        "--tune",
        "none",
    ]
    compared = msam(capsys, "compare", "--data", "mine", *settings)
    assert compared.count("Untuned: no setting of joint and msam was chosen for these data") == 1
    assert Path("reports/mine-late/report.html").is_file()
    assert "prepared in data/mine" in row(msam(capsys, "data", "list"), "mine")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["zoo", "--name", "mine"], "Expected a column named label"),
        (["zoo", "--name", "digits6", "--label", "animal"], "that no data set of msam has, found 'digits6'"),
        (["zoo", "--name", "../mine", "--label", "animal"], "Expected a name of letters, digits and .+=-"),
        (["zoo", "--name", "views", "--label", "animal"], "Expected no other data in data/views, found some"),
        (["none", "--name", "mine"], "Expected a file or a folder to import at none, found none"),
        (
            ["zoo", "--name", "mine", "--label", "animal", "--kind.photo", "frames"],
            "found 'frames' for 'photo', pictures",
        ),
    ],
)
def test_a_mistake_in_an_import_is_one_sentence(
    zoo: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert words in refused(capsys, "data", "import", *arguments)
    assert not (zoo.parent / "data" / "mine").exists()


def test_an_import_that_fails_halfway_is_continued(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (zoo / "sound" / "40.wav").read_bytes()
    (zoo / "sound" / "40.wav").write_bytes(whole[:20])
    command = ["data", "import", "zoo", "--name", "mine", "--label", "animal"]
    assert "Expected sound in zoo/sound/40.wav" in refused(capsys, *command)
    assert not (zoo.parent / "data" / "mine").exists()
    (zoo / "sound" / "40.wav").write_bytes(whole)
    assert "data/mine" in msam(capsys, *command)
    assert "is as it was prepared" in msam(capsys, "data", "verify", "mine")

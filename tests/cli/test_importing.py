"""`msam data import` on the screen: class counts, settings, next steps, --replace, and the joined options."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from imports import COUNT, noise, table, write_table
from msam_bench.cli import main
from msam_bench.config.resolve import resolve
from stores import copied

QUICK = ("--workers", "1", "--baselines", "0", "--tune", "none")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MSAM_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What a command prints; its one sentence if it is refused."""
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    shown = capsys.readouterr()
    assert (stopped.value.code or 0) == code, shown.err
    assert not code or (shown.err.count("\n"), shown.err[:6]) == (1, "msam: ")
    return shown.err if code else shown.out


def test_an_import_shows_counts_settings_and_next_steps(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = ["cat"] * 30 + ["dog"] * 7 + ["owl"] * 3
    path = write_table(place / "t.csv", {"x": noise(), "z": noise(1), "label": labels})
    shown = run(capsys, "data", "import", str(path), "--name", "mine")
    for text in (
        "samples of a class    cat 30 (75.0 %), dog 7 (17.5 %), owl 3 (7.5 %)\n",
        "majority class        'cat': always naming it is right in 75.0 % of all samples\n",
        "warning               class 'cat' has 10.0 times the samples of 'owl': accuracy hides",
        "settings              untuned: adamw, lr 0.001",
        "next                  msam diagnose --data mine",
        "msam sweep --data mine",
        "msam compare --data mine",
    ):
        assert text in shown
    listed = run(capsys, "data", "show", "mine")
    assert "cat 30 (75.0 %), dog 7 (17.5 %), owl 3 (7.5 %)" in listed
    assert "always naming it is right in 75.0 %" in listed
    assert "10.0 times the samples" in listed


def test_many_classes_are_counted_in_one_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = {"x": noise(count=120), "label": [f"c{row % 20:02}" for row in range(120)]}
    write_table(place / "t.csv", columns)
    shown = run(capsys, "data", "import", "t.csv", "--name", "mine")
    counted = next(line for line in shown.splitlines() if line.startswith("samples of a class"))
    assert (counted.count("(5.0 %)"), counted.count("...")) == (12, 1)
    assert "warning" not in shown


def test_imported_data_start_from_adamw_and_shipped_ones_from_their_own(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table(place, x=noise(), z=noise(1))
    run(capsys, "data", "import", "t.csv", "--name", "mine")
    for data in ("mine", "data/mine", str(place / "data" / "mine")):
        optimizer = resolve(data, "late", "msam").optimizer
        assert (optimizer.name, optimizer.lr, optimizer.weight_decay) == ("adamw", 1e-3, 1e-2)
    assert resolve("mine", "late", "joint", lr=0.5, optimizer="sgd").optimizer.name == "sgd"
    assert resolve("digits6", "late", "joint").optimizer.name == "sgd"
    assert resolve("digits6x3", "late", "joint").optimizer.name == "sgd"
    assert resolve("not-here", "late", "joint").optimizer.name == "sgd"
    copied(place / "data" / "digits6")  # a store with the name of a shipped set has the settings of that
    assert resolve("data/digits6", "late", "joint").optimizer.name == "sgd"


def test_a_repeated_import_with_corrected_data_asks_for_replace(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("data", "import", "t.csv", "--name", "mine")
    table(place, x=noise(), z=noise(1))
    first = run(capsys, *command)
    assert run(capsys, *command).rpartition("fingerprint")[2] == first.rpartition("fingerprint")[2]
    table(place, x=[9.0, *noise()[1:]], z=noise(1))
    assert "found some: say --replace to build it anew, or choose another name" in run(capsys, *command, code=2)
    second = run(capsys, *command, "--replace")
    assert second.rpartition("fingerprint")[2] != first.rpartition("fingerprint")[2]
    run(capsys, "data", "verify", "mine")
    assert [path.name for path in (place / "data").iterdir()] == ["mine"]


def test_options_of_missing_values_modalities_and_numbers(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = ["-999" if row == 3 else f"{row % 7},25" for row in range(COUNT)]
    path = table(place, ";", v1_a=cells, v1_b=cells, v2_a=noise(), note=["words of it"] * COUNT)
    options = ("--modality", "left=v1_*", "--modality", "right=v2_*", "--na=-999", "--missing", "mean")
    shown = run(capsys, "data", "import", str(path), "--name", "mine", *options, "--decimal", "comma")
    assert "left                  vector [2], stored as float32, absent from some samples" in shown
    assert "note                  left out: no --modality names it" in shown
    assert "left                  vector [2], stored as float32, absent from 1 samples" in run(
        capsys, "data", "show", "mine"
    )


def test_a_refused_import_leaves_nothing_behind(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(place, x=["oops", *noise()[1:]])
    assert "found 'oops' in line 2 of t.csv" in run(capsys, "data", "import", "t.csv", "--name", "mine", code=2)
    assert [path.name for path in place.iterdir()] == ["t.csv"]


@pytest.mark.slow
def test_noise_whose_label_follows_what_nobody_claimed_scores_as_chance_does(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five tables of noise in which a split, an index, an id, a group or names of classes follow the label."""
    count, rows = 120, range(120)
    x, z = noise(0, count), noise(1, count)
    classes = ["c" if row % 2 else "d" for row in rows]
    tables = {
        "s": ({"split": [("train", "test")[row % 2] for row in rows]}, classes, ("--split", "none")),
        "u": ({"Unnamed: 0": rows}, ["d" if row > 59 else "c" for row in rows], ()),
        "i": ({"id": [row % 60 for row in rows]}, ["d" if row % 60 > 29 else "c" for row in rows], ()),
        "p": (
            {"subject": [f"s{row % 10}" for row in rows]},
            ["d" if row % 10 > 4 else "c" for row in rows],
            ("--group", "none"),
        ),
        "n": ({"kind": [f"the {name}" for name in classes]}, classes, ()),
    }
    for name, (known, labels, options) in tables.items():
        write_table(place / f"{name}.csv", {**known, "x": x, "z": z, "label": labels})
        run(capsys, "data", "import", f"{name}.csv", "--name", name, *options)
        run(capsys, "compare", "--data", name, "--methods", "joint", "--seeds", "2", "--epochs", "8", *QUICK)
        found = [json.loads(path.read_text())["summary"] for path in place.glob(f"runs/{name}-*/run.json")]
        # 24 test samples a seed: 0.85 is 3.4 standard deviations of chance above it
        assert np.mean([summary["test_accuracy"] for summary in found]) < 0.85

"""Several files as one set of samples: joined on a column of ids, side by side, or as splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imports import COUNT, LABELS, built, names, noise, note, planned, write_table

ROWS = range(COUNT)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Sounds, pictures in the other order, and labels, each with the ids; features have the same names."""
    audio = write_table(tmp_path / "audio.csv", {"id": ROWS, "f0": noise(0), "f1": noise(1)})
    video = write_table(tmp_path / "video.csv", {"id": ROWS[::-1], "f0": noise(2)[::-1], "f1": noise(3)[::-1]})
    labels = write_table(tmp_path / "labels.csv", {"id": ROWS, "label": LABELS})
    return audio, video, labels


def test_files_with_a_shared_column_of_ids_are_joined_on_it(files: tuple[Path, ...]) -> None:
    plan = planned(*files)
    assert (names(plan), note(plan, "joined on")) == (["audio", "video"], "40 samples by column id")
    assert [sample.id for sample in plan.plan["all"][:2]] == ["0", "1"]
    for row in (0, 7, 39):
        read = plan.read(row)
        assert read["audio"].tolist() == pytest.approx([noise(0)[row], noise(1)[row]])
        assert read["video"].tolist() == pytest.approx([noise(2)[row], noise(3)[row]])


def test_ids_are_numbers_where_all_are(files: tuple[Path, ...], tmp_path: Path) -> None:
    labels = write_table(tmp_path / "l.csv", {"id": [f"{row}.0" for row in ROWS], "label": LABELS})
    assert len(planned(files[0], labels).plan["all"]) == COUNT


def test_a_key_without_a_usual_name_is_one_that_no_row_repeats(tmp_path: Path) -> None:
    keys = [f"clip {row}" for row in ROWS]
    one = write_table(tmp_path / "one.csv", {"clip": keys, "a": noise(), "label": LABELS})
    other = write_table(tmp_path / "other.csv", {"clip": keys[::-1], "b": noise(1)[::-1], "label": LABELS[::-1]})
    plan = planned(one, other, leave_out=("clip",))
    assert (names(plan), plan.read(5)["b"].tolist()) == (["a", "b"], pytest.approx([noise(1)[5]]))


def test_a_table_is_joined_to_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "n.npz", id=np.array([f"c{row}" for row in ROWS]), pose=np.arange(COUNT * 3).reshape(COUNT, 3))
    order = list(reversed(ROWS))
    path = write_table(tmp_path / "t.csv", {"id": [f"c{row}" for row in order], "label": LABELS, "x": noise()})
    plan = planned(path, tmp_path / "n.npz")
    assert plan.read(0)["pose"].tolist() == [117, 118, 119]


def test_what_a_file_lacks_is_refused_dropped_or_absent(files: tuple[Path, ...], tmp_path: Path) -> None:
    few = {"id": [row for row in ROWS if row != 7], "f0": np.delete(noise(2), 7), "f1": np.delete(noise(3), 7)}
    video = write_table(tmp_path / "video.csv", few)
    sources = (files[0], video, files[2])
    with pytest.raises(
        ValueError, match=r"every 'id' in every file, found none for '7' in video.csv \(1 such of 40\): "
    ):
        planned(*sources)
    assert len(planned(*sources, missing="drop").plan["all"]) == COUNT - 1
    store = built(tmp_path / "data", *sources, missing="mean")
    assert store.manifest.header.partial == ("video",)
    presence = store.load(0).splits["train"].presence["video/present"]
    assert presence.logical_not().nonzero().flatten().tolist() == [7]


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (
            {"id": [row % 20 for row in ROWS]},
            {},
            "Expected each id once in column 'id' to join on, found '0' in line 2 of",
        ),
        (
            {"id": [100 + row for row in ROWS]},
            {},
            "Expected shared values in column 'id' of audio.csv and l.csv, found n",
        ),
        ({"key": ROWS}, {"id": "id"}, "Expected the column 'id' in every file, found none in l.csv: add it"),
        ({"id": ROWS}, {"id": "none"}, "Expected files with different columns of as many samples"),
    ],
)
def test_files_that_cannot_be_joined_are_refused(
    files: tuple[Path, ...], tmp_path: Path, labels: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    path = write_table(tmp_path / "l.csv", {**labels, "label": LABELS})
    with pytest.raises(ValueError, match=message):
        planned(files[0], path, **options)


def test_files_that_label_a_sample_differently_are_refused(files: tuple[Path, ...], tmp_path: Path) -> None:
    other = write_table(tmp_path / "o.csv", {"id": ROWS, "b": noise(), "label": LABELS[::-1]})
    with pytest.raises(
        ValueError, match=r"the same in column 'label' of labels.csv and o.csv, found other values for the"
    ):
        planned(files[2], other)

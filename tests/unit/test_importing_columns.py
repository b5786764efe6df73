"""Which columns become modalities, and which never do unless somebody claims them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imports import COUNT, LABELS, archive, names, noise, note, planned, table, write_table
from msam_bench.data.importing.claims import name_prefixes

ROWS = range(COUNT)


@pytest.mark.parametrize(
    ("name", "cells", "reason"),
    [
        ("", ROWS, "an index"),
        ("Unnamed: 0.1", ROWS, "an index"),
        ("index", [row * 7 % COUNT for row in ROWS], "an index"),
        ("row_number", noise(3), "an index"),
        ("running", ROWS, "counts the samples"),
        ("from_one", range(1, COUNT + 1), "counts the samples"),
        ("id", [row % 20 for row in ROWS], "names samples"),
        ("recording_id", [row % 7 for row in ROWS], "names samples"),
        ("imageID", noise(4), "names samples"),
        ("uuid", [f"{row * 7919:x}" for row in ROWS], "names samples"),
        ("code", [f"k{row * 31 % 97}" for row in ROWS], "names no two samples alike"),
        ("mail", [f"bob{row}@example.org" for row in ROWS], "names no two samples alike"),
        ("class", LABELS, "names a label"),
        ("class_name", [f"the {label}" for label in LABELS], "names a label"),
        ("target", noise(5), "names a label"),
        ("animal", [label.upper() for label in LABELS], "tells the label one to one"),
        ("number", [int(label == "dog") for label in LABELS], "tells the label one to one"),
        ("day", [f"2024-02-{1 + row % 28:02}" for row in ROWS], "dates or times"),
        ("at", [f"{row % 28 + 1}/3/2024 12:00" for row in ROWS], "dates or times"),
        ("clock", [f"12:{row:02}:30" for row in ROWS], "dates or times"),
        ("nothing", ["NA"] * COUNT, "empty"),
    ],
)
def test_a_column_that_nobody_claims_is_no_modality(
    tmp_path: Path, name: str, cells: Sequence[Any], reason: str
) -> None:
    path = write_table(tmp_path / "t.csv", {name: cells, "x": noise(), "label": LABELS})
    plan = planned(path)
    assert names(plan) == ["x"]
    assert note(plan, name or "Unnamed: 0").startswith(f"left out: {reason}")


@pytest.mark.parametrize(
    ("option", "columns"),
    [
        ({"split": "none"}, {"split": [("train", "test")[row % 2] for row in ROWS]}),
        ({"split": "none"}, {"fold": [row % 5 for row in ROWS]}),
        ({"group": "none"}, {"subject": [f"s{row % 10}" for row in ROWS]}),
        ({"group": "none"}, {"patient_id": [row % 10 for row in ROWS]}),
        ({"id": "none"}, {"id": [f"i{row}" for row in ROWS]}),
        ({}, {"split": [("train", "test")[row // 2 % 2] for row in ROWS], "fold": [row % 5 for row in ROWS]}),
        ({}, {"subject": [f"s{row % 10}" for row in ROWS], "speaker": [f"p{row % 5}" for row in ROWS]}),
    ],
)
def test_a_column_with_the_name_of_a_role_is_no_modality(
    tmp_path: Path, option: dict[str, str], columns: dict[str, Sequence[Any]]
) -> None:
    assert names(planned(table(tmp_path, x=noise(), **columns), **option)) == ["x"]


def test_what_is_left_out_can_be_claimed(tmp_path: Path) -> None:
    path = table(tmp_path, x=noise(), recording_id=[row % 7 for row in ROWS])
    assert names(planned(path, modalities=("who=recording_id", "x=x"))) == ["who", "x"]


def test_a_table_without_anything_to_learn_from_says_what_was_left_out(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"found id_no \(counts the samples\): there is nothing to learn from; --mod"):
        planned(table(tmp_path, id_no=ROWS))


def test_a_name_of_coordinates_is_no_label(tmp_path: Path) -> None:
    assert names(planned(table(tmp_path, x=noise(0), y=noise(1), z=noise(2)))) == ["x", "y", "z"]


def test_a_leading_index_without_a_name_is_left_out_wherever_it_comes_from(tmp_path: Path) -> None:
    lines = "".join(f"{row},{value},{label}\n" for row, value, label in zip(ROWS, noise(), LABELS, strict=True))
    for header in (",x,label\n", "x,label\n"):  # as pandas writes it, and as R does
        (tmp_path / "t.csv").write_text(header + lines)
        plan = planned(tmp_path / "t.csv")
        assert names(plan) == ["x"]
        assert plan.read(3)["x"].tolist() == pytest.approx([noise()[3]])


def test_an_empty_last_column_is_nothing(tmp_path: Path) -> None:
    lines = "".join(f"{value},{label},\n" for value, label in zip(noise(), LABELS, strict=True))
    (tmp_path / "t.csv").write_text("x,label,\n" + lines)
    assert names(planned(tmp_path / "t.csv")) == ["x"]


@pytest.mark.parametrize(
    ("name", "cells", "labels", "warned"),
    [
        ("city", [f"c{row % 8}" for row in ROWS], [f"l{row % 8 // 4}" for row in ROWS], True),
        ("city", [f"c{row % 8}" for row in ROWS], LABELS[:1] * 9 + LABELS[1:2] * (COUNT - 9), False),
        ("number", [1000 + 3 * row + row % 2 for row in ROWS], ["cat"] * 20 + ["dog"] * 20, True),
        ("number", [1000 + 3 * row + row % 2 for row in ROWS], LABELS, False),
        ("seconds", [0.5 * row for row in ROWS], ["cat"] * 20 + ["dog"] * 20, True),
        ("weight", noise(7), [("cat", "dog")[value > 0] for value in noise(7)], False),  # a measurement may separate
    ],
)
def test_a_column_of_names_or_running_numbers_that_separates_is_warned_of(
    tmp_path: Path, name: str, cells: Sequence[Any], labels: Sequence[str], warned: bool
) -> None:
    plan = planned(write_table(tmp_path / "t.csv", {name: cells, "x": noise(), "label": labels}))
    assert names(plan) == ["x", name] if name == "city" else [name, "x"]
    expected = [
        f"column '{name}' alone tells nearly every class, as names and running numbers do: leave it out by "
        f"--leave-out {name} unless it is known before the label"
    ]
    assert list(plan.warnings) == (expected if warned else [])


def test_a_text_of_three_words_stays_one_and_is_warned_of(tmp_path: Path) -> None:
    plan = planned(table(tmp_path, x=noise(), note=[f"it is a {label}" for label in LABELS]))
    assert names(plan) == ["x", "note"]
    assert [text[:40] for text in plan.warnings] == ["column 'note' alone tells nearly every cl"[:40]]


def test_arrays_that_repeat_the_label_or_name_samples_are_left_out(tmp_path: Path) -> None:
    plan = planned(
        archive(
            tmp_path,
            audio=np.ones((COUNT, 6)),
            y=np.arange(COUNT) % 3,
            y_onehot=np.eye(3)[np.arange(COUNT) % 3],
            idx=np.arange(COUNT)[:, None],
            filenames=[f"{row}.wav" for row in ROWS],
            recorded=np.array(["2024-01-01"] * COUNT, "datetime64[D]"),
        )
    )
    assert names(plan) == ["audio"]


# ------------------------------------------------------------------------------------------------------ --modality


def test_patterns_name_modalities_and_leave_the_rest_out(tmp_path: Path) -> None:
    path = table(tmp_path, v1_a=noise(0), v1_b=noise(1), w=noise(2), v2_a=noise(3), extra=noise(4))
    plan = planned(path, modalities=("left=v1_*,w", "right=v2_*"))
    assert {column.name: column.recipe["columns"] for column in plan.columns} == {
        "left": ["v1_a", "v1_b", "w"],
        "right": ["v2_a"],
    }
    assert note(plan, "extra") == "left out: no --modality names it"


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (("left",), "Expected --modality NAME=PATTERN, such as left=v1_\\*, found 'left'"),
        (("=v1_*",), "Expected --modality NAME=PATTERN"),
        (("left=q*",), "Expected a column that matches 'q\\*' in t.csv, found a_x, a_y, note"),
        (("left=label",), "it is label, split, group or id"),
        (("left=a_*", "right=a_x"), "Expected each column in one modality, found 'a_x' in 'left' and for 'a_x'"),
        (("left=*",), "Expected columns of numbers to make the modality 'left', found 'note'"),
    ],
)
def test_a_pattern_that_says_nothing_is_refused(tmp_path: Path, patterns: tuple[str, ...], message: str) -> None:
    path = table(tmp_path, a_x=noise(), a_y=noise(1), note=["some words"] * COUNT)
    with pytest.raises(ValueError, match=message):
        planned(path, modalities=patterns)


@pytest.mark.parametrize(
    ("columns", "groups"),
    [
        (["acc_x", "acc_y", "gyr.1", "gyr.2"], {"acc": 2, "gyr": 2}),
        (["v1_a", "v1_b", "v2_a", "v2_b"], {"v1": 2, "v2": 2}),
        (["f1", "f2", "f10"], {"f": 3}),
        (["x1_mean", "x2_mean", "x3_mean"], {"x": 3}),
        ([f"x{place}_{end}" for place in range(9) for end in "ab"], {"x": 18}),
        (["0", "1", "2"], {"columns": 3}),
        (["V1", "V2"], {"V": 2}),
        (["pixel_1", "pixel_2", "age"], {"pixel": 2, "age": 1}),
    ],
)
def test_columns_go_together_by_the_beginnings_of_their_names(columns: list[str], groups: dict[str, int]) -> None:
    assert {name: len(members) for name, members in name_prefixes(columns).items()} == groups


def test_names_that_torch_uses_and_names_that_collide_are_told_apart(tmp_path: Path) -> None:
    path = table(tmp_path, type=noise(0), values=noise(1), **{"2nd": noise(2)})
    assert names(planned(path)) == ["type-input", "values-input", "columns"]
    path = table(tmp_path, acc=[f"word{row % 3}" for row in ROWS], acc_x=noise())
    with pytest.raises(
        ValueError, match="different names, found 'acc' of column acc_x and of column acc: name them by"
    ):
        planned(path)

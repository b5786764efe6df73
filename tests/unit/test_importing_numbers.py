"""Numbers as people write them: missing values, commas, thousands, units; labels as classes or values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imports import COUNT, LABELS, names, noise, note, planned, table, write_table
from msam_bench.data.importing.numbers import DecimalHint, decimal_evidence, parse, read_numbers

ROWS = range(COUNT)


@pytest.mark.parametrize(
    ("text", "point", "comma"),
    [
        ("1.5", 1.5, None),
        ("1,5", None, 1.5),
        ("-0,126", None, -0.126),
        ("1,234", 1234.0, 1.234),
        ("1.234", 1.234, 1234.0),
        ("1,234,567.5", 1234567.5, None),
        ("1.234.567,5", None, 1234567.5),
        ("1 234,5", None, 1234.5),
        ("1'234.5", 1234.5, None),
        ("1\u202f234", 1234.0, 1234.0),
        ("−3", -3.0, -3.0),
        ("+2.5e-3", 0.0025, None),
        ("12,34", None, 12.34),
        ("1,23,4", None, None),
        ("1e39", None, None),
        ("(1,234.5)", -1234.5, None),
        ("'1.5'", 1.5, None),
        ("()", None, None),
        ("inf", None, None),
        ("0x10", None, None),
        ("", None, None),
    ],
)
def test_a_number_is_read_with_its_decimal_sign(text: str, point: float | None, comma: float | None) -> None:
    assert (parse(text, "point"), parse(text, "comma")) == (point, comma)


@given(st.floats(-1e6, 1e6), st.sampled_from(["point", "comma"]), st.integers(0, 6))
def test_what_is_written_with_thousands_is_read_back(value: float, sign: Any, digits: int) -> None:
    text = f"{value:,.{digits}f}"
    if sign == "comma":
        text = text.translate(str.maketrans(",.", ".,"))
    assert parse(text, sign) == float(f"{value:.{digits}f}")


@pytest.mark.parametrize("marker", ["", "NA", "n/a", "#N/A", "NaN", "null", "None", "?", "-", ".", "missing", "nil"])
def test_a_missing_value_does_not_turn_a_column_into_words(marker: str) -> None:
    column = read_numbers(["1.5", marker, "2"])
    assert column.missing == [1]
    assert column.is_numeric
    assert column.values[::2] == [1.5, 2.0]
    assert math.isnan(column.values[1])


def test_further_markers_are_named_as_they_stand() -> None:
    assert read_numbers(["1", "-999", "n.d."], na=("-999", "N.D.")).missing == [1, 2]


def test_a_comma_is_read_as_the_table_proves_it() -> None:
    cells = ["1,234", "2,500"]
    assert decimal_evidence(["word", "12", "0,5", "1.5"]) == "comma"
    assert decimal_evidence(["12", "1,234"]) is None
    assert read_numbers(cells, DecimalHint(evidence="comma")).values == [1.234, 2.5]
    assert read_numbers(cells, DecimalHint(evidence="point")).values == [1234.0, 2500.0]
    assert read_numbers(["1.5", *cells], DecimalHint(evidence="comma")).values == [1.5, 1234.0, 2500.0]
    assert read_numbers(cells, DecimalHint(fallback=None)).ambiguous == 1
    assert read_numbers([*cells, "0,5"], DecimalHint(evidence="point")).values == [1.234, 2.5, 0.5]
    assert read_numbers(["1.234", "2.500"], DecimalHint(evidence="comma")).values == [1234.0, 2500.0]


@pytest.mark.parametrize(
    ("separator", "cells", "options", "value"),
    [
        (";", [f"{value:.3f}".replace(".", ",") for value in noise()], {}, noise()[2]),
        (";", [f"1,23{row % 10}" for row in ROWS], {}, 1.232),
        (",", [f"1,23{row % 10}" for row in ROWS], {}, 1232.0),
        (",", [f"1,23{row % 10}" for row in ROWS], {"decimal": "comma"}, 1.232),
        ("\t", [f"1,23{row % 10}" for row in ROWS], {"decimal": "point"}, 1232.0),
        (",", [f"1 23{row % 10}" for row in ROWS], {}, 1232.0),
        (",", [f"{row % 9} kg" for row in ROWS], {}, 2.0),
        (",", [f"{row % 9}%" for row in ROWS], {}, 2.0),
        (",", [f"${row % 9}.50" for row in ROWS], {}, 2.5),
        (",", [("true", "false")[row // 3 % 2] for row in ROWS], {}, 1.0),
    ],
)
def test_columns_of_numbers_are_numbers_however_written(
    tmp_path: Path, separator: str, cells: Sequence[str], options: dict[str, Any], value: float
) -> None:
    plan = planned(table(tmp_path, separator, a_x=cells), **options)
    assert plan.columns[0].spec.kind == "vector"
    assert plan.read(2)["a"].tolist() == pytest.approx([value])


def test_two_readings_that_nothing_decides_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "\t", x=[f"1,23{row % 10}" for row in ROWS])
    with pytest.raises(
        ValueError, match=r"'1,239' in line 41 of t.csv, which may be thousands or have decimals: say --d"
    ):
        planned(path)


@pytest.mark.parametrize("cell", ["oops", "1.2.3", "inf", "1e999", "12:30", "0,5"])
def test_one_bad_cell_is_named(tmp_path: Path, cell: str) -> None:
    path = table(tmp_path, a_x=[cell if row == 7 else value for row, value in enumerate(noise())], a_y=noise(1))
    with pytest.raises(
        ValueError, match=rf"Expected a number in column 'a_x', found '{cell}' in line 9 of t.csv \(39 of"
    ):
        planned(path)
    assert planned(path, na=(cell,), missing="mean").columns[0].gaps.keys() == {7}


def test_a_column_with_one_unknown_marker_is_named_and_not_hashed(tmp_path: Path) -> None:
    path = table(tmp_path, x=[value if row % 3 == 0 else "n.d." for row, value in enumerate(noise())])
    with pytest.raises(ValueError, match=r"found 'n.d.' in line 3 of t.csv .*say --na 'n.d.' if it means none"):
        planned(path)


def test_large_numbers_that_differ_little_are_told_apart(tmp_path: Path) -> None:
    times = [1_700_000_000_000 + 97 * (row * 7 % COUNT) for row in ROWS]
    plan = planned(table(tmp_path, at_ms=times, at_other=noise()))
    read = [plan.read(row)["at"].tolist() for row in ROWS]
    assert [first - read[0][0] for first, _ in read] == [time - times[0] for time in times]
    assert [second for _, second in read] == pytest.approx(noise())


def test_texts_with_numbers_in_them_stay_texts(tmp_path: Path) -> None:
    path = table(tmp_path, note=[f"{row} things of kind {row % 3}" if row % 2 else "none at all" for row in ROWS])
    assert planned(path).columns[0].spec.kind == "tokens"


# ---------------------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("labels", "options", "classes"),
    [
        ([["0", "1", "1.0"][row % 3] for row in ROWS], {}, ("0", "1")),
        ([["01", "02"][row % 2] for row in ROWS], {}, ("01", "02")),
        ([float(row % 3) for row in ROWS], {}, ("0.0", "1.0", "2.0")),
        ([["True", "False"][row % 2] for row in ROWS], {}, ("False", "True")),
        ([["1", "2", "unknown"][row % 3] for row in ROWS], {}, ("1", "2", "unknown")),
        ([f"{row},5" for row in ROWS], {"decimal": "comma"}, ()),
        ([row % 3 for row in ROWS], {"task": "values"}, ()),
        ([f" {label} " for label in LABELS], {}, ("cat", "dog")),
    ],
)
def test_labels_are_classes_or_values(
    tmp_path: Path, labels: Sequence[Any], options: dict[str, Any], classes: tuple[str, ...]
) -> None:
    assert planned(table(tmp_path, x=noise(), label=labels), **options).header.classes == classes


def test_many_whole_numbers_are_classes(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", {"x": noise(count=240), "label": [row % 60 for row in range(240)]})
    assert len(planned(path).header.classes) == 60


def test_several_columns_of_ones_and_zeros_are_one_class(tmp_path: Path) -> None:
    path = table(tmp_path, x=noise(), is_cat=[row % 2 for row in ROWS], is_dog=[1 - row % 2 for row in ROWS])
    plan = planned(path, label=("is_cat", "is_dog"))
    assert plan.header.classes == ("is_cat", "is_dog")
    assert [sample.label for sample in plan.plan["all"][:3]] == [1, 0, 1]
    assert planned(path, label=("is_cat", "is_dog"), task="values").header.classes == ()


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (
            ["NA", *LABELS[1:]],
            {},
            "Expected a label in line 2 of t.csv, found 'NA': fill it, or leave such samples out",
        ),
        (["bad", *noise()[1:]], {}, "Expected a finite number in column 'label', found 'bad' in line 2"),
        (list(ROWS), {}, r"found class '0' with 1 \(40 such classes of 40\): join classes, .* --task values if they"),
        (["rare", "rare", *LABELS[2:]], {}, r"found class 'rare' with 2 \(1 such classes of 3\): join classes, leave"),
    ],
)
def test_a_label_that_cannot_be_learned_is_refused(
    tmp_path: Path, labels: Sequence[Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        planned(table(tmp_path, x=noise(), label=labels), **options)


def test_samples_without_label_and_small_classes_are_dropped_on_request(tmp_path: Path) -> None:
    labels = ["", "rare", "rare", *LABELS[3:]]
    plan = planned(table(tmp_path, x=noise(), label=labels), missing="drop", least=3)
    assert plan.header.classes == ("cat", "dog")
    assert len(plan.plan["all"]) == COUNT - 3
    assert plan.read(0)["x"].tolist() == pytest.approx([noise()[3]])
    assert [text for subject, text, _ in plan.notes if subject == "dropped"] == [
        "1 of 40 samples without a label",
        "2 of 39 samples of classes of fewer than 3",
    ]


def test_classes_that_differ_in_capitals_are_warned_of(tmp_path: Path) -> None:
    plan = planned(table(tmp_path, x=noise(), label=[("Cat", "cat", "dog")[row % 3] for row in ROWS]))
    assert plan.warnings == ("classes 'Cat' and 'cat' differ in capitals or blanks alone: write them alike",)


# ---------------------------------------------------------------------------------------------------------- tables


def test_a_line_of_names_is_needed_and_numbers_of_columns_are_names(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", {"5.1": noise(), "3.5": noise(1), "setosa": LABELS})
    with pytest.raises(
        ValueError, match=r"names of the columns in the first line of .*, found numbers such as 5.1: put"
    ):
        planned(path)
    path = write_table(tmp_path / "t.csv", {"0": noise(), "1": noise(1), "label": LABELS})
    assert names(planned(path)) == ["columns"]


def test_names_have_no_blanks_and_a_stated_separator_is_no_row(tmp_path: Path) -> None:
    rows = "".join(f"{value};{label}\n" for value, label in zip(noise(), LABELS, strict=True))
    (tmp_path / "t.csv").write_text("sep=;\n x ; label \n" + rows)
    plan = planned(tmp_path / "t.csv")
    assert names(plan) == ["x"]
    (tmp_path / "t.csv").write_text("sep=;\nx;label\n" + rows.replace(str(noise()[6]), "oops"))
    with pytest.raises(ValueError, match="found 'oops' in line 9 "):
        planned(tmp_path / "t.csv")


def test_lists_in_cells_are_vectors_and_ragged_ones_are_named(tmp_path: Path) -> None:
    lists = [f"[{value}, {-value}]" for value in noise()]
    plan = planned(table(tmp_path, pose=lists))
    assert plan.read(1)["pose"].tolist() == pytest.approx([noise()[1], -noise()[1]])
    with pytest.raises(
        ValueError, match=r"lists of one length in column 'pose' of .*, found \[2\] in line 2 and \[1\] in"
    ):
        planned(table(tmp_path, pose=[*lists[:-1], "[1.0]"]))


def test_parquet_with_missing_values_bytes_and_an_index(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    known = {"label": LABELS, "__index_level_0__": noise(3), "z": noise(1)}
    pq.write_table(pa.table({**known, "x": [None, *noise()[1:]]}), path)
    with pytest.raises(
        ValueError, match=r"Expected a number in column 'x', found an empty cell in line 0 of t.parquet"
    ):
        planned(path)
    plan = planned(path, missing="mean")
    assert (names(plan), plan.header.partial) == (["z", "x"], ("x",))
    pq.write_table(pa.table({**known, "x": [[1.0]] * 39 + [[1.0, 2.0]]}), path)
    with pytest.raises(ValueError, match="lists of one length in column 'x'"):
        planned(path)
    pq.write_table(pa.table({**known, "x": [b"raw"] * COUNT}), path)
    with pytest.raises(ValueError, match=r"numbers, texts or lists in column 'x' .*, found bytes: write it to files"):
        planned(path)


def test_the_note_says_how_numbers_are_written(tmp_path: Path) -> None:
    plan = planned(table(tmp_path, ";", a_x=[f"{row % 7},5" for row in ROWS], b=[f"{row % 7} ms" for row in ROWS]))
    assert "decimal commas" in note(plan, "a")
    assert "in ms" in note(plan, "b")

"""Classes and groups that are too small for a split are refused at import, and by stores that were made before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imports import COUNT, LABELS, built, noise, planned, table, write_table
from msam_bench.data import Modality
from msam_bench.data.store.building import Sample, build
from msam_bench.data.store.manifest import Header
from msam_bench.data.store.prepared import opened

ROWS = range(COUNT)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"label": [f"c{row // 2}" for row in ROWS]},
            r"Expected 3 samples or more of every class, one each .*'c0' with 2",
        ),
        (
            {"label": ["rare", *LABELS[1:]]},
            r"class 'rare' with 1 \(1 such classes of 3\): join classes, leave such ones",
        ),
        (
            {"subject": [f"s{row % 6}" for row in ROWS], "label": [f"c{row % 6}" for row in ROWS]},
            r"Expected classes in several groups of 'subject', found class 'c0' in 's0' alone \(6 such classes of 6\)",
        ),
        (
            {"subject": [f"s{row % 4}" for row in ROWS], "label": [("a", "b")[row % 4 == 0] for row in ROWS]},
            r"found class 'b' in 's0' alone \(1 such classes of 2\): no class that is trained would be tested",
        ),
        ({"subject": ["a", "b"] * 20}, "Expected three or more different of 'subject' to draw a split from, found 2"),
        (
            {"subject": ["", *["a", "b", "c"] * 13]},
            "Expected a group in column 'subject', found an empty cell in line 2",
        ),
        (
            {"split": ["train"] * COUNT},
            "Expected samples in the split 'test', found none to test: give it some, or leave",
        ),
        ({"split": ["test"] * COUNT}, "Expected samples in the split 'train', found none to train"),
        (
            {"fold": [row % 5 for row in ROWS]},
            "train, valid or test in column 'fold', found '0' .* --split none --group f",
        ),
    ],
)
def test_classes_and_groups_that_are_too_small_are_refused(
    tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        planned(table(tmp_path, x=noise(), **columns))


@pytest.mark.parametrize(
    ("columns", "warning"),
    [
        (
            {
                "subject": [f"s{row % 8}" for row in ROWS],
                "label": [("a", "b", "c")[2 if row % 8 == 7 else row % 2] for row in ROWS],
            },
            "class 'c' stands in 's7' of subject alone: it is never both trained and tested",
        ),
        (
            {"subject": ["s0"] * 30 + [f"s{row % 8}" for row in range(10)]},
            "'s0' of subject has 32 of 40 samples: seeds that test it train on few",
        ),
        (
            {"split": ["train"] * 30 + ["test"] * 10, "label": [*LABELS[:30], *LABELS[:6], *["owl"] * 4]},
            "class 'owl' is not in the training split: it is never learned",
        ),
        (
            {"split": ["train"] * 30 + ["test"] * 10, "label": [*["owl", "cat", "dog"] * 10, *LABELS[:10]]},
            "class 'owl' is not in the test split: nothing is known of it",
        ),
    ],
)
def test_classes_and_groups_that_do_not_get_justice_are_warned_of(
    tmp_path: Path, columns: dict[str, Any], warning: str
) -> None:
    assert planned(table(tmp_path, x=noise(), **columns)).warnings == (warning,)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 4), min_size=3, max_size=40), st.integers(0, 10**6), st.booleans())
def test_what_is_imported_can_be_split_by_every_seed(
    tmp_path: Path, labels: list[int], seed: int, grouped: bool
) -> None:
    """Either the import is refused, or no split of any seed is empty and training has two classes."""
    groups = {"subject": [f"s{(7 * row + seed) % 5}" for row in range(len(labels))]} if grouped else {}
    path = write_table(
        tmp_path / "t.csv",
        {
            "x": noise(count=len(labels)),
            "z": noise(1, len(labels)),
            **groups,
            "label": [f"c{label}" for label in labels],
        },
    )
    place = tmp_path / str(abs(hash((tuple(labels), seed, grouped))))
    try:
        store = built(place, path)
    except ValueError:
        assert not place.exists()
        return
    splits = store.load(seed).splits
    assert min(map(len, splits.values())) > 0
    assert grouped or len(set(splits["train"].target.tolist())) == len(store.classes)


def old_store(folder: Path, labels: list[int]) -> Path:
    header = Header(
        name="old",
        summary="Numbers.",
        modalities={"x": Modality("vector")},
        classes=("a", "b", "c"),
        licence="CC0-1.0",
        citation="none",
        origin="a test",
        split="drawn",
    )
    plan = {"all": [Sample(str(row), row, label) for row, label in enumerate(labels)]}
    build(folder, header, plan, lambda row: {"x": torch.tensor([float(row)])})
    return folder


def test_a_store_of_before_with_too_small_classes_is_refused_in_a_sentence(tmp_path: Path) -> None:
    store = opened(old_store(tmp_path / "old", [0, 0, 1, 1, 2, 2]))
    with pytest.raises(
        ValueError, match=r"Expected samples in the split '.*' of 'old', found none: 6 samples of 3 classes"
    ):
        store.load(0)
    assert len(opened(old_store(tmp_path / "fine", [0, 0, 0, 1, 1, 1, 2, 2, 2])).load(0).splits["test"]) == 3

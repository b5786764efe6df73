"""What is handed back: contributions and outcomes, as tensors until somebody reads a number."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from msam import Contributions, Outcome

FOUND = Contributions(
    ("audio", "image"), torch.tensor([0.5, 0.25]), torch.tensor([0.75, 0.25]), torch.tensor(1, dtype=torch.int64)
)


def test_contributions_read_by_name() -> None:
    assert FOUND.values == {"audio": 0.5, "image": 0.25}
    assert FOUND.weights == {"audio": 0.75, "image": 0.25}
    assert FOUND.dominant == "image"  # what the index says: a control may name another than the largest


def test_contributions_and_outcomes_are_frozen() -> None:
    outcome = Outcome(torch.zeros(()), torch.zeros(2, 3))
    for record, name in ((FOUND, "index"), (outcome, "loss")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, name, torch.tensor(0))


def test_notes_are_a_flat_dict_of_floats_and_strings() -> None:
    record = {"contributions": FOUND, "share": torch.tensor(0.75), "sharpness": 2, "phase": "warm-up"}
    notes = Outcome(torch.zeros(()), torch.zeros(2, 3), record).notes
    assert notes == {
        "contributions/audio": 0.5,
        "contributions/image": 0.25,
        "dominant": "image",
        "share": 0.75,
        "sharpness": 2.0,
        "phase": "warm-up",
    }
    assert {type(note) for note in notes.values()} == {float, str}


def test_notes_are_empty_without_a_record() -> None:
    assert Outcome(torch.zeros(()), torch.zeros(2, 3)).notes == {}


def test_notes_are_read_once() -> None:
    outcome = Outcome(torch.zeros(()), torch.zeros(2, 3), {"share": torch.tensor(0.5)})
    assert outcome.notes is outcome.notes

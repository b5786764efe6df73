"""Accuracy of coalitions, the overfitting gap and the switching of dominance, by hand."""

from __future__ import annotations

import pytest
import torch

from msam.coalition import lattice
from msam.metrics import CoalitionAccuracy, correct, overfitting_gap, switching_rate

EYE = torch.eye(3)


def test_correct_counts_samples_whose_largest_logit_is_the_targets() -> None:
    logits = torch.stack([EYE, EYE.flip(0), torch.zeros(3, 3)])
    assert correct(logits, torch.tensor([0, 1, 2])).tolist() == [3, 1, 1]  # of equal logits the first is the largest
    assert correct(EYE, torch.tensor([2, 1, 0])).item() == 1


@pytest.mark.parametrize(
    ("train", "test", "gap"),
    [(0.9, 0.6, 0.5), (0.6, 0.6, 0.0), (0.3, 0.6, 0.5), (0.0, 0.0, 0.0), (0.5, 0.0, float("inf"))],
)
def test_overfitting_gap_by_hand(train: float, test: float, gap: float) -> None:
    assert overfitting_gap(train, test) == pytest.approx(gap, rel=1e-12)


@pytest.mark.parametrize(
    ("dominant", "rate"), [("", 0), ("a", 0), ("aa", 0), ("ab", 1), ("aab", 0.5), ("abab", 1), ("aabba", 0.5)]
)
def test_switching_rate_by_hand(dominant: str, rate: float) -> None:
    assert switching_rate(list(dominant)) == rate


def test_coalition_accuracy_weighs_samples_not_batches() -> None:
    counter = CoalitionAccuracy(("audio", "image"), lattice(2))
    counter.update(torch.stack([EYE, EYE.flip(0), EYE]), torch.tensor([0, 1, 2]))
    counter.update(torch.stack([EYE[:1], EYE[1:2], EYE[1:2]]), torch.tensor([1]))
    assert counter.compute() == {"audio": 0.75, "image": 0.5, "audio+image": 1.0}


def test_coalition_accuracy_of_chosen_coalitions() -> None:
    counter = CoalitionAccuracy(("a", "b", "c"), torch.tensor([[True, False, True]]))
    counter.update(EYE[None], torch.tensor([0, 1, 1]))
    assert counter.compute() == {"a+c": pytest.approx(2 / 3, rel=1e-12)}


def test_coalition_accuracy_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="call update first"):
        CoalitionAccuracy(("a",), lattice(1)).compute()

"""Which modalities are present, and what an absent one looks like."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import Tensor

from msam.coalition import ABSENT, absent_features, absent_inputs, coalition_of, extremes, lattice, masks_of, mixed

FEATURES = {"audio": torch.arange(12.0).double().view(4, 3).sin(), "image": torch.arange(40.0).double().view(4, 2, 5)}


def ones(name: str) -> Tensor:
    """An encoder whose answer to zeros is one everywhere."""
    return torch.ones_like(FEATURES[name][:1])


@pytest.mark.parametrize("count", range(1, 9))
def test_lattice_holds_every_coalition_but_the_empty_one_once_smallest_first(count: int) -> None:
    rows = [tuple(row) for row in lattice(count).tolist()]
    assert len(rows) == len(set(rows)) == 2**count - 1
    assert [sum(row) for row in rows] == sorted(sum(row) for row in rows)
    assert sum(rows[0]) == 1
    assert all(rows[-1])


def test_names_and_masks_are_two_ways_to_write_a_coalition() -> None:
    names = ("a", "b", "c")
    coalitions = [frozenset(chosen) for size in (1, 2, 3) for chosen in combinations(names, size)]
    masks = masks_of(coalitions, names)
    assert torch.equal(masks, lattice(3))
    assert [coalition_of(mask, names) for mask in masks] == coalitions


def test_zero_input_is_the_encoders_answer_to_zeros() -> None:
    found = absent_features("zero-input", FEATURES, ones)
    assert all(torch.equal(found[name], ones(name)) for name in FEATURES)


def test_zero_and_mean_features() -> None:
    zeros, means = (
        absent_features("zero-feature", FEATURES, ones),
        absent_features("mean-feature", FEATURES, ones),
    )
    for name, feature in FEATURES.items():
        assert torch.equal(zeros[name], torch.zeros_like(feature[:1]))
        assert torch.equal(means[name], feature.mean(0, keepdim=True))


def test_shuffled_features_are_those_of_other_samples_drawn_for_each_modality() -> None:
    features = {name: torch.arange(50.0) for name in ("a", "b")}
    found = absent_features("shuffle", features, ones, torch.Generator().manual_seed(3))
    assert all(torch.equal(tensor.sort().values, features[name]) for name, tensor in found.items())
    assert not torch.equal(found["a"], found["b"])
    again = absent_features("shuffle", features, ones, torch.Generator().manual_seed(3))
    assert all(torch.equal(found[name], again[name]) for name in found)


@pytest.mark.parametrize("kind", ["zero-input", "shuffle"])
def test_absent_inputs_keep_shape_and_type(kind: str) -> None:
    inputs = {"tokens": torch.arange(1, 7).reshape(3, 2), "image": torch.randn(3, 2, 2)}
    found = absent_inputs(kind, inputs, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    for name, tensor in inputs.items():
        assert (found[name].shape, found[name].dtype) == (tensor.shape, tensor.dtype)
        assert kind == "shuffle" or not found[name].any()
        assert kind != "shuffle" or {tuple(r) for r in found[name].flatten(1).tolist()} == {
            tuple(r) for r in tensor.flatten(1).tolist()
        }


@pytest.mark.parametrize("kind", ["zero-feature", "mean-feature"])
def test_absent_features_of_a_model_without_features_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=r"exposes no `encoders` and `fuse`.*use absent='zero-input' or 'shuffle'"):
        absent_inputs(kind, {"a": torch.zeros(2)})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ABSENT)
def test_mixed_stacks_the_coalitions_one_after_the_other(kind: str) -> None:
    absent = absent_features(kind, FEATURES, ones, torch.Generator().manual_seed(1))  # type: ignore[arg-type]
    masks = lattice(2)
    found = mixed(FEATURES, absent, masks)
    for column, (name, feature) in enumerate(FEATURES.items()):
        blocks = found[name].unflatten(0, (len(masks), 4))
        for block, present in zip(blocks, masks[:, column].tolist(), strict=True):
            assert torch.equal(block, feature if present else absent[name].expand_as(feature))


def test_mixed_keeps_the_precision_of_the_present_features() -> None:
    half = {"a": torch.ones(2, 3, dtype=torch.bfloat16)}
    found = mixed(half, {"a": torch.zeros(1, 3)}, torch.tensor([[True], [False]]))
    assert found["a"].dtype == torch.bfloat16
    assert found["a"].sum() == 6


def test_extremes_are_each_alone_all_but_each_and_all_also_of_very_many() -> None:
    rows = [tuple(row) for row in extremes(4).tolist()]
    assert set(rows) == {tuple(row) for row in lattice(4).tolist() if sum(row) != 2}
    assert len(rows) == len(set(rows))
    assert extremes(64).sum(1).tolist() == [1] * 64 + [63] * 64 + [64]

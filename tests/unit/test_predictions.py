"""Predictions of a run on disk: what is written is read, accuracy exactly, and damage is told in a sentence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from msam_bench.analysis.baselines import constant_outputs, ensemble
from msam_bench.metrics.probabilities import log_probabilities
from msam_bench.metrics.sample_metrics import METRICS
from msam_bench.runs.predictions import NAME, Predictions, SplitPredictions, halved, read, write

DRAW = np.random.default_rng(0)


def split(samples=30, classes=4, groups=True):
    logits = DRAW.normal(0, 4, (samples, classes))
    return SplitPredictions(
        logits,
        DRAW.integers(0, classes, samples),
        np.arange(samples) * 7,
        np.arange(samples) // 10 if groups else None,
        {"audio": logits / 2, "video": -logits},
        {"audio": DRAW.normal(size=samples), "video": DRAW.normal(size=samples)},
    )


def test_what_is_written_is_read(tmp_path):
    made = Predictions("classes", np.array([5.0, 4, 3, 2]), {"test": split(), "valid": split(8, groups=False)})
    write(tmp_path, made)
    found = read(tmp_path)
    assert (found.kind, found.prior.tolist(), list(found.splits)) == ("classes", [5, 4, 3, 2], ["test", "valid"])
    for name, own in made.splits.items():
        other = found.splits[name]
        assert np.array_equal(own.targets, other.targets)
        assert np.array_equal(own.samples, other.samples)
        assert (own.groups is None) == (other.groups is None)
        expected = log_probabilities(own.outputs)
        assert np.abs(other.outputs - expected).max() <= np.abs(expected).max() * 2**-11
        assert np.array_equal(other.outputs.argmax(-1), own.outputs.argmax(-1))
        assert other.alone.keys() == other.contributions.keys() == {"audio", "video"}
        for modality in ("audio", "video"):
            assert other.contributions[modality] == pytest.approx(own.contributions[modality], rel=2**-24)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_values_are_kept_in_single_precision(tmp_path):
    values, targets = DRAW.normal(size=(20, 2)), DRAW.normal(size=(20, 2))
    write(tmp_path, Predictions("values", np.zeros(2), {"test": SplitPredictions(values, targets, np.arange(20))}))
    found = read(tmp_path).splits["test"]
    assert found.outputs == pytest.approx(values, rel=2**-24)
    assert METRICS["r2"].value(found.outputs, found.targets) == pytest.approx(
        METRICS["r2"].value(values, targets), abs=1e-6
    )


@settings(max_examples=200, deadline=None)
@given(arrays.arrays(np.float32, (3, 5), elements=st.floats(-40, 40, width=32)), st.booleans())
def test_half_precision_keeps_the_largest_class(logits, near):
    if near:  # differences that half precision cannot hold
        logits = 1 + logits * np.float32(1e-6)
    half = halved(logits)
    assert half.dtype == np.float16
    assert np.array_equal(half.argmax(-1), logits.argmax(-1))
    assert np.isfinite(half).all()


def test_a_run_without_predictions_has_none(tmp_path):
    assert read(tmp_path) is None


def test_rows_must_agree():
    with pytest.raises(ValueError, match="one row a sample"):
        SplitPredictions(np.zeros((3, 2)), np.zeros(3), np.arange(4))


@pytest.mark.parametrize("damage", ["cut", "text", "version", "missing"])
def test_damage_is_told_in_a_sentence(tmp_path, damage):
    write(tmp_path, Predictions("classes", np.ones(4), {"test": split()}))
    path = tmp_path / NAME
    content = path.read_bytes()
    damaged = {
        "cut": content[: len(content) // 2],
        "text": b"no safetensors",
        "version": content.replace(b'"version":"1"', b'"version":"9"'),
        "missing": content.replace(b"test/outputs", b"test/0utputs"),
    }[damage]
    assert damaged != content
    path.write_bytes(damaged)
    with pytest.raises(
        ValueError, match=r"Expected the predictions of a run in .*, found: .*; delete the run's folder"
    ):
        read(tmp_path)


def test_an_ensemble_adds_log_probabilities_and_averages_values():
    first, second = DRAW.normal(size=(6, 3)), DRAW.normal(size=(6, 3))
    product = np.exp(log_probabilities(first)) * np.exp(log_probabilities(second))
    assert ensemble({"a": first, "b": second}) == pytest.approx(np.log(product))
    assert ensemble({"a": first, "b": second}, classes=False) == pytest.approx((first + second) / 2)
    with pytest.raises(ValueError, match="same samples and classes"):
        ensemble({"a": first, "b": second[:5]})


def test_knowing_nothing_is_the_majority_class_or_the_mean():
    targets = np.array([0, 1, 1, 2])
    outputs = constant_outputs(np.array([2.0, 7.0, 0.0]), 4)
    assert METRICS["accuracy"].value(outputs, targets) == 0.5
    assert METRICS["auroc"].value(outputs, targets) == 0.5
    assert METRICS["nll"].value(outputs[:3], targets[:3]) == pytest.approx(-np.mean(np.log(np.array([2, 7, 7]) / 9.5)))
    assert METRICS["r2"].value(constant_outputs(np.array([0.5]), 2, classes=False), np.array([0.0, 1.0])) == 0

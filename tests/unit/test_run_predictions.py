"""What a run keeps of its test split: accuracy exactly, samples by number, groups, and each modality's worth."""

import numpy as np
import pytest
import torch

from msam import shapley
from msam_bench.config.resolve import resolve
from msam_bench.data import source
from msam_bench.metrics.sample_metrics import METRICS
from msam_bench.runs.assembly import assemble
from msam_bench.runs.fit import run
from msam_bench.runs.predictions import read


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return [run(resolve("digits6", "late", "joint", seed=seed, epochs=2), root) for seed in (3, 4)]


def test_accuracy_is_the_runs_own_exactly(runs):
    for record in runs:
        for split, key in (("test", "test_accuracy"), ("valid", "valid_accuracy")):
            kept = read(record.folder).splits[split]
            assert METRICS["accuracy"].value(kept.outputs, kept.targets) == pytest.approx(
                record.summary[key], abs=1e-12
            )


def test_loss_is_the_runs_own_to_half_precision(runs):
    kept = read(runs[0].folder).splits["test"]
    assert METRICS["nll"].value(kept.outputs, kept.targets) == pytest.approx(runs[0].summary["test_loss"], rel=2**-10)


def test_samples_keep_their_numbers_whichever_seed_draws_the_split(runs):
    labels = {}
    for record in runs:
        predictions = read(record.folder)
        kept = predictions.splits["test"]
        assert len(np.unique(kept.samples)) == len(kept.samples) == 1600
        assert not set(kept.samples) & set(predictions.splits["valid"].samples)
        for sample, label in zip(kept.samples.tolist(), kept.targets.tolist(), strict=True):
            assert labels.setdefault(sample, label) == label
    assert len(labels) > 1600


def test_training_counts_are_kept(runs):
    assert read(runs[0].folder).prior.tolist() == [20.0] * 10


def test_contributions_of_samples_are_those_of_the_value_function(runs):
    record, kept = runs[0], read(runs[0].folder).splits["test"]
    for name, values in kept.contributions.items():
        assert values.mean() == pytest.approx(record.summary["contributions"][name], abs=1e-6)
    total = sum(kept.contributions.values())
    right = (kept.outputs.argmax(-1) == kept.targets).astype(float)
    assert total == pytest.approx(right, abs=1e-5)  # efficiency, in single precision


def test_each_modality_alone_is_as_in_the_coalitions(runs):
    record, kept = runs[0], read(runs[0].folder).splits["test"]
    for name, outputs in kept.alone.items():
        assert METRICS["accuracy"].value(outputs, kept.targets) == pytest.approx(
            record.summary["coalitions"][name], abs=1e-12
        )


def test_attribution_equals_the_shapley_values_of_the_library():
    parts = assemble(resolve("digits6", "late", "joint", seed=0))
    found = parts.evaluator.attribution("valid").means
    inputs, target = parts.dataset.splits["valid"].take(slice(None))
    expected = shapley(parts.evaluator.backward.objective, inputs, target, value="accuracy").values
    assert found == pytest.approx({name: float(value) for name, value in expected.items()}, abs=1e-6)


def test_people_are_the_groups_of_the_smartwatch():
    for seed in (0, 5):
        split = source("smartwatch").load(seed).splits["test"]
        assert sorted(set(split.groups.tolist())) == [1, 2]
        assert len(split.groups) == len(split) == len(set(split.ids.tolist()))
    assert not set(split.ids.tolist()) & set(source("smartwatch").load(1).splits["test"].ids.tolist())


def test_a_regrouped_data_set_keeps_numbers_and_groups():
    whole, parts = (source(name).load(2).splits["test"] for name in ("smartwatch", "smartwatchx6"))
    assert torch.equal(whole.ids, parts.ids)
    assert torch.equal(whole.groups, parts.groups)

"""Scores: accuracy of classes, and R2 of values to regress, in runs and as the value of a coalition."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from msam.attribution import r2
from msam_bench.config.resolve import resolve
from msam_bench.data import source
from msam_bench.reporting.report import compare, write_report
from msam_bench.runs import fit
from msam_bench.runs.restore import restored
from msam_bench.training.metrics import ACCURACY, R2, explained, squared_error
from stores import values

SHORT = {"epochs": 3, "batch_size": 16, "lr": 0.01}


def plain_r2(outputs: torch.Tensor, target: torch.Tensor) -> float:
    """The definition, over all outputs together."""
    true = target.reshape(len(target), -1).double()
    return float(1 - (outputs.double() - true).square().sum() / (true - true.mean(0)).square().sum())


@pytest.mark.parametrize("outputs", [1, 3])
def test_r2_of_a_split_is_a_mean_over_its_samples(outputs: int) -> None:
    found, target = torch.randn(7, outputs), torch.randn(7, outputs)
    target = target[:, 0] if outputs == 1 else target
    worth = explained(target)
    parts = torch.cat([worth(found[rows], target[rows]) for rows in (slice(0, 3), slice(3, 7))])
    assert float(parts.mean()) == pytest.approx(plain_r2(found, target), abs=1e-12)
    assert float(worth(found[None], target).mean()) == pytest.approx(plain_r2(found, target), abs=1e-12)


@pytest.mark.parametrize("outputs", [1, 3])
def test_r2_as_a_value_function_is_that_of_the_batch(outputs: int) -> None:
    found, target = torch.randn(4, 7, outputs), torch.randn(7, outputs)
    assert r2(found, target).tolist() == pytest.approx([plain_r2(each, target) for each in found], abs=1e-12)


def test_predicting_the_mean_is_worth_nothing_and_the_truth_is_worth_one() -> None:
    target = torch.tensor([1.0, 2.0, 6.0])
    outputs = torch.stack([torch.full((3, 1), 3.0), target[:, None]])
    assert r2(outputs, target).tolist() == [0.0, 1.0]
    assert explained(target)(outputs, target).mean(-1).tolist() == pytest.approx([0, 1])


def test_equal_targets_give_a_finite_score() -> None:
    target = torch.full((3,), 2.0)
    assert r2(torch.zeros(1, 3, 1), target).tolist() == [-3.0]
    assert explained(target)(torch.zeros(3, 1), target).tolist() == [-3.0] * 3


def test_the_squared_error_does_not_broadcast_one_output_over_the_batch() -> None:
    outputs, target = torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 4.0])
    assert float(squared_error(outputs, target)) == 2.0
    assert float(squared_error(torch.zeros(2, 2), torch.ones(2, 2))) == 1.0


def test_an_accuracy_counts_hits() -> None:
    logits, target = torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 0])
    assert ACCURACY.worth(target)(logits, target).tolist() == [True, False]


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("method", ["joint", "msam", "msam-encoder"])
def test_a_run_on_values_is_scored_by_r2(tmp_path: Path, outputs: int, method: str) -> None:
    data = str(values(tmp_path / "sums", outputs))
    record = fit.run(resolve(data, "late", method, seed=1, **SHORT), tmp_path / "runs")
    summary = record.summary
    objective, dataset = restored(record)
    inputs, target = dataset.splits["test"].take(slice(None))
    with torch.no_grad():
        expected = plain_r2(objective.logits(inputs), target)
    assert record.data["score"] == R2.name == "R2"
    assert record.data["classes"] == []
    assert summary["test_accuracy"] == pytest.approx(expected, abs=1e-6)
    assert summary["coalitions"]["first+second"] == pytest.approx(summary["test_accuracy"], abs=1e-6)
    assert sum(summary["contributions"].values()) == pytest.approx(summary["test_accuracy"], abs=1e-6)
    assert summary["contributions"]["first"] > summary["contributions"]["second"]
    assert summary["valid_accuracy"] == max(row["valid_accuracy"] for row in record.metrics)


def test_a_method_that_needs_classes_says_so(tmp_path: Path) -> None:
    data = str(values(tmp_path / "sums"))
    with pytest.raises(ValueError, match=r"OGM asks how probable the true class is: it needs class indices"):
        fit.run(resolve(data, "late", "ogm", seed=0, **SHORT), tmp_path / "runs")


def test_contributions_take_the_value_that_a_configuration_names(tmp_path: Path) -> None:
    data = str(values(tmp_path / "sums"))
    record = fit.run(resolve(data, "late", "msam:attribution.value=loss", seed=0, **SHORT), tmp_path / "runs")
    assert record.status == "finished"
    with pytest.raises(ValueError, match="value='accuracy' and 'probability' need class indices"):
        fit.run(resolve(data, "late", "msam:attribution.value=accuracy", seed=0, **SHORT), tmp_path / "runs")
    assert source(data).classes == ()


def test_a_comparison_of_values_speaks_of_r2(tmp_path: Path) -> None:
    data = str(values(tmp_path / "sums"))
    asked = [(method, seed) for seed in (0, 1) for method in ("joint", "sam")]
    records = [fit.run(resolve(data, "late", method, seed=seed, **SHORT), tmp_path / "runs") for method, seed in asked]
    table = compare(records)
    assert (table.score, table.columns[2].group) == ("R2", "test R2, %")
    assert table.caption.startswith("Test R2 in evaluation mode")
    assert "test_r2_mean" in table.csv().splitlines()[0]
    page = write_report(records, tmp_path / "report", "msam compare").read_text()
    assert "R2 of every coalition" in page
    assert "ccuracy" not in page.partition("<script")[0]

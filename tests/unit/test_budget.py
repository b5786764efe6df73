"""What a run costs, and when it is over: epochs, or gradients counted as they happen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch.nn.functional as F

from msam import SAM
from msam_bench.config.resolve import resolve
from msam_bench.config.run import RunConfig
from msam_bench.reporting.comparison_table import PASSES
from msam_bench.runs import fit
from msam_bench.training.budget import Budget
from msam_bench.training.passes import PassCount
from msam_bench.training.schedules import rate_factor
from zoo import batch, model

BATCHES = 4  # 200 samples, 64 a batch


def trained(root: Path, method: str, **settings: Any) -> Any:
    given = {"epochs": 3, "batch_size": 64, "budget": "gradients", **settings}
    return fit.run(resolve("digits6", "late", method, **given), root)


@pytest.mark.parametrize(
    ("method", "each", "epochs"),
    [
        ("joint", 1, 3),
        ("sam:rho=0.1", 2, 2),  # twelve gradients: six batches, in an epoch and a half
        ("msam-encoder:rho=0.1", 1 + 1 / 6, 3),  # eleven batches, the last one beyond the budget
        ("mmpareto", 2, 2),
        ("reconboost:boost=1:rectify=0", 1 / 6, 18),
    ],
)
def test_every_method_gets_the_gradients_of_joint_training(
    tmp_path: Path, method: str, each: float, epochs: int
) -> None:
    record = trained(tmp_path, method)
    assert 3 * BATCHES <= record.summary["gradients"] + 1e-9 < 3 * BATCHES + each
    assert len(record.metrics) == epochs
    assert record.config["budget"] == "gradients"


def test_what_only_measures_is_not_counted(tmp_path: Path) -> None:
    for name in ("fou", "fac", "kar", "pix", "zer", "mor"):  # then every epoch of joint training looks at each alone
        trained(tmp_path, f"unimodal:modality={name}", epochs=1)
    record = trained(tmp_path, "joint", epochs=1)
    assert "alone/fou" in record.metrics[0]
    assert record.summary | dict.fromkeys(PASSES, BATCHES) == record.summary


def test_a_method_that_has_stopped_to_train_ends(tmp_path: Path) -> None:
    record = trained(tmp_path, "mses:patience=1", epochs=1, lr=1e-9)
    assert len(record.metrics) <= 6


def test_a_budget_of_gradients_is_another_run(tmp_path: Path) -> None:
    by_epochs, by_gradients = (resolve("digits6", "late", "sam", budget=budget) for budget in ("epochs", "gradients"))
    assert by_epochs.identity != by_gradients.identity


def test_equal_budgets_are_equal_runs_of_joint_training(tmp_path: Path) -> None:
    """The closed form of the cosine differs from torch's recursion in the last bits of the rate."""
    by_gradients, by_epochs = trained(tmp_path, "joint"), trained(tmp_path, "joint", budget="epochs")
    for one, other in zip(by_gradients.metrics, by_epochs.metrics, strict=True):
        assert one["lr"] == pytest.approx(other["lr"], rel=1e-12)
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)


@pytest.mark.parametrize("after", [1, 2])
def test_a_run_by_gradients_resumes_to_the_same_end(tmp_path: Path, after: int) -> None:
    class Killed(Exception):
        pass

    def stop(epoch: int) -> None:
        if len((folder / "metrics.csv").read_text().splitlines()) == after + 1:
            raise Killed

    whole = trained(tmp_path / "whole", "msam-encoder:rho=0.1")
    config = RunConfig.model_validate(whole.config)
    folder = tmp_path / "parts" / whole.folder.name
    with pytest.raises(Killed):
        fit.run(config, tmp_path / "parts", stop, every=0)
    assert fit.run(config, tmp_path / "parts").summary == whole.summary
    for name in ("last.ckpt", "best.ckpt"):
        assert (folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_the_rate_of_a_two_pass_method_falls_as_far_in_half_the_epochs(tmp_path: Path) -> None:
    rates = [row["lr"] for row in trained(tmp_path, "sam:rho=0.1", epochs=4, lr=0.1).metrics]
    assert rates == pytest.approx([0.1, 0.05])  # the cosine at none and at half of the gradients


@pytest.mark.parametrize(
    ("schedule", "progress", "expected"),
    [
        ("constant", 0.9, 1.0),
        ("cosine", 0.5, 0.5),
        ("step", 0.69, 1.0),
        ("step", 0.7, 0.1),
        ("step", 1.0, 0.1),
        ("inverse-sqrt", 0.3, 0.5),
    ],
)
def test_what_is_left_of_the_rate(schedule: Any, progress: float, expected: float) -> None:
    assert rate_factor(schedule, progress, 10, step_epochs=7) == pytest.approx(expected)


def test_cost_goes_on_where_a_checkpoint_left_off() -> None:
    backward = SAM(rho=0.1).on(model(2), F.cross_entropy)
    cost = PassCount(backward.objective)
    backward(*batch(2))
    assert cost.state() == {"forwards": 2, "backwards": 2, "encoder_forwards": 4, "encoder_backwards": 4}
    assert cost.totals() == {"gradients": 2, "forwards": 2, "backwards": 2, "encoder_passes": 2}
    again = PassCount(backward.objective)
    again.resume(cost.state())
    assert again.state() == cost.state()
    backward(*batch(2))
    assert again.gradients == cost.gradients == 4
    assert Budget("gradients", 2, 2, cost).spent

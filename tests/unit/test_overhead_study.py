"""`msam study overhead`: what it measures, what it concludes, and its page. Times themselves are not asserted."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from msam import MSAM, Objective
from msam_bench.cli import main
from msam_bench.config.resolve import resolve
from msam_bench.data import source
from msam_bench.runs.restore import model_of
from msam_bench.studies.instruments.step_costs import StepCost
from msam_bench.studies.instruments.steps import AGAIN, BARE, PLAIN, SAM_, VALUED, Measured, Setting, Unvalued, repeated
from msam_bench.studies.overhead import StepMeasurements, conclude, settings
from msam_bench.training.metrics import scoring


def found(setting: Setting, added: float, again: float = 1.0) -> Measured:
    ratios = {PLAIN: 1.0, AGAIN: again, SAM_: 2.0, BARE: 2.1, VALUED: 2.1 + added}
    costs = {
        n: StepCost(r / 100, r / 100, r, r - 0.05, r + 0.05, (1 + (n == VALUED)) * 2**20) for n, r in ratios.items()
    }
    return Measured(setting, epoch=6.25, weights=1000, costs=costs)


def test_one_quantity_is_varied_at_a_time() -> None:
    chosen = settings(("late", "early"), (4, 2), (16,), (8, 64))
    assert [(s.axis, s.fusion, s.value) for s in chosen] == [
        *(("modalities", fusion, count) for fusion in ("late", "early") for count in (2, 4)),
        *(("batch", fusion, 16) for fusion in ("late", "early")),
        *(("width", fusion, width) for fusion in ("late", "early") for width in (8, 64)),
    ]
    assert all([s.modalities, s.batch, s.width].count(None) == 2 for s in chosen)


@pytest.mark.parametrize(("data", "count"), [("digits6", 3), ("digits6", 8), ("smartwatch", 2)])
def test_more_modalities_are_the_own_over_and_over(data: str, count: int) -> None:
    whole = source(data).load(0)
    own = whole.modalities
    more = repeated(whole, count)
    assert len(more.modalities) == count
    for place, name in enumerate(more.modalities):
        like = own[place % len(own)]
        assert torch.equal(more.splits["test"].inputs[name], whole.splits["test"].inputs[like])
        assert more.modality_specs[name] == whole.modality_specs[like]


def test_without_values_msam_climbs_as_before_and_no_coalition_is_valued() -> None:
    """The gradient is that of a fixed weight 1 / M: only the values are missing from what is timed."""
    dataset = source("digits6").load(0)
    batch = dataset.splits["train"].take(slice(0, 20))
    gradients = []
    for method in (MSAM(attribution=Unvalued()), MSAM(weight=1 / 6)):
        torch.manual_seed(0)
        model = model_of(resolve("digits6", "late", "joint", features=4, hidden=4), dataset)
        objective = Objective(model, scoring(dataset).criterion)
        method.backward(objective, *batch)
        gradients.append([weight.grad for weight in model.parameters() if weight.grad is not None])
        model.eval()
    for bare, fixed in zip(*gradients, strict=True):
        torch.testing.assert_close(bare, fixed)


def test_words_and_tables_by_hand() -> None:
    chosen = settings(("late", "early"), (2, 32), (), ())
    measured = [found(s, s.value / 100 * (1 + (s.fusion == "early")), 0.97) for s in chosen]
    result = conclude(StepMeasurements("digits6", measured))
    assert "0.02 to 0.32 with late fusion, 0.04 to 0.64 with early fusion" in result.answer
    assert "holds 1.00 MiB more" in result.answer
    assert "up to 0.03" in result.answer
    assert result.details == [
        "Values add, by modalities: late fusion, 0.02 at 2 (M-SAM 2.12, SAM 2.00) and 0.32 at 32 (M-SAM 2.42, SAM "
        "2.00); early fusion, 0.04 at 2 (M-SAM 2.14, SAM 2.00) and 0.64 at 32 (M-SAM 2.74, SAM 2.00)."
    ]
    (table,) = result.tables
    row = next(row for row in table.rows if row["step"] == SAM_)
    assert (row["ms"], row["peak MiB"], row["s an epoch"]) == pytest.approx((20, 1, 0.125))
    assert [figure.title for figure in result.figures["Cost by modalities"]] == [
        f"{what} of a step, {fusion} fusion" for fusion in ("late", "early") for what in ("Time", "Memory")
    ]


def test_the_command_measures_and_writes_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = ["--modalities", "2", "--modalities", "3", "--batches", "8", "--widths", "4", "--rounds", "2"]
    with pytest.raises(SystemExit) as done:
        main(["study", "overhead", "--fusion", "early", *tiny, "--report", str(tmp_path / "page")])
    assert done.value.code == 0
    assert "Shapley values add to a step of M-SAM" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "page" / "seconds-and-memory-by-modalities.csv").read_text().splitlines()))
    assert [row["modalities"] for row in rows] == ["2"] * 5 + ["3"] * 5
    assert all(float(row["ms"]) > 0 for row in rows)
    bare, valued = (next(r for r in rows if r["step"] == step and r["modalities"] == "3") for step in (BARE, VALUED))
    assert float(valued["peak MiB"]) >= float(bare["peak MiB"]) > 0
    page = (tmp_path / "page" / "study.html").read_text()
    assert "measures again" in page
    assert "Study “overhead”." in page
    assert "torch" in page


def test_a_count_below_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["study", "overhead", "--batches", "0"])
    assert "Expected at least one of batches, found 0" in capsys.readouterr().err

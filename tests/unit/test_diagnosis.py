"""The diagnosis: probes in closed form, and a verdict in words that follows from contributions and gaps."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from msam_bench.analysis.probing import PENALTIES, accuracy, explained, probe, ridge, standardised
from msam_bench.analysis.statistics import Comparison
from msam_bench.cli import main
from msam_bench.config.resolve import label_of, resolve
from msam_bench.data import source
from msam_bench.data.importing import ImportOptions, plan_import
from msam_bench.metrics.uncertainty import RunScores
from msam_bench.reporting.study_page import markdown
from msam_bench.runs import fit
from msam_bench.runs.choice import refusal
from msam_bench.studies import Request, diagnosis
from msam_bench.studies.advice import advice
from msam_bench.studies.encoder_probe import EncoderProbe, inspect_run
from msam_bench.studies.evidence import Evidence, evidence
from records import Fake, fake

# ---- probes ---------------------------------------------------------------------------------------------------------


def test_ridge_is_the_minimum_of_its_objective() -> None:
    torch.manual_seed(0)
    inputs = torch.cat([torch.randn(30, 4, dtype=torch.float64), torch.ones(30, 1, dtype=torch.float64)], 1)
    wanted = torch.randn(30, 3, dtype=torch.float64)
    weights = ridge(inputs, wanted, 0.3).requires_grad_()
    objective = (inputs @ weights - wanted).square().sum() / 30 + 0.3 * weights[:-1].square().sum()
    (slope,) = torch.autograd.grad(objective, weights)
    assert slope.abs().max() < 1e-12  # float64: the gradient of a quadratic at its minimum


def test_features_are_standardised_by_the_training_split_alone() -> None:
    scaled = standardised({"train": torch.tensor([[1.0, 5.0], [3.0, 5.0]]), "test": torch.tensor([[5.0, 6.0]])})
    assert scaled["train"].tolist() == [[-1.0, 0.0, 1.0], [1.0, 0.0, 1.0]]
    assert scaled["test"][0, 0] == 3.0
    assert torch.isfinite(scaled["test"]).all()


def test_a_probe_finds_what_is_linear_and_nothing_where_there_is_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    target = {split: torch.arange(90) % 3 for split in ("train", "valid", "test")}
    noise = {split: torch.rand(90, 3, generator=generator) for split in target}
    clear = {split: torch.eye(3)[own] + 0.01 * noise[split] for split, own in target.items()}
    assert probe(clear, target, 3) == 1.0
    assert probe(noise, target, 3) < 0.6
    inputs = standardised(noise)
    solved = [ridge(inputs["train"], torch.eye(3)[target["train"]].double(), penalty) for penalty in PENALTIES]
    chosen = [accuracy(inputs["test"], weights, target["test"]) for weights in solved]
    assert probe(noise, target, 3) in chosen


def test_a_probe_of_values_is_scored_by_the_variance_it_explains() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = {split: torch.randn(500, 2, generator=generator) for split in ("train", "valid", "test")}
    noise = {split: torch.randn(500, generator=generator) for split in inputs}
    clear = {split: own[:, 0] + 3 for split, own in inputs.items()}
    assert probe(inputs, clear, 0) == pytest.approx(1, abs=1e-4)
    assert probe(inputs, {split: own + noise[split] for split, own in clear.items()}, 0) == pytest.approx(0.5, abs=0.06)
    assert abs(probe(inputs, noise, 0)) < 0.02
    doubled = explained(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[2.0]]), torch.tensor([0.0, 1.0, 2.0]))
    assert doubled == pytest.approx(1 - (0 + 1 + 4) / (1 + 0 + 1))


def test_a_run_is_looked_at_with_all_its_encoders_and_a_run_apart_with_its_own(tmp_path: Path) -> None:
    settings = {"seed": 0, "epochs": 2}
    joint = inspect_run(fit.run(resolve("digits6", "late", "joint", **settings), tmp_path))
    apart = inspect_run(fit.run(resolve("digits6", "late", "unimodal:modality=fac", **settings), tmp_path))
    assert list(joint.probes) == ["fou", "fac", "kar", "pix", "zer", "mor"]
    assert list(apart.probes) == ["fac"]
    assert 0.5 < apart.probes["fac"].score <= 1.0
    assert len(apart.probes["fac"].contributions) == 1600
    assert apart.contributions == {}
    assert 0 < sum(joint.contributions.values()) <= 1


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data set of values to regress, of which one modality says twice as much."""
    place, draw = tmp_path_factory.mktemp("values"), np.random.default_rng(0)
    near, far = draw.normal(size=(200, 3)), draw.normal(size=(200, 3))
    np.savez(place / "it.npz", near=near, far=far, target=2 * near[:, 0] + far[:, 0])
    plan_import([place / "it.npz"], "it", ImportOptions()).build(place / "data")
    return str(place / "data")


def test_values_are_diagnosed_in_words_without_accuracy(values: str, tmp_path: Path) -> None:
    asked = Request((values,), "late", range(2), settings={"epochs": 3})
    found = diagnosis.conclude([fit.run(config, tmp_path) for config in diagnosis.plan(asked)])
    text = markdown(found, "msam diagnose")
    assert "points above the mean" in found.answer
    assert "### R2 of every coalition" in text
    assert "accuracy" not in text.lower()
    assert "accuracy" not in " ".join(str(figure) for own in found.figures.values() for figure in own)


# ---- verdicts -------------------------------------------------------------------------------------------------------


def concluded(
    monkeypatch: pytest.MonkeyPatch,
    gap: dict[str, float],
    contributions: dict[str, float],
    seeds: int = 12,
    tau: float = 0.05,
) -> diagnosis.Result:
    configs = diagnosis.plan(Request(("smartwatch",), "late", range(seeds)))
    records = [fake(config) for config in configs]
    for record in records:
        record.data["fold"] = None
        record.summary["tau"] = tau
        record.summary["contributions"] = {m: v + record.seed * 1e-3 for m, v in contributions.items()}

    def look(record: Fake) -> EncoderProbe:
        own = record.config["method"]["params"].get("modality")
        names = list(contributions) if own is None else [own]
        noise = 0.001 * (record.seed % 3)
        probes = {name: RunScores(0.6 + (gap[name] if own else noise)) for name in names}
        return EncoderProbe(dict.fromkeys(names, 0.4), probes)

    monkeypatch.setattr(diagnosis, "inspect_run", look)
    return diagnosis.conclude(records)


LEADING = {"accelerometer": 0.6, "gyroscope": 0.2}


def test_a_starved_modality_is_named_with_its_gap_and_what_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    found = concluded(monkeypatch, {"accelerometer": 0.0, "gyroscope": 0.08}, LEADING, tau=0.3)
    assert re.match(
        r"accelerometer dominates: it contributes 5\d\.\d of 6\d\.\d points above the majority class, gyroscope 1\d",
        found.answer,
    )
    assert "Under-used, since encoders trained apart learn more: gyroscope by +7.90 points ([+7." in found.answer
    apart, back, flat = found.details
    assert apart.startswith("Give gyroscope a loss of its own: its encoder learns more when trained apart. Evidence")
    assert back.startswith("Hold accelerometer back, which leads while gyroscope could learn more. Evidence")
    assert flat.startswith("Look for flatter minima: accuracy is 90.2 % in training and 90.2 % in test (tau 0.30).")
    assert found.ordered
    row = next(row for row in found.tables[0].rows if row["modality"] == "gyroscope")
    assert row["gap"] == pytest.approx(7.9)
    assert row["probe apart %"] == pytest.approx(68)


def test_a_balanced_model_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    equal = {"accelerometer": 0.4, "gyroscope": 0.4}
    found = concluded(monkeypatch, dict.fromkeys(equal, 0.001), equal)
    assert found.answer.startswith(
        "Balanced: contributions differ by less than 2.00 points, and no encoder learns 2.00"
    )
    assert "under-used" not in found.answer.lower()
    assert found.details == ["Nothing here asks for another method than joint."]


def test_a_leader_that_starves_nobody_is_no_reason_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    found = concluded(monkeypatch, dict.fromkeys(LEADING, 0.001), LEADING)
    assert found.answer.startswith("accelerometer leads: it contributes")
    assert "No encoder is shown to be under-used: the widest gap is that of" in found.answer
    (step,) = found.details
    assert step.startswith("Balance asks for no other method than joint: accelerometer says more")


def test_a_model_that_knows_nothing_has_nothing_to_balance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "run_scores", lambda run, metric: RunScores(0.15 + 0.02 * (-1) ** run.seed))
    found = concluded(monkeypatch, {"accelerometer": 0.0, "gyroscope": 0.08}, LEADING)
    assert found.answer.startswith("joint is not shown to be better than the majority class (")
    assert "nothing to balance" in found.answer
    assert found.details[0].startswith("Train a model that is better than the majority class first: ")


def test_too_few_seeds_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    found = concluded(monkeypatch, {"accelerometer": 0.0, "gyroscope": 0.08}, LEADING, seeds=4)
    assert found.answer.startswith("Too few seeds to tell (n = 4): accelerometer contributes most, ")
    assert found.details == ["Train more seeds, for this diagnosis cannot tell: the same command with --seeds 12."]


# ---- what to try ----------------------------------------------------------------------------------------------------


def test_shipped_results_speak_where_nothing_was_run_and_are_said_to_be_shipped() -> None:
    with (Path(__file__).parents[2] / "docs/results/smartwatch-late-all.csv").open() as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    shown = {name: 100 * float(rows[name]["to_reference_difference"]) for name in ("umt", "mbsd")}
    known = evidence([fake(resolve("smartwatch", "late", "joint", seed=seed)) for seed in range(3)], ["umt", "mbsd"])
    assert list(known.elsewhere) == ["smartwatch"]
    where = f"in the shipped results on smartwatch, late fusion, over joint (n = {rows['umt']['to_reference_n']})"
    assert f"{where}: umt {shown['umt']:+.2f} [" in known.words(["umt"])
    assert known.best(["mbsd", "umt"], 1) == [max(("mbsd", "umt"), key=lambda name: shown[name])]
    assert known.words(["sam:rho=9"]) == "no result that ships with msam, and no run here, has them"
    early = evidence([fake(resolve("smartwatch", "early", "joint", seed=0))], ["umt"])
    assert set(early.elsewhere) > {"smartwatch"}


def test_what_is_not_ahead_is_not_recommended_where_something_is() -> None:
    means = {"first": 0.02, "second": 0.01, "worse": -0.01, "worst": -0.02}
    known = Evidence(
        "joint", {}, {"there": {name: Comparison(6, m, None, None, 1, True, 0, 1) for name, m in means.items()}}
    )
    assert known.best(["worst", "second", "worse", "first"], 3) == ["first", "second"]
    assert known.best(["worst", "second", "worse", "first"], 1) == ["first"]
    assert known.best(["worst", "worse"], 3) == ["worse"]
    assert known.best(["unheard-of"], 3) == ["unheard-of"]


def test_finished_runs_on_the_same_seeds_and_settings_speak_first(tmp_path: Path) -> None:
    settings = {"epochs": 1, "batch_size": 100}
    joint = [fit.run(resolve("digits6", "late", "joint", seed=s, **settings), tmp_path) for s in (0, 1)]
    sam = [fit.run(resolve("digits6", "late", "sam", seed=s, **settings), tmp_path) for s in (0, 1, 2)]
    fit.run(resolve("digits6", "late", "gnp", seed=0, epochs=2, batch_size=100), tmp_path)
    known = evidence(joint, ["sam", "gnp"])
    assert list(known.here) == ["sam"]
    gain = 100 * sum(sam[s].summary["test_accuracy"] - joint[s].summary["test_accuracy"] for s in (0, 1)) / 2
    assert known.words(["sam"]).startswith(f"on these data, over joint (n = 2): sam {gain:+.2f} [")


def test_advice_names_methods_that_can_be_trained_and_a_command_that_uses_the_runs_again(
    values: str, tmp_path: Path
) -> None:
    asked = Request((values,), "early", range(3, 5), settings={"epochs": 2, "lr": 0.01})
    joint = [fit.run(config, tmp_path) for config in asked.runs("joint")]
    steps = advice(joint, starved=["far", "near"], leader="near", more=0)
    assert steps[0].startswith("Give far and near losses of their own: their encoders learn more when trained apart.")
    options = f"--data {values} --fusion early --seeds 2 --first-seed 3 --epochs 2 --lr 0.01 --runs {tmp_path}"
    for step in steps:
        command, _, listed = step.partition("`")[2].rstrip("`").partition(" --methods ")
        assert command == f"msam compare {options}"
        methods = listed.split(",")
        assert methods[0] == "joint"
        data = source(values).load(3)
        assert all(refusal(resolve(values, "early", name, seed=3), data) is None for name in methods)


def test_a_run_is_diagnosed_with_its_own_method_and_settings(tmp_path: Path) -> None:
    record = fit.run(resolve("digits6", "early", "msam:rho=0.3", seed=4, epochs=1), tmp_path)
    configs = diagnosis.like(record, 2)
    assert {config.seed for config in configs} == {4, 5}
    assert {config.fusion for config in configs} == {"early"}
    assert {config.epochs for config in configs} == {1}
    assert [label_of(config) for config in configs][:2] == ["msam:rho=0.3", "unimodal:modality=fou"]
    apart = fit.run(configs[1], tmp_path)
    with pytest.raises(ValueError, match="Expected a run of all modalities, found unimodal:modality=fou in"):
        diagnosis.like(apart, 2)


def test_one_modality_has_nothing_to_be_weighed_against(tmp_path: Path) -> None:
    np.savez(tmp_path / "it.npz", voice=np.random.default_rng(0).normal(size=(30, 3)), label=np.arange(30) % 2)
    plan_import([tmp_path / "it.npz"], "it", ImportOptions()).build(tmp_path / "data")
    with pytest.raises(ValueError, match=r"weighs modalities against each other, but .* has voice alone"):
        diagnosis.plan(Request((str(tmp_path / "data"),), "late", (0,)))


def test_the_run_that_is_named_is_the_one_that_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fit.run(resolve("smartwatch", "late", "joint", seed=4, epochs=1), tmp_path / "there").folder
    mine = folder.rename(tmp_path / "there" / "mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "msam_bench.cli.study.train_all", lambda configs, where, lost: [fit.run(one, where.folder) for one in configs]
    )
    with pytest.raises(SystemExit, match="0"):
        main(["diagnose", "there/mine", "--seeds", "1"])
    assert mine.is_dir()
    made = {path.name.partition("-s4")[0] for path in (tmp_path / "there").iterdir()}
    assert made == {"mine", *(f"smartwatch-late-unimodal-modality={name}" for name in LEADING)}
    page = (tmp_path / "reports/diagnosis-smartwatch-late/study.html").read_text()
    assert '<ol class="notes">' in page

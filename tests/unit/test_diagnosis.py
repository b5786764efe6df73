"""The diagnosis: probes in closed form, and a verdict in words that follows from contributions and gaps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from msam_bench import fit
from msam_bench.config import resolve
from msam_bench.probing import PENALTIES, accuracy, probe, ridge, standardised
from msam_bench.studies import Ask, diagnosis
from msam_bench.studies.looking import Look, looked_at
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


def test_a_run_is_looked_at_with_all_its_encoders_and_a_run_apart_with_its_own(tmp_path: Path) -> None:
    settings = {"seed": 0, "epochs": 2}
    joint = looked_at(fit.run(resolve("digits6", "late", "joint", **settings), tmp_path))
    apart = looked_at(fit.run(resolve("digits6", "late", "unimodal:modality=fac", **settings), tmp_path))
    assert list(joint.probes) == ["fou", "fac", "kar", "pix", "zer", "mor"]
    assert list(apart.probes) == ["fac"]
    assert 0.5 < apart.probes["fac"] <= 1.0
    assert apart.contributions == {}
    assert 0 < sum(joint.contributions.values()) <= 1


# ---- verdicts -------------------------------------------------------------------------------------------------------


def concluded(
    monkeypatch: pytest.MonkeyPatch,
    gap: dict[str, float],
    contributions: dict[str, float],
    seeds: int = 12,
    tau: float = 0.05,
) -> diagnosis.Result:
    configs = diagnosis.plan(Ask(("smartwatch",), "late", range(seeds)))
    records = [fake(config) for config in configs]
    for record in records:
        record.data["fold"] = None
        record.summary["tau"] = tau
        record.summary["contributions"] = {m: v + record.seed * 1e-3 for m, v in contributions.items()}

    def look(record: Fake) -> Look:
        own = record.config["method"]["params"].get("modality")
        names = list(contributions) if own is None else [own]
        noise = 0.001 * (record.seed % 3)
        probes = {name: 0.6 + (gap[name] if own else noise) for name in names}
        return Look(dict.fromkeys(names, 0.4), probes)

    monkeypatch.setattr(diagnosis, "looked_at", look)
    return diagnosis.conclude(records)


LEADING = {"accelerometer": 0.6, "gyroscope": 0.2}


def test_a_starved_modality_is_named_with_its_gap_and_what_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    found = concluded(monkeypatch, {"accelerometer": 0.0, "gyroscope": 0.08}, LEADING, tau=0.3)
    assert found.answer.startswith("accelerometer dominates, and gyroscope is under-used by 7.9 points")
    assert "--methods joint,mmpareto,g-blending,umt" in found.details[0]
    assert "tau is 0.30" in found.details[-1]
    row = next(row for row in found.sheets[0].rows if row["modality"] == "gyroscope")
    assert row["gap"] == pytest.approx(7.9)
    assert row["probe apart %"] == pytest.approx(68)


def test_a_balanced_model_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    equal = {"accelerometer": 0.4, "gyroscope": 0.4}
    found = concluded(monkeypatch, dict.fromkeys(equal, 0.001), equal)
    assert found.answer.startswith("No modality is shown to dominate")
    assert "No encoder is shown to be under-used: the widest gap is" in found.answer
    assert found.details == ["Nothing here asks for another method than joint training."]


def test_too_few_seeds_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    found = concluded(monkeypatch, {"accelerometer": 0.0, "gyroscope": 0.08}, LEADING, seeds=4)
    assert "cannot be told with n = 4: 7 seeds could show it" in found.answer


def test_a_run_is_diagnosed_with_its_own_method_and_settings(tmp_path: Path) -> None:
    record = fit.run(resolve("digits6", "early", "msam:rho=0.3", seed=4, epochs=1), tmp_path)
    configs = diagnosis.like(record, 2)
    assert {config.seed for config in configs} == {4, 5}
    assert {config.fusion for config in configs} == {"early"}
    assert {config.epochs for config in configs} == {1}
    assert [config.label for config in configs][:2] == ["msam:rho=0.3", "unimodal:modality=fou"]

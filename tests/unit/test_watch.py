"""Failure signatures: each is said when it is seen, once, and in the same words after a resumption."""

from __future__ import annotations

from pathlib import Path

import pytest

from msam_bench.analysis.sentences.runs import watched
from msam_bench.config.resolve import resolve
from msam_bench.runs import fit
from msam_bench.training.monitor import BEHIND, RISE, SPAN, SWITCHING, TAU, Watch

QUIET = {"tau": 0.01, "switching": SWITCHING, "sharpness": 0.1, "contribution/a": 0.5, "contribution/b": 0.0}


def watch(**options: object) -> Watch:
    return Watch(("a", "b"), **{"alone": {}, **options})  # type: ignore[arg-type]


def test_nothing_is_said_of_a_healthy_run() -> None:
    one = watch(alone={"a": 0.6})
    for epoch in range(1, 3 * SPAN):
        assert one.check([{**QUIET, "alone/a": 0.6 - BEHIND + 0.001}] * epoch) == []


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"switching": SWITCHING + 0.01}, "changed at 51 % of the batches"),
        ({"sharpness": 0.0}, "no batch was perturbed"),
        ({"climbs": 0.0}, "no batch was perturbed"),
        ({"contribution/a": 0.0}, "all contributions were zero"),
    ],
)
def test_each_signature_is_said_once(row: dict[str, float], words: str) -> None:
    one = watch(alone={"a": 0.6})
    rows = [QUIET, {**QUIET, **row}]
    (text,) = one.check(rows)
    assert words in text
    assert text.startswith("Epoch 2: ")
    assert one.check([*rows, rows[-1]]) == []
    assert list(one.warnings.values()) == [text]


def rows_of(tau: list[float]) -> list[dict[str, float]]:
    return [{**QUIET, "tau": value} for value in tau]


def test_tau_must_rise_over_some_epochs_and_matter_and_may_be_noisy() -> None:
    rising = [TAU + 0.02 * epoch + 0.03 * (-1) ** epoch for epoch in range(2 * SPAN)]
    assert watch().check(rows_of(rising[:-1])) == []
    assert "tau rises, from 0.096 on average to 0.184 over the last 5 epochs" in watch().check(rows_of(rising))[0]
    assert watch().check(rows_of([value / 10 for value in rising])) == []
    assert watch().check(rows_of([0.3 + 0.03 * (-1) ** epoch for epoch in range(2 * SPAN)])) == []
    assert watch().check(rows_of([0.3] * SPAN + [0.3 + RISE - 1e-9] * SPAN)) == []


def test_a_modality_is_behind_when_it_gains_nothing_more() -> None:
    gaining = [{**QUIET, "alone/a": 0.1 + 0.05 * epoch} for epoch in range(SPAN + 1)]
    assert watch(alone={"a": 0.6}).check(gaining) == []
    assert watch(alone={"a": 0.6}).check([{**QUIET, "alone/a": 0.4}] * SPAN) == []
    stalled = [*gaining, *[{**QUIET, "alone/a": 0.35}] * SPAN]
    (text,) = watch(alone={"a": 0.6}).check(stalled)
    assert text.startswith(
        "Epoch 11: a alone is at 35.0 % on validation, 25.0 points behind the same encoder trained apart"
    )
    assert watch().check(stalled) == []


def test_a_radius_of_zero_is_said_and_a_method_without_one_is_not() -> None:
    row = {"tau": 0.0}
    assert watch().check([row]) == []
    assert "rho" in watch(still=True).check([row])[0]


def test_a_resumed_run_has_said_the_same() -> None:
    rows = [QUIET, {**QUIET, "switching": 0.9}, {**QUIET, "switching": 0.95}]
    whole, resumed = watch(), watch()
    for end in (1, 2, 3):
        whole.check(rows[:end])
    resumed.replay(rows)
    assert whole.warnings == resumed.warnings


def test_a_run_keeps_what_was_seen_and_a_report_counts_it(tmp_path: Path) -> None:
    heard: list[str] = []
    config = resolve("digits6", "late", "msam:rho=0", seed=0, epochs=2)
    record = fit.run(config, tmp_path, warn=heard.append)
    assert list(record.warnings) == ["inactive"]
    assert heard == list(record.warnings.values())
    assert watched({"msam:rho=0": [record]}) == [
        "Seen in training: the perturbation is never active (msam:rho=0 in 1 of 1 runs)."
    ]


def test_a_modality_is_held_against_its_finished_training_apart(tmp_path: Path) -> None:
    settings = {"seed": 0, "epochs": SPAN + 1}
    assert not any(
        key.startswith("alone/") for key in fit.run(resolve("digits6", "late", "sam", **settings), tmp_path).metrics[0]
    )
    apart = fit.run(resolve("digits6", "late", "unimodal:modality=fac", **settings), tmp_path)
    joint = fit.run(resolve("digits6", "late", "joint", **settings), tmp_path)
    assert all("alone/fac" in row for row in joint.metrics)
    own = [row["alone/fac"] for row in joint.metrics]
    behind = apart.summary["valid_accuracy"] - own[-1] > BEHIND and own[-1] <= own[0]
    assert ("behind/fac" in joint.warnings) == behind

"""Failure signatures: each is said when it is seen, once, and in the same words after a resumption."""

from __future__ import annotations

from pathlib import Path

import pytest

from msam_bench import fit
from msam_bench.config import resolve
from msam_bench.reporting.wording import watched
from msam_bench.watch import BEHIND, RISING, SWITCHING, TAU, Watch

QUIET = {"tau": 0.01, "switching": SWITCHING, "sharpness": 0.1, "contribution/a": 0.5, "contribution/b": 0.0}


def watch(**options: object) -> Watch:
    return Watch(("a", "b"), **{"alone": {}, **options})  # type: ignore[arg-type]


def test_nothing_is_said_of_a_healthy_run() -> None:
    one = watch(alone={"a": 0.6})
    for epoch in range(1, 9):
        assert one.look([{**QUIET, "alone/a": 0.6 - BEHIND + 0.001}] * epoch) == []


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"switching": SWITCHING + 0.01}, "changed at 51 % of the batches"),
        ({"sharpness": 0.0}, "no batch was perturbed"),
        ({"contribution/a": 0.0}, "all contributions were zero"),
        ({"alone/a": 0.4}, "a alone is at 40.0 % on validation, 20.0 points behind"),
    ],
)
def test_each_signature_is_said_once(row: dict[str, float], words: str) -> None:
    one = watch(alone={"a": 0.6})
    rows = [QUIET, {**QUIET, **row}]
    (text,) = one.look(rows)
    assert words in text
    assert text.startswith("Epoch 2: ")
    assert one.look([*rows, rows[-1]]) == []
    assert list(one.said.values()) == [text]


def test_tau_must_rise_for_some_epochs_in_a_row_and_matter() -> None:
    rising = [{**QUIET, "tau": TAU + 0.01 * epoch} for epoch in range(RISING + 1)]
    assert watch().look(rising[:-1]) == []
    assert "tau has grown for 5 epochs in a row, to 0.100" in watch().look(rising)[0]
    assert watch().look([{**row, "tau": row["tau"] / 10} for row in rising]) == []
    dented = [*rising[:3], {**QUIET, "tau": TAU}, *rising[4:]]
    assert watch().look(dented) == []


def test_a_radius_of_zero_is_said_and_a_method_without_one_is_not() -> None:
    row = {"tau": 0.0}
    assert watch().look([row]) == []
    assert "rho" in watch(still=True).look([row])[0]


def test_a_resumed_run_has_said_the_same() -> None:
    rows = [QUIET, {**QUIET, "switching": 0.9}, {**QUIET, "switching": 0.95}]
    whole, resumed = watch(), watch()
    for end in (1, 2, 3):
        whole.look(rows[:end])
    resumed.replay(rows)
    assert whole.said == resumed.said


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
    settings = {"seed": 0, "epochs": 2}
    assert not any(
        key.startswith("alone/") for key in fit.run(resolve("digits6", "late", "sam", **settings), tmp_path).metrics[0]
    )
    apart = fit.run(resolve("digits6", "late", "unimodal:modality=fac", **settings), tmp_path)
    joint = fit.run(resolve("digits6", "late", "joint", **settings), tmp_path)
    assert all("alone/fac" in row for row in joint.metrics)
    assert ("behind/fac" in joint.warnings) == any(
        apart.summary["valid_accuracy"] - row["alone/fac"] > BEHIND for row in joint.metrics
    )

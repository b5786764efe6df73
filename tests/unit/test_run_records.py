"""What a run folder must hold to be read: every field is checked, and the first that is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from msam_bench.config.resolve import resolve
from msam_bench.runs import record as runs

SUMMARY = {"epoch": 2, "train_accuracy": 1, "valid_accuracy": 0.5, "test_accuracy": 0.5, "tau": 0.5, "switching": None}
PARTS = {"accelerometer": 0.25, "gyroscope": 0.25}
DATA = {"name": "d", "fingerprint": "f", "modalities": [*PARTS], "classes": ["a"], "sizes": {"train": 3}, "fold": 1}


def content(**changes: Any) -> dict[str, Any]:
    summary = {**SUMMARY, "coalitions": {**PARTS, "accelerometer+gyroscope": 0.5}, "contributions": PARTS}
    config = resolve("smartwatch", "late", "joint").model_dump(mode="json")
    plain = {"version": 1, "label": "joint", "status": "finished", "environment": {"torch": "2"}}
    return {**plain, "config": config, "data": DATA, "summary": summary, "timing": {"seconds": 2.0}, **changes}


def read(folder: Path, whole: dict[str, Any]) -> runs.RunRecord:
    (folder / "run.json").write_text(json.dumps(whole))
    return runs.read(folder)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = read(tmp_path, content())
    assert record.data == DATA
    assert (record.summary, record.warnings) == (content()["summary"], {})
    assert [type(record.summary[name]) for name in ("epoch", "train_accuracy", "tau")] == [int, int, float]


def test_a_run_that_has_not_finished_has_no_measurements(tmp_path: Path) -> None:
    assert read(tmp_path, content(status="running", summary={})).summary == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "done"}, "status 'done'"),
        ({"label": 3}, "label 3"),
        ({"data": {**DATA, "modalities": "left"}}, "data.modalities 'left'"),
        ({"data": {name: value for name, value in DATA.items() if name != "classes"}}, "no 'data.classes'"),
        ({"timing": {"seconds": "long"}}, "timing.seconds"),
        ({"warnings": {"rising": 1}}, "warnings.rising 1"),
        ({"summary": {}}, "no 'summary.epoch'"),
        ({"summary": {**content()["summary"], "tau": "0.5"}}, "summary.tau"),
        ({"summary": {**content()["summary"], "tau": True}}, "summary.tau"),
        ({"summary": {**content()["summary"], "epoch": 1.5}}, "summary.epoch 1.5"),
        ({"summary": {**content()["summary"], "contributions": {"gyroscope": 1.0}}}, "no 'summary.contributions.acc"),
        ({"config": {"epochs": -1}}, "Setting 'epochs'"),
    ],
)
def test_the_first_wrong_field_is_named(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=r"Expected a run in .*; delete the folder to run it again\.$") as error:
        read(tmp_path, content(**changes))
    assert f"found: {reason}" in str(error.value)
    assert "\n" not in str(error.value)

"""Runs on prepared stores: the same numbers as from memory, and no mixing of data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from msam_bench.config.resolve import resolve
from msam_bench.data import source
from msam_bench.reporting.report import compare
from msam_bench.runs import fit
from msam_bench.runs import record as runs
from msam_bench.training import checkpoint
from stores import copied

SHORT = {"epochs": 1, "batch_size": 64, "seed": 0}


def test_a_run_from_mapped_files_is_the_run_from_memory(tmp_path: Path) -> None:
    views = tuple(source("digits6").modalities)
    stored = fit.run(resolve(str(copied(tmp_path / "copy", views)), "late", "joint", **SHORT), tmp_path / "runs")
    memory = fit.run(resolve("digits6", "late", "joint", **SHORT, **_given(stored)), tmp_path / "runs")
    assert stored.summary == memory.summary
    ours, theirs = (checkpoint.load(record.folder / "best.ckpt")["model"] for record in (stored, memory))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def _given(record: runs.RunRecord) -> dict[str, object]:
    """The settings of a run without defaults of its own, for one whose data set has some."""
    asked = {key: record.config[key] for key in ("features", "hidden")}
    return {
        **asked,
        "optimizer": record.config["optimizer"]["name"],
        **{key: record.config["optimizer"][key] for key in ("lr", "momentum", "weight_decay", "schedule")},
    }


def test_a_run_records_its_data_and_does_not_take_up_a_run_on_others(tmp_path: Path) -> None:
    config = resolve(str(copied(tmp_path / "copy")), "late", "joint", **SHORT)
    record = fit.run(config, tmp_path / "runs")
    assert record.data["fingerprint"] == source(str(tmp_path / "copy")).fingerprint
    assert record.folder.name.startswith("copy-late-joint-s0-")
    shutil.rmtree(tmp_path / "copy")
    copied(tmp_path / "copy", dtype="float16")
    with pytest.raises(ValueError, match=r"Expected a run on data .* found .*: the data have changed since; delete"):
        fit.run(config, tmp_path / "runs")
    other = fit.run(config, tmp_path / "others")
    with pytest.raises(ValueError, match="These runs are of data with different fingerprints"):
        compare([record, other])

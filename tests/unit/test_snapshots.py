"""Weights kept along a run: when, what they are, and what becomes of runs that lack them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from msam_bench.config.resolve import resolve
from msam_bench.config.run import RunConfig
from msam_bench.runs import fit, snapshots
from msam_bench.runs import record as runs
from msam_bench.training import checkpoint
from zoo import same


def config(**settings: Any) -> RunConfig:
    return resolve("digits6", "late", "joint", **{"epochs": 3, "batch_size": 128, **settings})


def contents(folder: Path) -> dict[int, bytes]:
    return {int(path.stem): path.read_bytes() for path in sorted((folder / "snapshots").glob("*.ckpt"))}


@pytest.mark.parametrize(("every", "due"), [(0, []), (1, [0, 1, 2, 3]), (2, [0, 2, 3]), (9, [0, 3])])
def test_the_start_every_nth_and_the_last_epoch_are_due(every: int, due: list[int]) -> None:
    assert snapshots.due(config(snapshots=every), 3, over=True) == due
    assert snapshots.due(config(snapshots=every), 3) == [epoch for epoch in due if epoch < 3 or every == 1]


def test_snapshots_change_nothing_and_end_at_the_last_weights(tmp_path: Path) -> None:
    plain, kept = fit.run(config(), tmp_path / "plain"), fit.run(config(snapshots=2), tmp_path / "kept")
    assert snapshots.epochs(plain.folder) == []
    assert snapshots.epochs(kept.folder) == [0, 2, 3]
    ends = [checkpoint.load(one.folder / "last.ckpt")["model"] for one in (plain, kept)]
    assert same(ends[0], ends[1])
    assert same(snapshots.load(kept.folder, 3), ends[0])
    assert not same(snapshots.load(kept.folder, 0), ends[0])


def test_a_finished_run_without_them_is_trained_again_to_the_same_end(tmp_path: Path) -> None:
    first = fit.run(config(), tmp_path)
    again = fit.run(config(snapshots=1), tmp_path)
    assert again.folder == first.folder
    assert again.summary == first.summary
    written = (again.folder / "run.json").stat().st_mtime_ns
    assert snapshots.epochs(again.folder) == [0, 1, 2, 3]
    fit.run(config(snapshots=2), tmp_path)
    fit.run(config(), tmp_path)
    assert (again.folder / "run.json").stat().st_mtime_ns == written  # what is there serves both


@pytest.mark.parametrize("missing", [None, 1])
def test_an_interrupted_run_has_the_same_snapshots_in_the_end(tmp_path: Path, missing: int | None) -> None:
    whole = contents(fit.run(config(snapshots=1), tmp_path / "whole").folder)

    def interrupt(epoch: int) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit.run(config(snapshots=1), tmp_path / "cut", interrupt, every=0)
    if missing:
        (runs.folder_of(tmp_path / "cut", config()) / f"snapshots/{missing:06}.ckpt").unlink()
    assert contents(fit.run(config(snapshots=1), tmp_path / "cut").folder) == whole


def test_a_damaged_snapshot_is_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = fit.run(config(snapshots=1), tmp_path).folder
    (folder / "snapshots/000001.ckpt").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"Expected a checkpoint at .*snapshots/000001\.ckpt, found"):
        snapshots.load(folder, 1)
    shutil.rmtree(folder / "snapshots")
    assert snapshots.epochs(folder) == []

"""The training loop and its run folders: resume, reuse, refusal."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from msam_bench.config.resolve import resolve
from msam_bench.config.run import RunConfig
from msam_bench.data import source
from msam_bench.runs import fit
from msam_bench.runs import record as runs
from msam_bench.runs.executor import train_all
from msam_bench.training import checkpoint
from zoo import same

SHORT = {"epochs": 3, "batch_size": 64}


def config(method: str = "msam", **settings: Any) -> RunConfig:
    return resolve("digits6", "late", method, **{**SHORT, **settings})


def outputs(folder: Path) -> tuple[bytes, bytes, dict[str, Any]]:
    summary = json.loads((folder / "run.json").read_text())["summary"]
    return (folder / "last.ckpt").read_bytes(), (folder / "best.ckpt").read_bytes(), summary


def test_a_run_leaves_a_whole_record(tmp_path: Path) -> None:
    record = fit.run(config(), tmp_path)
    assert record.status == "finished"
    assert len(record.metrics) == 3
    assert {path.name for path in record.folder.iterdir()} == {
        "run.json",
        "metrics.csv",
        "last.ckpt",
        "best.ckpt",
        "predictions.safetensors",
        ".lock",
    }
    summary = record.summary
    assert set(summary["coalitions"]) >= {"fou", "fac", "fou+fac+kar+pix+zer+mor"}
    assert summary["coalitions"]["fou+fac+kar+pix+zer+mor"] == summary["test_accuracy"]
    assert sum(summary["contributions"].values()) == pytest.approx(summary["test_accuracy"])
    assert summary["gradients"] == 2 * 3 * 4  # two passes, three epochs, four batches of at most 64 of 200 samples
    assert record.metrics[0].keys() == record.metrics[-1].keys()
    assert sum(record.metrics[0][f"dominant/{name}"] for name in source("digits6").modalities) == pytest.approx(1)


def test_equal_seeds_share_split_weights_and_batches_across_methods(tmp_path: Path) -> None:
    joint, still = fit.run(config("joint"), tmp_path), fit.run(config("sam:rho=0"), tmp_path)
    dropped = ("seconds",)
    for ours, theirs in zip(joint.metrics, still.metrics, strict=True):
        assert {k: v for k, v in ours.items() if k not in dropped} == {
            k: v for k, v in theirs.items() if k not in dropped
        }


def test_a_finished_run_is_found_not_trained(tmp_path: Path) -> None:
    first = fit.run(config(), tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in first.folder.iterdir() if path.name != ".lock"}
    calls: list[None] = []
    assert fit.run(config(), tmp_path, lambda epoch: calls.append(None)) == first
    assert not calls
    assert stamps == {path: path.stat().st_mtime_ns for path in first.folder.iterdir() if path.name != ".lock"}


def test_last_selects_the_last_epoch(tmp_path: Path) -> None:
    record = fit.run(config("joint", select="last"), tmp_path)
    assert record.summary["epoch"] == 3
    assert record.summary["test_accuracy"] == record.summary["last_test_accuracy"]


@pytest.mark.parametrize(
    ("method", "fusion"),
    [
        *product(["joint", "msam:every=2:attribution.momentum=0.5"], ["late", "early"]),
        ("looksam:every=3", "late"),  # these two remember gradients
        ("f-sam", "late"),
    ],
)
def test_a_run_stopped_after_any_epoch_resumes_to_the_same_bytes(tmp_path: Path, method: str, fusion: str) -> None:
    wanted = resolve("digits6", fusion, method, **SHORT)
    whole = outputs(fit.run(wanted, tmp_path / "whole").folder)
    for stop in (1, 2):

        def interrupt(epoch: int, stop: int = stop) -> None:
            if epoch == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit.run(wanted, tmp_path / str(stop), interrupt, every=0)
        record = fit.run(wanted, tmp_path / str(stop), every=0)
        assert len(record.metrics) == 3
        assert outputs(record.folder) == whole


def _train(wanted: RunConfig, root: Path) -> None:
    torch.set_num_threads(1)
    fit.run(wanted, root, every=0)


def test_two_processes_on_one_run_train_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    pair = [context.Process(target=_train, args=(config("joint"), tmp_path)) for _ in range(2)]
    for process in pair:
        process.start()
    for process in pair:
        process.join(60)
    assert [process.exitcode for process in pair] == [0, 0]
    (record,) = runs.records([tmp_path])
    assert len(record.metrics) == 3
    assert outputs(record.folder) == outputs(fit.run(config("joint"), tmp_path / "alone").folder)


def test_a_loss_that_is_not_finite_fails_in_a_sentence_and_is_recorded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"The training loss became (nan|inf) in epoch 1 of .*; lower lr or rho"):
        fit.run(config("joint", lr=1e20), tmp_path)
    (record,) = runs.records([tmp_path], status="failed")
    assert record.summary == {}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 99}', '{"version": 1}'])
def test_a_damaged_run_folder_is_refused_in_a_sentence(tmp_path: Path, content: str) -> None:
    folder = runs.folder_of(tmp_path, config())
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(content)
    with pytest.raises(ValueError, match=r"Expected a run in .*; delete the folder to run it again\."):
        fit.run(config(), tmp_path)
    assert (folder / "run.json").read_text() == content


def test_a_metrics_line_that_was_cut_off_is_not_read(tmp_path: Path) -> None:
    runs.append_metrics(tmp_path, [{"epoch": 1, "loss": 0.5}])
    with (tmp_path / "metrics.csv").open("a") as stream:
        stream.write("2,0.")
    assert runs.read_metrics(tmp_path) == [{"epoch": 1.0, "loss": 0.5}]


def test_metrics_may_gain_and_lose_columns_between_epochs(tmp_path: Path) -> None:
    rows = [{"epoch": 1.0}, {"epoch": 2.0, "share": 0.5}, {"epoch": 3.0}, {"epoch": 4.0, "share": 0.25}]
    for count in range(1, 5):
        runs.append_metrics(tmp_path, rows[:count])
        assert runs.read_metrics(tmp_path) == rows[:count]


def test_a_last_batch_of_one_sample_joins_the_one_before(tmp_path: Path) -> None:
    record = fit.run(resolve("digits6", "early", "joint", epochs=1, batch_size=199), tmp_path)
    assert record.summary["gradients"] == 1


def test_progress_is_told_after_every_epoch(tmp_path: Path) -> None:
    calls: list[int] = []
    fit.run(config("joint"), tmp_path, calls.append)
    assert calls == [1, 2, 3]


def test_the_selected_epoch_is_kept_whole_also_the_method(tmp_path: Path) -> None:
    """A method's own classifiers go on training after the best epoch; what is tested is as it was then."""
    record = fit.run(config("mmpareto", epochs=6, lr=0.2), tmp_path)
    best, last = (checkpoint.load(record.folder / name) for name in ("best.ckpt", "last.ckpt"))
    assert same(best["method"], last["best"]["method"])
    if record.summary["epoch"] < 6:
        assert not same(best["method"], last["method"])
    shorter = fit.run(config("mmpareto", epochs=6, lr=0.2, select="last"), tmp_path)
    whole = checkpoint.load(shorter.folder / "last.ckpt")
    assert same(whole["best"]["method"], whole["method"])


def test_a_run_that_diverges_is_set_aside_where_that_is_wanted_and_ends_everything_elsewhere(tmp_path: Path) -> None:
    well, badly = config("joint", epochs=1), config("joint", epochs=1, lr=1e20, seed=1)
    lost: list[RunConfig] = []
    with ThreadPoolExecutor(1) as executor:
        records = train_all([badly, well], tmp_path, executor, diverged=lost)
        assert (lost, [record.seed for record in records]) == ([badly], [0])
        with pytest.raises(runs.Diverged, match="The training loss became"):
            train_all([badly, well], tmp_path, executor)

"""What can go wrong on a disk: full, read-only, damaged, shared, older, killed within a write."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import pickle
import random
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from msam_bench import files
from msam_bench.cli import main
from msam_bench.config.resolve import resolve
from msam_bench.config.run import RunConfig
from msam_bench.reporting.figures.drawing import span
from msam_bench.runs import fit
from msam_bench.runs import record as runs
from msam_bench.runs.restore import restored
from msam_bench.training import checkpoint

TINY = ["--data", "digits6", "--epochs", "2", "--batch-size", "100", "--features", "4", "--hidden", "4"]


def config(method: str = "joint", **settings: Any) -> RunConfig:
    return resolve(
        "digits6", "late", method, **{"epochs": 4, "batch_size": 100, "features": 4, "hidden": 4, **settings}
    )


def outcome(folder: Path) -> tuple[dict[str, Any], bytes, bytes]:
    """All that a run leaves and that must not depend on how often it was interrupted."""
    summary = json.loads((folder / "run.json").read_text())["summary"]
    return summary, (folder / "best.ckpt").read_bytes(), (folder / "last.ckpt").read_bytes()


def stop_after(epochs: int) -> Callable[[int], None]:
    def progress(epoch: int) -> None:
        if epoch == epochs:
            raise KeyboardInterrupt

    return progress


def stopped(wanted: RunConfig, root: Path, epochs: int = 3) -> Path:
    """The folder of a run that was stopped after so many epochs, with a checkpoint of each of the last two."""
    with pytest.raises(KeyboardInterrupt):
        fit.run(wanted, root, stop_after(epochs), every=0)
    return runs.folder_of(root, wanted)


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence that a command ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(arguments)
    said = capsys.readouterr().err
    assert end.value.code == 2, said
    assert said.startswith("msam: ")
    assert said.count("\n") == 1, said
    return said


def succeeds(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code in (None, 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], bytes, bytes]:
    return outcome(fit.run(config(), tmp_path_factory.mktemp("whole")).folder)


# ---- damaged checkpoints --------------------------------------------------------------------------------------------


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    match how:
        case "empty":
            content.clear()
        case "cut":
            del content[-9:]
        case "flipped":
            content[-9] ^= 1  # one bit of one number, which the archive's own checks do not see
        case "pickle":
            content[:] = pickle.dumps({"epoch": 2})
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["empty", "cut", "flipped", "pickle"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(
    tmp_path: Path, how: str, whole: tuple[Any, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stopped(config(), tmp_path)
    damage(folder / "last.ckpt", how)
    seen: list[int] = []
    fit.run(config(), tmp_path, seen.append, every=0)
    assert seen == [3, 4]  # epoch 2 is in the checkpoint before
    said = capsys.readouterr().err
    assert "last.ckpt, found" in said
    assert said.endswith("; continuing from the checkpoint before it.\n")
    assert said.count("\n") == 1
    assert outcome(folder) == whole


def test_every_flipped_bit_of_a_checkpoint_is_seen(tmp_path: Path) -> None:
    path, draw = tmp_path / "a.ckpt", random.Random(0)
    state = {"weights": torch.randn(20), "epoch": 3, "half": torch.randn(3).bfloat16(), "one": torch.tensor(True)}
    checkpoint.save(path, state)
    content = path.read_bytes()
    for position in range(8, len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="Expected a checkpoint at"):
            checkpoint.load(path)


def test_two_damaged_checkpoints_are_refused_and_left_as_they_are(tmp_path: Path) -> None:
    folder = stopped(config(), tmp_path)
    for name in ("last.ckpt", "previous.ckpt"):
        (folder / name).write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"Expected a checkpoint at .*; delete its folder to train the run again"):
        fit.run(config(), tmp_path)
    assert (folder / "last.ckpt").read_bytes() == (folder / "previous.ckpt").read_bytes() == b"broken"


def test_a_write_killed_between_its_two_moves_is_continued_without_a_word(
    tmp_path: Path, whole: tuple[Any, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stopped(config(), tmp_path)
    (folder / "last.ckpt").replace(folder / "previous.ckpt")
    (folder / ".last.ckpt.1").write_bytes(b"what a killed writer leaves")
    fit.run(config(), tmp_path)
    assert capsys.readouterr().err == ""
    assert outcome(folder) == whole
    assert {path.name for path in folder.iterdir()} == {*runs.FILES, ".lock"}


def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing that is loaded is unpickled: not by the bench, not by torch."""
    trace = tmp_path / "ran"

    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(trace),))

    begun = stopped(config("msam"), tmp_path / "runs", 1)
    done = fit.run(config("joint"), tmp_path / "runs")
    for content in (pickle.dumps(Malicious()), _archived(Malicious(), tmp_path / "zip")):
        (begun / "last.ckpt").write_bytes(content)
        assert "Expected a checkpoint at" in refused(["train", "--resume", str(begun)], capsys)
        (done.folder / "best.ckpt").write_bytes(content)
        with pytest.raises(ValueError, match="Expected a checkpoint at"):
            restored(done)
        assert not trace.exists()
    pickle.loads(pickle.dumps(Malicious()))  # it would have
    assert trace.exists()


def _archived(value: object, path: Path) -> bytes:
    torch.save(value, path)
    return path.read_bytes()


# ---- another state than this run's ----------------------------------------------------------------------------------


def test_a_checkpoint_of_another_model_is_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = stopped(config(), tmp_path)
    other = stopped(config(features=8), tmp_path)
    (other / "last.ckpt").replace(folder / "last.ckpt")
    with pytest.raises(
        ValueError, match=r"Expected this run in last.ckpt of .*; delete the folder to train it again\."
    ):
        fit.run(config(), tmp_path)
    checkpoint.save(folder / "last.ckpt", {"epoch": 3})
    with pytest.raises(ValueError, match=r"Expected this run in last\.ckpt"):
        fit.run(config(), tmp_path)


def test_metrics_that_lack_epochs_are_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = stopped(config(), tmp_path)
    (folder / "metrics.csv").unlink()
    with pytest.raises(ValueError, match=r"Expected this run in metrics.csv of .*, found: 0 of 3 epochs; delete"):
        fit.run(config(), tmp_path)


@pytest.mark.parametrize("verb", [["train", *TINY, "--method", "joint"], ["report"], ["runs"]])
def test_a_folder_of_another_version_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    succeeds(["train", *TINY, "--method", "joint"])
    (file,) = Path("runs").glob("*/run.json")
    older = file.read_text().replace('"version": 1', '"version": 0', 1)
    file.write_text(older)
    assert "version 0, this is version 1; delete the folder" in refused(verb, capsys)
    assert file.read_text() == older


def test_a_folder_of_an_older_release_without_newer_settings_is_read(tmp_path: Path) -> None:
    """A field that came later has its default, which is what the older release did."""
    folder = fit.run(config(), tmp_path).folder
    content = json.loads((folder / "run.json").read_text())
    del content["config"]["trunk"]
    (folder / "run.json").write_text(json.dumps(content))
    (record,) = runs.records([tmp_path])
    assert record.summary == content["summary"]


# ---- full and read-only ---------------------------------------------------------------------------------------------


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Files can grow to this many bytes: what a full disk does to a write, at any point of it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 40, 700, 5_000])
def test_a_disk_that_fills_up_ends_in_a_sentence_and_the_run_goes_on_afterwards(
    tmp_path: Path, whole: tuple[Any, ...], size: int
) -> None:
    """Nothing of any file, a part of the metrics, whole metrics but no record, a record but no checkpoint."""
    with room_for(size), pytest.raises(OSError, match="File too large") as error:
        fit.run(config(), tmp_path, every=0)
    folder = runs.folder_of(tmp_path, config())
    assert str(folder) in str(error.value.filename)
    assert not [path for path in folder.iterdir() if path.name.startswith(".") and path.name != ".lock"]
    for path in folder.glob("*.json"):
        json.loads(path.read_text())
    assert outcome(fit.run(config(), tmp_path).folder) == whole


def test_a_full_disk_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        said = refused(["train", *TINY], capsys)
    assert "metrics.csv: no space left on device; make room, then give the same command again" in said
    succeeds(["train", *TINY])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert "no space left on device" in refused(["report", "--output", "page"], capsys)
    assert not [path for path in Path("page").rglob("*") if path.is_file()]


def test_values_that_differ_by_a_rounding_have_an_axis() -> None:
    """A model that always names one class gives such values; drawing them took all the memory there is."""
    low, high = span([1 / 60, 1 / 60 + 2**-58])
    assert low < 1 / 60 - 1e-4
    assert high > 1 / 60 + 1e-4
    assert span([0.1, 0.1001]) == (0.1, 0.1001)


def test_finished_runs_can_be_used_from_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: tuple[Any, ...]
) -> None:
    """The superuser may write anywhere, so that the refusal is made here."""
    fit.run(config(), tmp_path)
    opened, moved = os.open, Path.open

    def denied(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, flags, *arguments, **options)

    def closed(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if set(mode) & set("wax+"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        return moved(self, mode, *arguments, **options)

    monkeypatch.setattr(os, "open", denied)
    monkeypatch.setattr(Path, "open", closed)
    assert fit.run(config(), tmp_path).summary == whole[0]
    with pytest.raises(OSError, match="Read-only file system"):
        fit.run(config(seed=1), tmp_path)


def test_a_failed_append_names_its_file(tmp_path: Path) -> None:
    with room_for(10), pytest.raises(OSError, match="File too large") as error:
        files.append(tmp_path / "a.csv", "0123456789" * 3)
    assert error.value.filename == str(tmp_path / "a.csv")


# ---- clocks and company ---------------------------------------------------------------------------------------------


def test_a_clock_that_goes_backwards_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: tuple[Any, ...]
) -> None:
    now = iter(range(10**9, 0, -(10**6)))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    record = fit.run(config(), tmp_path)
    assert outcome(record.folder) == whole
    seconds = [row["seconds"] for row in record.metrics]
    assert all(0 <= before < after for before, after in zip([0, *seconds], seconds, strict=False))


def _train(root: Path, ready: Any, go: Any) -> None:
    def wait(epoch: int) -> None:
        ready.set()
        go.wait(60)

    fit.run(config(), root, wait)


def test_a_second_process_on_a_run_says_so_waits_and_finds_it_finished(
    tmp_path: Path, whole: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context = multiprocessing.get_context("fork")
    ready, go = context.Event(), context.Event()
    first = context.Process(target=_train, args=(tmp_path, ready, go))
    first.start()
    assert ready.wait(60)
    report = fit._print

    def reporting(words: str) -> None:
        report(words)
        go.set()

    monkeypatch.setattr(fit, "_print", reporting)
    epochs: list[int] = []
    record = fit.run(config(), tmp_path, epochs.append)
    first.join(60)
    assert first.exitcode == 0
    assert epochs == []
    assert capsys.readouterr().err == f"msam: Another process is training {record.folder.name}; waiting for it.\n"
    assert outcome(record.folder) == whole

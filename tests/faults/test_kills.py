"""SIGKILL at random moments: what is resumed ends in the same bytes as what was never interrupted.

`MSAM_KILLS=300 pytest tests/faults/test_kills.py` kills so many runs instead of 30, and studies in proportion.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch

from msam_bench.cli import main
from msam_bench.config.resolve import resolve
from msam_bench.config.run import RunConfig
from msam_bench.runs import executor, fit
from msam_bench.runs import record as runs

pytestmark = pytest.mark.timeout(900)  # on a busy machine; a minute or two on one that is not

FORK = multiprocessing.get_context("fork")
KILLS = int(os.environ.get("MSAM_KILLS", "30"))
TINY = {"epochs": 5, "batch_size": 100, "features": 4, "hidden": 4}
KINDS = [
    ("joint", "late", "digits6"),
    ("msam:every=2:attribution.momentum=0.5", "early", "digits6"),  # counters, running values, dropout, statistics
    ("mmpareto", "late", "digits6"),  # parameters of its own
    ("mslr", "late", "digits6"),  # learns from whole sets between epochs
    ("ogm-ge", "late", "smartwatch"),  # draws noise
]


@cache
def config(kind: int) -> RunConfig:
    method, fusion, data = KINDS[kind % len(KINDS)]
    return resolve(data, fusion, method, **TINY)


def outcome(folder: Path) -> Any:
    """All that must not depend on interruptions: summary, both checkpoints, and the metrics but for seconds."""
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    metrics = [{key: text for key, text in row.items() if key != "seconds"} for row in rows]
    summary = json.loads((folder / "run.json").read_text())["summary"]
    return summary, metrics, (folder / "best.ckpt").read_bytes(), (folder / "last.ckpt").read_bytes()


def begun(work: Callable[[], object]) -> Any:
    """A process of its own, in a group of its own, that does some work."""

    def alone() -> None:
        os.setsid()
        torch.set_num_threads(1)
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 (its descriptor is wanted)
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        work()

    process = FORK.Process(target=alone)
    process.start()
    return process


def spent(process: Any) -> float:
    """Processor seconds of a process: a moment that does not depend on how busy the machine is."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("inf")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def killed(work: Callable[[], object], moment: float) -> bool:
    """Does some work in a process that is killed once it has used so many processor seconds; False if it was done."""
    process = begun(work)
    while process.is_alive() and spent(process) < moment:
        time.sleep(0.002)
    process.kill()
    process.join()
    return bool(process.exitcode == -signal.SIGKILL)


def ended(work: Callable[[], object], after: float | None = None) -> int:
    """How a process ends that does some work and, if it is not done by then, is killed after so many seconds."""
    process = begun(work)
    process.join(after)
    if process.exitcode is None:
        process.kill()
        process.join()
    return int(process.exitcode)


def measured(work: Callable[[], object]) -> float:
    """Processor seconds that some work takes when nobody interrupts it."""
    process, used = begun(work), 0.0
    while process.is_alive():
        used = max(used, spent(process) if spent(process) < 1e9 else 0.0)
        time.sleep(0.002)
    process.join()
    assert process.exitcode == 0
    return used


@pytest.mark.slow
def test_runs_killed_at_random_moments_resume_to_the_same_bytes(tmp_path: Path) -> None:
    """Every run is killed once, at a moment drawn over the whole of it; the rest is trained and compared."""
    draw, kills, attempts = random.Random(0), 0, 0
    works = [partial(fit.run, config(kind), tmp_path / "whole", every=0) for kind in range(len(KINDS))]
    lengths = [measured(work) for work in works]
    expected = [outcome(runs.folder_of(tmp_path / "whole", config(kind))) for kind in range(len(KINDS))]
    while kills < KILLS * 2 // 3:
        kind, root = attempts % len(KINDS), tmp_path / str(attempts)
        attempts += 1
        assert attempts < 10 * KILLS
        if killed(partial(fit.run, config(kind), root, every=0), draw.uniform(0, lengths[kind])):
            kills += 1
            folder = fit.run(config(kind), root, every=0).folder
            assert outcome(folder) == expected[kind], f"kill {kills} of {KINDS[kind]}"
            assert {path.name for path in folder.iterdir()} == {*runs.FILES, ".lock"}


def dying_at(operation: int, cut: float) -> Callable[[], None]:
    """Makes this process kill itself at its n-th operation on a file: a write cut anywhere, either side of a move."""
    seen = 0

    def reached() -> bool:
        nonlocal seen
        seen += 1
        return seen == operation

    def fsync(descriptor: int) -> None:
        if reached():
            os.ftruncate(descriptor, int(cut * os.fstat(descriptor).st_size))
            os.kill(os.getpid(), signal.SIGKILL)

    def replace(self: Path, target: Path, move: Callable[[Path, Path], Path] = Path.replace) -> Path:
        if reached() and cut < 0.5:
            os.kill(os.getpid(), signal.SIGKILL)
        moved = move(self, target)
        if seen == operation:
            os.kill(os.getpid(), signal.SIGKILL)
        return moved

    def install() -> None:
        os.fsync, Path.replace = fsync, replace  # type: ignore[method-assign]

    return install


@pytest.mark.slow
def test_runs_killed_within_a_write_resume_to_the_same_bytes(tmp_path: Path) -> None:
    draw = random.Random(1)
    expected = [outcome(fit.run(config(kind), tmp_path / "whole", every=0).folder) for kind in range(2)]
    for kill in range(KILLS // 3):
        root = tmp_path / str(kill)
        install = dying_at(draw.randrange(1, 18), draw.random())  # a run of five epochs makes more than 18

        def work(kind: int = kill % 2, root: Path = root, install: Callable[[], None] = install) -> None:
            install()
            fit.run(config(kind), root, every=0)

        assert ended(work) == -signal.SIGKILL
        folder = fit.run(config(kill % 2), root, every=0).folder
        assert outcome(folder) == expected[kill % 2], f"kill {kill}"
        assert {path.name for path in folder.iterdir()} == {*runs.FILES, ".lock"}


# ---- comparisons and studies: a command, its workers, their measurements and its report -----------------------------

COMMON = ["--data", "smartwatch", "--seeds", "2", "--methods", "joint,msam", "--workers", "2", "--batch-size", "400"]
SMALL = ["--epochs", "3", "--features", "3", "--hidden", "3"]
COMPARE = ["compare", "--baselines", "0", *COMMON, *SMALL]


def commanded(arguments: list[str], place: Path) -> None:
    """The command in this process, with workers that are forked: a fresh one would import torch again each time."""
    os.chdir(place)
    forked = partial(ProcessPoolExecutor, mp_context=FORK, initializer=executor._begin)
    executor.processes = forked
    try:
        main(arguments)
    except SystemExit as end:
        os._exit(int(str(end.code or 0)))


def results(place: Path) -> Any:
    found: dict[str, Any] = {folder.name: outcome(folder) for folder in (place / "runs").iterdir()}
    for path in sorted([*place.glob("runs/*/flatness.json"), *place.glob("reports/*/flatness.csv")]):
        found[str(path.relative_to(place))] = path.read_bytes()
    assert list(place.glob("reports/*/report.html")) or list(place.glob("reports/*/*.html"))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "kills"), [(COMPARE, KILLS // 6)])
def test_studies_killed_at_random_moments_resume_to_the_same_bytes(
    tmp_path: Path, arguments: list[str], kills: int
) -> None:
    """The command is killed, never its workers: they leave with it, and the same command continues."""
    draw, whole, done, attempts = random.Random(2), tmp_path / "whole", 0, 0
    whole.mkdir()
    began = time.monotonic()
    assert ended(partial(commanded, arguments, whole)) == 0
    length = time.monotonic() - began
    expected = results(whole)
    while done < kills:
        attempts += 1
        assert attempts < 5 * kills
        place = tmp_path / str(attempts)
        place.mkdir()
        if ended(partial(commanded, arguments, place), draw.uniform(0, length)) == -signal.SIGKILL:
            assert ended(partial(commanded, arguments, place)) == 0
            assert results(place) == expected, f"kill {done}"
            done += 1


TINY_RUNS = ["--seeds", "1", "--epochs", "2", "--features", "3", "--hidden", "3", "--batch-size", "200"]
FLATNESS = ["--methods", "joint,sam,msam", "--samples", "50", "--points", "3"]


def finished(place: Path) -> dict[str, tuple[int, bytes]]:
    """When the files of each finished run were last written, and its record."""
    found = {}
    for record in place.glob("runs/*/run.json"):
        if json.loads(record.read_text())["status"] == "finished":
            files = sorted(path for path in record.parent.iterdir() if path.name in runs.FILES)
            found[record.parent.name] = max(path.stat().st_mtime_ns for path in files), record.read_bytes()
    return found


def killed_after(work: Callable[[], object], place: Path, count: int) -> None:
    """Does some work in a process that is killed as soon as so many runs are finished."""
    process = begun(work)
    while process.is_alive() and len(finished(place)) < count:
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.skipif("MSAM_KILLS" not in os.environ, reason="by hand: MSAM_KILLS=30 pytest tests/faults")
@pytest.mark.parametrize(("arguments", "count"), [(["study", "dominance"], 4), (["study", "flatness", *FLATNESS], 2)])
def test_a_killed_study_trains_only_what_is_missing(tmp_path: Path, arguments: list[str], count: int) -> None:
    """Finished runs are not touched again, and the study ends as if nobody had killed it."""
    whole, place = tmp_path / "whole", tmp_path / "killed"
    work = [*arguments, "--workers", "2", *TINY_RUNS, "--report", "report"]
    for folder in (whole, place):
        folder.mkdir()
    assert ended(partial(commanded, work, whole)) == 0
    killed_after(partial(commanded, work, place), place, count)
    before = finished(place)
    assert ended(partial(commanded, work, place)) == 0
    after = finished(place)
    assert count <= len(before) < len(after)
    assert {name: after[name] for name in before} == before
    assert after.keys() == finished(whole).keys()
    tables = [path.name for pattern in ("*.md", "*.csv") for path in (whole / "report").glob(pattern)]
    assert tables
    for name in tables:
        assert (place / "report" / name).read_bytes() == (whole / "report" / name).read_bytes(), name

"""The real command: what it prints, what it writes, how it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from msam_bench.cli import main

FAST = ["--epochs", "2", "--batch-size", "100"]


def msam(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "msam_bench", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)


def refused(result: subprocess.CompletedProcess[str], words: str) -> None:
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stderr.startswith("msam: ")
    assert re.search(words, result.stderr), result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    place = tmp_path_factory.mktemp("compare")
    methods = "joint,sam,msam,msam:rho=0.3:scope=encoder"
    return place, msam("compare", "--methods", methods, "--seeds", "2", "--baselines", "0", *FAST, cwd=place)


def test_compare_prints_the_table_a_sentence_and_the_report(
    compared: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    place, result = compared
    assert result.returncode == 0, result.stderr
    assert all(word in result.stdout for word in ("method", "joint", "msam:rho=0.3", "tau", "fou", "gradients"))
    assert "Described, not tested, for fewer than 6 seeds" in result.stdout
    assert f"Report: {Path('reports/digits6-late/report.html')}" in result.stdout
    written = {path.name for path in (place / "reports/digits6-late").iterdir()}
    assert written == {"figures", "report.html", "table.csv", "table.md"}
    assert len(list((place / "runs").glob("*/run.json"))) == 8


def test_all_methods_that_suit_are_compared_and_the_others_are_named(tmp_path: Path) -> None:
    asked = ("--methods", "all,sam:rho=0.3", "--fusion", "early", "--seeds", "1", "--budget", "gradients")
    asked += ("--tune", "none", "--baselines", "0")
    result = msam("compare", *asked, "--epochs", "1", "--batch-size", "100", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    table = (tmp_path / "reports/digits6-early/table.md").read_text()
    page = (tmp_path / "reports/digits6-early/report.html").read_text()
    for said in (
        "mla is left out: MLA needs a model with an additive fusion (such as LateFusion)",
        "pmr-mean-of-others stands for pmr: PMR compares two modalities, found 6",
    ):
        assert all(said in text for text in (result.stdout, table, page))
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in table.splitlines() if line.startswith("| ")}
    assert {"joint", "sam", "sam:rho=0.3", "agm", "mmpareto", "pmr-mean-of-others"} < set(rows)
    assert not {"pmr", "mla", "ogm", "unimodal", "msam-random"} & set(rows)
    assert not re.search(r"\bnan\b", table.lower())
    place = rows["method"].index("gradients")
    assert {rows[name][place] for name in ("joint", "sam", "mmpareto")} == {"2"}  # two batches of a hundred
    assert len(list((tmp_path / "runs").iterdir())) == len(rows) - 3  # header, rule, the majority class


def test_compare_again_trains_nothing_and_report_rebuilds_the_same_table(
    compared: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    place, _ = compared
    before = {path: path.stat().st_mtime_ns for path in (place / "runs").glob("*/*.*")}
    table = (place / "reports/digits6-late/table.csv").read_text()
    result = msam("report", "runs", "--output", "again", cwd=place)
    assert result.returncode == 0, result.stderr
    assert sorted((place / "again/table.csv").read_text().splitlines()) == sorted(table.splitlines())
    assert before == {path: path.stat().st_mtime_ns for path in (place / "runs").glob("*/*.*")}


def test_runs_are_listed_and_filtered(compared: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    place, _ = compared
    assert msam("runs", cwd=place).stdout.count("finished") == 8
    assert msam("runs", "--method", "joint", cwd=place).stdout.count("finished") == 2
    assert msam("runs", "--data", "smartwatch", cwd=place).stdout.count("finished") == 0


def test_train_shows_a_run_and_resume_reads_its_folder(tmp_path: Path) -> None:
    first = msam("train", "--method", "joint", *FAST, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "test accuracy" in first.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    again = msam("train", "--resume", folder, cwd=tmp_path)
    assert again.returncode == 0
    assert [line for line in again.stdout.splitlines() if "accuracy" in line] == [
        line for line in first.stdout.splitlines() if "accuracy" in line
    ]


def test_data_sets_are_listed_and_shown(tmp_path: Path) -> None:
    listed = msam("data", "list", cwd=tmp_path).stdout
    assert all(word in listed for word in ("digits6", "smartwatch", "CC BY 4.0", "200 / 200 / 1,600"))
    shown = msam("data", "show", "smartwatch", cwd=tmp_path).stdout
    assert all(word in shown for word in ("accelerometer", "[3, 75], stored as", "subject", "1802.01489"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "--methods", "joint,sma"], "Unknown method 'sma': write 'sam'"),
        (["compare", "--data", "digits"], "found 'digits': write 'digits6'"),
        (["compare", "--seeds", "0"], "at least one of seeds, found 0"),
        (["compare", "--methods", ","], "at least one of methods"),
        (["compare", "--epoch", "3"], "--epoch"),
        (["compare", "--epochs", "0"], "Setting 'epochs'"),
        (["compare", "--epochs", "two"], "epochs"),
        (["compare", "--fusion", "middle"], "fusion"),
        (["compare", "--workers", "0"], "workers"),
        (["comparr"], "comparr"),
        (["train", "--method", "sam:rho=-1"], "rho must be a number of at least 0, found -1"),
        (["train", "--method", "msam:dominant=text"], "dominant must be one of .*found 'text'"),
        (["train", "--method", "msam-encoder+head", "--fusion", "early"], "needs a model with .*would work"),
        (["train", "--config", "absent.toml"], "Expected a TOML file at absent.toml"),
        (["train", "--resume", "nowhere"], "Expected a run in nowhere, found no run.json there"),
        (["diagnose", "nowhere"], "Expected a run in nowhere, found no run.json there; name the folder of a run"),
        (["diagnose", "nowhere", "--data", "digits6"], "A run brings its own data"),
        (["diagnose", "--data", "cremad"], "Expected cremad prepared in"),
        (["diagnose", "--report", __file__], "A report is written into a folder"),
        (["study", "dominance", "--report", __file__], "A report is written into a folder"),
        (["data", "prepare", "avmnist", "nowhere"], "nowhere"),
        (["train", "--lr", "1e20", "--method", "joint"], "The training loss became"),
        (["report", "nowhere"], "Expected a folder of runs at nowhere"),
        (["report", "."], "at least one of finished runs"),
        (["data", "show", "digit6"], "write 'digits6'"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    tmp_path: Path,
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    printed, said = capsys.readouterr()
    assert " of None " not in printed
    refused(subprocess.CompletedProcess(arguments, int(str(stopped.value)), printed, said), words)
    assert not list(tmp_path.glob("reports/*"))


def test_an_unknown_key_in_a_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("epoch = 3\n")
    refused(msam("train", "--config", "run.toml", cwd=tmp_path), "Unknown setting 'epoch': write 'epochs'")


def test_a_corrupt_run_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    assert msam("train", "--method", "joint", *FAST, cwd=tmp_path).returncode == 0
    (folder,) = (tmp_path / "runs").iterdir()
    content = json.loads((folder / "run.json").read_text()) | {"status": "running"}
    (folder / "run.json").write_text(json.dumps(content))
    (folder / "last.ckpt").write_bytes(b"broken")
    refused(msam("train", "--method", "joint", *FAST, cwd=tmp_path), "Expected a checkpoint at .*last.ckpt")
    assert (folder / "last.ckpt").read_bytes() == b"broken"


def test_a_read_only_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    refused(msam("train", "--method", "joint", *FAST, cwd=tmp_path), "runs")


def test_help_is_quick_and_imports_no_torch(tmp_path: Path) -> None:
    spent = []
    for _ in range(3):
        before = os.times()
        result = msam("--help", cwd=tmp_path)
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
        assert result.returncode == 0
        assert "compare" in result.stdout
    assert min(spent) < 1.0  # processor seconds: the machine may be busy
    code = "import sys; from msam_bench.cli import app; assert 'torch' not in sys.modules, 'torch'"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


@pytest.mark.slow
def test_a_killed_comparison_leaves_no_worker_and_continues_where_it_was(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "msam_bench", "compare", "--methods", "joint,sam", "--seeds", "2", "--epochs", "4"]
    command += ["--baselines", "0"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/metrics.csv")) and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(workers) >= 2
    while any(_alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_alive(pid) for pid in workers)
    result = msam(*command[3:], cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert msam("runs", cwd=tmp_path).stdout.count("finished") == 4


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

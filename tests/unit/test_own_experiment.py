"""The example of an experiment of one's own: killed, continued, and asked by the command line."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from msam_bench.runs.record import records

ROOT = Path(__file__).parents[2]
SCRIPT = """
    from own_experiment import experiment

    if __name__ == "__main__":
        found = experiment.compare("joint,msam", seeds=2, workers=2, runs="runs", epochs=2, baselines=0, tune="none")
        print(found.evidence.csv())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own_experiment.py").write_text((ROOT / "examples" / "own_experiment.py").read_text())
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    return tmp_path


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen([sys.executable, *words], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def without_seconds(text: str) -> list[dict[str, str]]:
    table = text[text.index("method,") :].strip()
    return [{key: row[key] for key in row if key != "seconds"} for row in csv.DictReader(table.splitlines())]


def test_user_code_has_at_most_forty_lines() -> None:
    text = (ROOT / "examples" / "own_experiment.py").read_text()
    code = re.sub(r'^""".*?"""', "", text, flags=re.S).splitlines()
    assert len([line for line in code if line.strip() and not line.startswith(("import ", "from "))]) <= 40


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_it_trains_only_what_is_missing_and_ends_in_the_same_table(folder: Path, tmp_path: Path) -> None:
    whole, _ = started(folder, "script.py").communicate()
    (folder / "runs").rename(folder / "whole")
    process = started(folder, "script.py")
    done: dict[Path, float] = {}
    while not done and process.poll() is None:
        time.sleep(0.05)
        files = [path for path in (folder / "runs").glob("*/run.json") if '"status": "finished"' in path.read_text()]
        done = {path: path.stat().st_mtime for path in files}
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert done
    again, _ = started(folder, "script.py").communicate()
    assert without_seconds(again) == without_seconds(whole)
    finished = {record.folder.name for record in records([folder / "runs"])}
    assert finished == {record.folder.name for record in records([folder / "whole"])}
    assert {path: path.stat().st_mtime for path in done} == done
    command = ["-m", "msam_bench", "compare", "--experiment", "own_experiment:experiment", "--methods", "joint,msam"]
    shown, _ = started(
        folder, *command, "--seeds", "2", "--epochs", "2", "--baselines", "0", "--tune", "none"
    ).communicate()
    assert {record.folder.name for record in records([folder / "runs"])} == finished
    assert "Report: " in shown
    (table,) = (folder / "reports").glob("*/table.csv")
    assert "test_macro_f1_mean" in table.read_text()  # the first metric of the experiment is what is judged

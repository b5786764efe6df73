"""SIGKILL at random moments of a run that torchrun trains: continued by the same command, it ends in the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faults.ranks import config
from faults.test_kills import KILLS, outcome
from msam_bench.runs import record as runs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ddp,
    pytest.mark.timeout(600),
    pytest.mark.skipif("MSAM_KILLS" not in os.environ, reason="by hand: MSAM_KILLS=30 pytest tests/faults"),
]


def launched(folder: Path) -> subprocess.Popen[bytes]:
    """torchrun, with two processes."""
    script, tests = Path(__file__).with_name("ranks.py"), str(Path(__file__).parents[1])
    paths = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", str(script)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    return subprocess.Popen([*command, str(folder)], env=environment)


def rows(folder: Path) -> int:
    """Epochs that have been recorded."""
    try:
        return (runs.folder_of(folder / "runs", config()) / "metrics.csv").read_text().count("\n") - 1
    except OSError:
        return 0


def killed(folder: Path, whose: list[str], after: int) -> None:
    """Kills some of the processes once so many epochs have been recorded, and waits for the end of all."""
    launcher = launched(folder)
    while rows(folder) < after:
        assert launcher.poll() is None
        time.sleep(0.002)
    if "launcher" in whose:
        launcher.kill()
    for rank in {"0", "1"} & {*whose}:
        os.kill(int((folder / f"{rank}.pid").read_text()), signal.SIGKILL)
    assert launcher.wait(250) != 0
    assert rows(folder) < config().epochs


WHOSE = (["launcher", "0", "1"], ["1"], ["0"])
"""All of it is killed, or one process of two, which ends the other."""


def test_a_run_of_two_killed_again_and_again_ends_in_the_same_bytes(tmp_path: Path) -> None:
    draw, kills, place = random.Random(3), max(2, KILLS // 15), tmp_path / "killed"
    assert launched(tmp_path / "whole").wait(250) == 0
    for kill, after in enumerate(sorted(draw.sample(range(2, config().epochs - 4), kills))):
        killed(place, WHOSE[kill % 3], after)
    assert launched(place).wait(250) == 0
    folder = runs.folder_of(place / "runs", config())
    assert outcome(folder) == outcome(runs.folder_of(tmp_path / "whole/runs", config()))
    assert {path.name for path in folder.iterdir()} == {*runs.FILES, ".lock"}

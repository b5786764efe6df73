"""Every example runs as a user runs it, and shows what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("0*.py"))  # own_experiment has tests of its own
SHOWN = {
    "01_three_lines": ("dominant", "share", "test accuracy 0.9"),
    "02_own_model": ("`encoders` and `fuse`", "`forward` only", "refused: MSAM needs a model with"),
    "03_own_modalities": ("test accuracy 0.9", "contributions by accuracy", "contributions by loss"),
    "04_mixed_precision_accumulation": ("gradient norm", "learning rate", "loss scale"),
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_shows_what_it_is_about(path: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", str(path)]
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert result.returncode == 0, result.stderr
    assert not [words for words in SHOWN[path.stem] if words not in result.stdout], result.stdout
    assert not list(tmp_path.iterdir())


def test_every_example_is_known() -> None:
    assert {path.stem for path in EXAMPLES} == set(SHOWN)

"""Tuning is equal: seven trials for every method, each a run that can be made, and one search that tries them."""

from __future__ import annotations

import csv
import importlib.util
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from msam_bench.config.run import RunConfig
from msam_bench.config.search_space import listed, space
from msam_bench.registry import build, methods, rivals
from msam_bench.tuning.study import _take_up
from msam_bench.tuning.sweep import Sweep

SCRIPT = Path(__file__).parents[2] / "scripts" / "tune.py"
RIVALS = [name for name, entry in methods().items() if not entry.control]


@pytest.fixture(scope="module")
def tune() -> Any:
    spec = importlib.util.spec_from_file_location("tune", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tune"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", RIVALS)
def test_every_method_has_seven_different_trials_that_can_be_made(name: str) -> None:
    sweep = Sweep("smartwatch", "late", trials=7, seeds=3)
    configs = [sweep.resolved(name, trial, 1000) for trial in listed(name)]
    assert len({config.identity for config in configs}) == 7
    for config in configs:
        build(config.method, {"accelerometer": 64, "gyroscope": 64}, 7)


def test_the_space_has_no_method_that_is_not_tuned() -> None:
    names = set(space())
    assert names == set(rivals())


def test_the_script_tunes_by_the_search_of_the_command(
    tune: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every listed trial of each method, joint training's learning rate for the others, and a file that is read."""

    @contextmanager
    def here(workers: int) -> Iterator[Executor]:
        yield Scored()

    monkeypatch.setattr(tune, "processes", here)
    names = ["--methods", "joint,sam", "--seeds", "2", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["tune.py", "--data", "smartwatch", *names])
    tune.main()
    with (tmp_path / "tuning-smartwatch-late.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["method"] for row in rows] == ["joint"] * 7 + ["sam"] * 7
    assert {row["arguments"] for row in rows[7:]} == {f"rho={trial['rho']}" for trial in listed("sam")}
    assert {(row["seeds"], row["pruned"]) for row in rows} == {("2", "False")}
    assert {row["lr"] for row in rows[7:]} == {"0.05"}
    shipped = tomllib.loads(capsys.readouterr().out.partition("\n\n")[2])
    assert shipped == {"run": {"optimizer": {"lr": 0.05}}, "late": {"joint": {}, "sam": {"rho": 0.2}}}


class Scored(Executor):
    """Runs that are the better the nearer their settings are to lr 0.05 and rho 0.2; nothing is trained."""

    def submit(self, function: Any, /, config: RunConfig, root: Path) -> Future[Any]:  # type: ignore[override]
        miss = abs(config.optimizer.lr - 0.05) + abs(float(config.method.params.get("rho", 0.2)) - 0.2) / 4
        done: Future[Any] = Future()
        done.set_result(SimpleNamespace(summary={"valid_accuracy": 0.9 - miss, "valid_loss": miss}))
        return done


def test_a_trial_that_optuna_does_not_identify_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"Expected optuna to identify the trial .*; install optuna 4, or name"):
        _take_up(SimpleNamespace(), SimpleNamespace())  # type: ignore[arg-type]

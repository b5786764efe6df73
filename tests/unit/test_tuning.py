"""Tuning is equal: seven trials for every method, each a run that can be made, and a race that gives each the same."""

from __future__ import annotations

import importlib.util
import sys
from concurrent.futures import Executor, Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from msam_bench.config.run import RunConfig
from msam_bench.config.search_space import space
from msam_bench.registry import build, methods, rivals

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
def test_every_method_has_seven_different_trials_that_can_be_made(tune: Any, name: str) -> None:
    trials = tune.grid(name)
    configs = [tune.settings("smartwatch", "late", name, trial, 1000) for trial in trials]
    assert len({config.identity for config in configs}) == 7
    for config in configs:
        build(config.method, {"accelerometer": 64, "gyroscope": 64}, 7)


def test_every_other_trial_is_taken_where_there_are_to_be_fewer(tune: Any) -> None:
    assert [trial["rho"] for trial in tune.grid("sam", 3)] == [0.02, 0.1, 0.5]
    assert [trial["rho"] for trial in tune.grid("sam", 4)] == [0.02, 0.1, 0.5, 2.0]


def test_the_space_has_no_method_that_is_not_tuned() -> None:
    names = set(space())
    assert names == set(rivals())


class Pretended(Executor):
    """Runs that score what a function says; nothing is trained."""

    def __init__(self, score: Any) -> None:
        self.score, self.asked = score, []

    def submit(self, function: Any, /, config: RunConfig, root: Path) -> Future[Any]:  # type: ignore[override]
        self.asked.append((config.method.name, config.method.params.get("rho"), config.seed))
        found: Future[Any] = Future()
        try:
            accuracy, loss = self.score(config)
            found.set_result(SimpleNamespace(summary={"valid_accuracy": accuracy, "valid_loss": loss}))
        except ValueError as error:
            found.set_exception(error)
        return found


def test_finalists_are_trained_at_every_seed_and_the_best_of_them_is_chosen(tune: Any) -> None:
    def score(config: RunConfig) -> tuple[float, float]:
        rho = config.method.params["rho"]
        if rho == 2.0:
            raise ValueError("It diverged.")
        first = {0.5: 0.9, 0.2: 0.8}.get(rho, 0.7)
        return (first, 1.0) if config.seed == 1000 else (0.99 if rho == 0.2 else 0.6, 1.0)

    executor = Pretended(score)
    race = tune.Race("digits6", "late", 3, 2, Path("runs"), executor)
    rows = race.run([(name, trial) for name in ("sam", "gnp") for trial in tune.grid(name)])
    assert [row["seeds"] for row in rows] == [1, 1, 1, 3, 3, 1, 1] * 2
    assert len(set(executor.asked)) == 2 * (7 + 2 * 2)
    best = tune.best([row for row in rows if row["method"] == "sam"])
    assert best["arguments"] == "rho=0.2"
    assert best["valid_accuracy"] == pytest.approx((0.8 + 0.99 + 0.99) / 3)
    assert rows[6]["valid_accuracy"] == 0.0  # diverged


def test_equal_accuracies_go_to_the_lower_loss(tune: Any) -> None:
    executor = Pretended(lambda config: (0.9, abs(config.method.params["rho"] - 0.1)))
    rows = tune.Race("digits6", "late", 1, 7, Path("runs"), executor).run([("sam", t) for t in tune.grid("sam")])
    assert tune.best(rows)["arguments"] == "rho=0.1"


def test_what_is_chosen_is_said_as_defaults(tune: Any) -> None:
    row = {"method": "msam-encoder+head", "valid_accuracy": 0.91, "arguments": "rho=0.1:every=2", "lr": 0.2}
    assert list(tune.chosen("late", row, 0.1)) == [
        '[late."msam-encoder+head"]  # validation 0.9100',
        "rho = 0.1",
        "every = 2",
        "optimizer.lr = 0.2",
    ]

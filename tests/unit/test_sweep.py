"""A sweep: equal trials, published ones first, pruning, the file it ends in, and the same trials after any kill."""

from __future__ import annotations

import csv
import multiprocessing
import os
import re
import signal
import sys
import tomllib
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from msam_bench.cli import main
from msam_bench.config.resolve import label_of, resolve
from msam_bench.config.run import RunConfig
from msam_bench.config.search_space import listed, opening, ranges, space
from msam_bench.config.tuned import text
from msam_bench.runs.record import Diverged, records
from msam_bench.studies import Request, study
from msam_bench.tuning.sweep import Sweep
from msam_bench.tuning.trial import best

Scored = Callable[[RunConfig], tuple[float, float]]


class Pretended(Executor):
    """Runs that score what a function says; all that a record tells is its validation."""

    def __init__(self, score: Scored) -> None:
        self.score, self.asked = score, []

    def submit(self, function: Any, /, config: RunConfig, root: Path) -> Future[Any]:  # type: ignore[override]
        self.asked.append(config)
        found: Future[Any] = Future()
        try:
            accuracy, loss = self.score(config)
            found.set_result(SimpleNamespace(summary={"valid_accuracy": accuracy, "valid_loss": loss}))
        except Diverged as error:
            found.set_exception(error)
        return found


class Here(Executor):
    """Trains in this process, which is killed before the run of that number."""

    def __init__(self, fatal: int = -1) -> None:
        self.left = fatal

    def submit(self, function: Any, /, *given: Any) -> Future[Any]:  # type: ignore[override]
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
        found: Future[Any] = Future()
        found.set_result(function(*given))
        return found


def near(rho: float, lr: float = 0.1) -> Scored:
    """Settings are the better the nearer; seeds differ by half a point."""

    def score(config: RunConfig) -> tuple[float, float]:
        found = config.method.params.get("rho", rho)
        miss = abs(found - rho) / 4 + abs(config.optimizer.lr - lr)
        return 0.9 - miss + (config.seed % 2) / 200, miss

    return score


def sweep(trials: int, seeds: int = 3, **settings: Any) -> Sweep:
    return Sweep("digits6", "late", trials, seeds, settings)


def test_the_opening_of_a_search_is_the_published_trials_coarse_ones_first() -> None:
    assert [trial["rho"] for trial in opening("sam")] == [0.02, 0.1, 0.5, 2.0, 0.05, 0.2, 1.0]
    for name in space():
        assert sorted(map(str, opening(name))) == sorted(map(str, listed(name)))
        assert all(0 < least <= greatest for least, greatest in ranges(name).values())
    assert ranges("reconboost") == {"boost": (1, 4), "rectify": (1, 4), "w1": (1.0, 5.0)}
    assert listed("ogm-pairwise") == listed("ogm")


def test_every_method_gets_as_many_trials_and_joint_trainings_learning_rate(tmp_path: Path) -> None:
    executor = Pretended(near(0.3))
    told: list[tuple[int, int]] = []
    names = ["sam", "joint", "reconboost"]
    watch = lambda done, total: told.append((done, total))  # noqa: E731
    found = sweep(10).run(names, tmp_path / "a.sqlite", tmp_path, executor, watch)
    assert {name: len(own) for name, own in found.items()} == dict.fromkeys(names, 10)
    assert [trial.arguments for trial in found["sam"][:7]] == opening("sam")
    drawn = [trial.arguments["rho"] for trial in found["sam"][7:]]
    assert all(0.02 <= rho <= 2.0 and float(f"{rho:.3g}") == rho for rho in drawn)
    assert len({*drawn, *(trial["rho"] for trial in opening("sam"))}) > 7
    assert {trial.lr for trial in found["sam"]} == {best(found["joint"]).lr} == {0.1}
    assert all(isinstance(trial.arguments["boost"], int) for trial in found["reconboost"])
    assert {config.seed for config in executor.asked} == {1000, 1001, 1002}
    assert told[-1] == (30, 30)


def test_a_given_learning_rate_is_kept_and_joint_training_still_has_its_trials(tmp_path: Path) -> None:
    found = sweep(3, 1, lr=0.3).run(["joint", "sam"], tmp_path / "a.sqlite", tmp_path, Pretended(near(0.3)))
    assert {trial.lr for trial in found["sam"]} == {0.3}
    assert [trial.lr for trial in found["joint"]] == [0.005, 0.02, 0.1]


def test_what_is_clearly_behind_is_pruned_and_counted_and_what_is_near_is_not(tmp_path: Path) -> None:
    executor = Pretended(near(0.02))
    found = sweep(4, 5).run(["sam"], tmp_path / "a.sqlite", tmp_path, executor)["sam"]
    assert [(trial.arguments["rho"], trial.pruned, len(trial.scores)) for trial in found] == [
        (0.02, False, 5),
        (0.1, True, 2),
        (0.5, True, 2),
        (2.0, True, 2),
    ]
    level = sweep(4, 5).run(["gnp"], tmp_path / "a.sqlite", tmp_path, Pretended(lambda config: (0.9, 1.0)))["gnp"]
    assert [trial.pruned for trial in level] == [False] * 4


def test_a_run_that_diverges_is_always_wrong_and_equals_go_to_the_lower_loss(tmp_path: Path) -> None:
    def score(config: RunConfig) -> tuple[float, float]:
        if config.method.params["rho"] == 0.02:
            raise Diverged("It diverged.")
        return 0.9, abs(config.method.params["rho"] - 0.5)

    found = sweep(4).run(["sam"], tmp_path / "a.sqlite", tmp_path, Pretended(score))["sam"]
    assert (found[0].accuracy, found[0].row()["diverged"], found[0].pruned) == (0.0, 3, False)
    assert best(found).arguments == {"rho": 0.5}


def test_more_trials_go_on_and_fewer_are_the_first_of_them(tmp_path: Path) -> None:
    path, executor = tmp_path / "a.sqlite", Pretended(near(0.3))
    whole = sweep(9).run(["sam"], tmp_path / "b.sqlite", tmp_path, executor)["sam"]
    assert sweep(3).run(["sam"], path, tmp_path, executor)["sam"] == whole[:3]
    assert sweep(9).run(["sam"], path, tmp_path, executor)["sam"] == whole
    asked = len(executor.asked)
    assert sweep(5).run(["sam"], path, tmp_path, executor)["sam"] == whole[:5]
    assert len(executor.asked) == asked
    sweep(3, epochs=2).run(["sam"], path, tmp_path, executor)  # other settings are another question
    assert len(executor.asked) > asked


@pytest.mark.slow
def test_a_sweep_that_is_killed_again_and_again_ends_in_the_same_trials(tmp_path: Path) -> None:
    asked = Sweep("digits6x2", "late", 2, 3, {"epochs": 1, "batch_size": 100, "features": 4, "hidden": 4})
    path, root = tmp_path / "killed.sqlite", tmp_path / "runs"

    def killed(fatal: int) -> None:
        torch.set_num_threads(1)
        asked.run(["joint", "sam"], path, root, Here(fatal))

    Sweep("digits6x2", "late", 1, 1, asked.settings).run(["cml"], path, root, Here())  # what is slow to import is there
    for fatal in (1, 2, 4, 4):  # in a trial, between its seeds, between trials and between methods
        process = multiprocessing.get_context("fork").Process(target=killed, args=(fatal,))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    found = asked.run(["joint", "sam"], path, root, Here())
    assert found == asked.run(["joint", "sam"], tmp_path / "whole.sqlite", root, Here())
    assert {name: len(own) for name, own in found.items()} == {"joint": 2, "sam": 2}
    scored = sum(len(trial.scores) for own in found.values() for trial in own)
    assert len(records([root])) == 1 + scored


def test_a_second_sweep_of_the_same_file_and_a_file_of_something_else_are_refused(tmp_path: Path) -> None:
    def again(config: RunConfig) -> tuple[float, float]:
        with pytest.raises(ValueError, match=r"Another sweep is writing .*a\.sqlite; wait for it"):
            sweep(1, 1).run(["sam"], tmp_path / "a.sqlite", tmp_path, Pretended(near(0.1)))
        return 0.9, 0.1

    sweep(1, 1).run(["sam"], tmp_path / "a.sqlite", tmp_path, Pretended(again))
    (tmp_path / "b.sqlite").write_text("something else " * 100)
    with pytest.raises(
        ValueError, match=r"Expected a study of msam sweep at .*b\.sqlite, found: file is not a database"
    ):
        sweep(1, 1).run(["sam"], tmp_path / "b.sqlite", tmp_path, Pretended(near(0.1)))


# ---- the file of what was chosen -------------------------------------------------------------------------------------


CHOSEN = {"joint": {}, "msam": {"rho": 0.3}, "msam-encoder+head": {"rho": 0.7}, "mla": {"optimizer": {"lr": 0.2}}}


@pytest.fixture
def chosen(tmp_path: Path) -> Path:
    path = tmp_path / "chosen.toml"
    path.write_text(text(["Chosen by hand."], "late", 0.07, CHOSEN))
    return path


def test_what_was_chosen_comes_over_the_shipped_settings_and_under_what_is_given(chosen: Path) -> None:
    assert tomllib.loads(chosen.read_text()) == {"run": {"optimizer": {"lr": 0.07}}, "late": CHOSEN}
    run = resolve("digits6", "late", "msam", tuned=chosen)
    assert (run.method.params, run.optimizer.lr, run.epochs) == ({"rho": 0.3}, 0.07, 40)
    assert resolve("digits6", "late", "msam-encoder+head", tuned=chosen).method.params == {"rho": 0.7}
    assert resolve("digits6", "late", "mla", tuned=chosen).optimizer.lr == 0.2
    shipped = resolve("digits6", "late", "sam").method.params
    assert resolve("digits6", "late", "sam", tuned=chosen).method.params == shipped  # not in the file
    assert resolve("digits6", "late", "msam:rho=0.4", tuned=chosen, lr=0.5).method.params == {"rho": 0.4}
    assert resolve("digits6", "late", "msam", tuned=chosen, lr=0.5).optimizer.lr == 0.5


def test_a_tuned_method_keeps_its_name_and_is_the_run_that_its_settings_make(chosen: Path) -> None:
    run = resolve("digits6", "late", "msam", tuned=chosen)
    written = resolve("digits6", "late", "msam:rho=0.3", lr=0.07)
    assert (label_of(run), label_of(written)) == ("msam", "msam:rho=0.3")
    assert run.identity == written.identity
    assert label_of(resolve("digits6", "late", "msam:rho=0.4", tuned=chosen)) == "msam:rho=0.4"


def test_controls_of_a_study_have_what_was_chosen_for_msam(chosen: Path) -> None:
    for name in ("dominance", "normalization"):
        runs = study(name).plan(Request(("digits6",), "late", range(1), settings={"tuned": chosen}))
        family = [run for run in runs if run.method.name in {"msam", "msam-gradient-share"}]
        assert {run.method.params["rho"] for run in family} == {0.3}
        assert "msam" in {label_of(run) for run in family}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("rho =", "Expected a TOML file at"),
        ("[late.samm]\nrho = 1", "Unknown method 'samm' in .*: write 'sam' if you meant that"),
        ("[early.sam]\nrho = 1", "Nothing in .* is for late fusion: sweep with --fusion late"),
        ("[lat.sam]\nrho = 1", "has 'lat', expected run, late and early"),
        ("late = 3", r"Expected a section \[late\] in .*, found 3"),
        ("[late]\nsam = 3", "Expected sections of settings for 'sam' in .*, found 3"),
        ("[late.sam]\nradius = 1", "Method 'sam' has no argument 'radius'"),
        ("[late.sam]\nrho = [1, 2]", r"Setting 'method\.params\.rho"),
        ("[late.sam.optimizer]\nrate = 1", "Unknown setting 'optimizer.rate'"),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence(
    content: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(content)
    _refused(["train", "--method", "sam", "--tuned", str(path), "--runs", str(tmp_path)], words, capsys)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["--methods", "sam:rho=0.1"], "nothing to search for 'sam:rho=0.1'; name methods without arguments, of joint"),
        (["--methods", "unimodal"], "nothing to search for 'unimodal'"),
        (["--methods", "samm"], "nothing to search for 'samm'"),
        (["--trials", "0"], "Expected at least one of trials, found 0"),
        (["--data", "cremad"], "Expected cremad prepared in"),
    ],
)
def test_an_impossible_sweep_is_refused_before_anything_is_written(
    asked: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MSAM_DATA", raising=False)
    _refused(["sweep", *asked], words, capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_of_data_that_are_not_here_starts_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MSAM_DATA", raising=False)
    monkeypatch.setattr("msam_bench.runs.executor.processes", lambda workers: pytest.fail("a pool was started"))
    _refused(["compare", "--data", "cremad"], "Expected cremad prepared in", capsys)


def test_without_optuna_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith(("msam_bench.tuning.s", "optuna"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    _refused(["sweep"], r"msam sweep needs optuna: pip install 'msam\[bench,sweep\]'", capsys)


def _done(command: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 0


def _refused(command: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("msam: ")
    assert said.count("\n") == 1
    assert re.search(words, said), said


@pytest.mark.slow
def test_a_sweep_and_the_comparison_that_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fast = ["--epochs", "1", "--batch-size", "100", "--workers", "2"]
    _done(["sweep", "--methods", "joint,msam", "--trials", "2", "--seeds", "1", *fast])
    rows = list(csv.DictReader(Path("sweeps/digits6-late.csv").read_text().splitlines()))
    assert [(row["method"], row["trial"]) for row in rows] == [
        ("joint", "0"),
        ("joint", "1"),
        ("msam", "0"),
        ("msam", "1"),
    ]
    written = tomllib.loads(Path("sweeps/digits6-late.toml").read_text())
    assert "2 trials a method" in Path("sweeps/digits6-late.toml").read_text()
    tuned = ["--tuned", "sweeps/digits6-late.toml", "--runs", "compared"]
    _done(["compare", "--methods", "joint,msam", "--seeds", "1", "--baselines", "0", *fast, *tuned])
    found = {record.label: record.config for record in records([Path("compared")])}
    assert found["msam"]["method"]["params"] == written["late"]["msam"]
    assert {run["optimizer"]["lr"] for run in found.values()} == {written["run"]["optimizer"]["lr"]}

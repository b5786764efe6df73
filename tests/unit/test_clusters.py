"""Executors of other packages: each trains a run for real, with the same result as here."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from msam_bench.cli import main
from msam_bench.config.resolve import resolve
from msam_bench.runs import clusters, fit
from msam_bench.runs.executor import train_all

CONFIG = resolve("smartwatch", "late", "sam", epochs=1, batch_size=512)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("kind", ["dask", "submitit", "ray"])
def test_a_run_elsewhere_is_the_one_trained_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    pytest.importorskip("distributed" if kind == "dask" else kind)
    monkeypatch.chdir(tmp_path)
    with clusters.load_executor(f"msam_bench.runs.clusters:{kind}")(1) as executor:
        (record,) = train_all([CONFIG], tmp_path / "there", executor)
    assert record.folder.parent == tmp_path / "there"
    assert record.summary == fit.run(CONFIG, tmp_path / "here").summary


def threads(workers: int) -> AbstractContextManager[Executor]:
    """An executor of somebody's own."""
    assert workers == 2
    return ThreadPoolExecutor(workers)


def test_the_command_takes_an_executor_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "threads", threads, raising=False)
    settings = ["--data", "smartwatch", "--methods", "joint", "--seeds", "2", "--epochs", "1", "--batch-size", "512"]
    settings += ["--baselines", "0"]
    places = ["--runs", str(tmp_path / "runs"), "--report", str(tmp_path / "report")]
    for name, code in (("absent", 2), ("threads", 0)):
        with pytest.raises(SystemExit) as left:
            main(["compare", *settings, *places, "--workers", "2", "--executor", f"msam_bench.runs.clusters:{name}"])
        assert left.value.code == code
    assert len([*(tmp_path / "runs").glob("*/run.json")]) == 2


@pytest.mark.parametrize("verb", [["compare"], ["sweep"], ["diagnose"], ["study", "fusion"], ["study", "flatness"]])
def test_every_verb_that_trains_many_runs_takes_an_executor(
    verb: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main([*verb, "--executor", "msam_bench.runs.clusters:absent"])
    assert "Expected an executor at 'msam_bench.runs.clusters:absent'" in capsys.readouterr().err


class Asked:
    """A job of a scheduler that fails."""

    def result(self) -> None:
        raise KeyError("lost")


def test_a_job_that_fails_elsewhere_fails_here() -> None:
    with clusters.Waiting(lambda function, *arguments: Asked(), 1) as executor:
        assert isinstance(executor.submit(print).exception(), KeyError)


@pytest.mark.parametrize(
    "name", ["dask", "msam_bench.runs.clusters:", "no.such:thing", "msam_bench.runs.clusters:absent"]
)
def test_an_executor_that_is_not_there_is_said_in_a_sentence(name: str) -> None:
    with pytest.raises(ValueError, match=r"package\.module:function"):
        clusters.load_executor(name)


@pytest.mark.parametrize("name", ["os:getcwd", "msam_bench.runs.clusters:Waiting"])
def test_a_function_that_does_not_take_workers_alone_is_said_in_a_sentence(name: str) -> None:
    with pytest.raises(ValueError, match="takes the number of workers alone, and"):
        clusters.load_executor(name)


@pytest.mark.parametrize("name", ["dask", "submitit", "ray"])
def test_the_former_name_of_an_executor_is_taken_and_the_new_one_said(name: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"msam_bench.clusters:{name} is now msam_bench.runs.clusters:{name}"):
        assert clusters.load_executor(f"msam_bench.clusters:{name}") is getattr(clusters, name)

"""The type of every study: a question, the runs that it needs, what it measures on them, and what it concludes.

    study = studies()["dominance"]
    configs = study.plan(Request(("digits6",), "late", range(6)))
    study.conclude(train_all(configs, root, executor)).answer

A study names runs and never trains: runs that are there are used again, so that a study is resumed by running it again
and extended by asking for more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from msam_bench.analysis.sentences.phrases import join_names
from msam_bench.config.resolve import label_of, resolve
from msam_bench.config.run import RunConfig
from msam_bench.data import source
from msam_bench.reporting.result import Result
from msam_bench.runs.choice import choose, refusal

Watch = Callable[[int, int], None]
"""Takes how many things are done, and how many there are."""


@dataclass(frozen=True)
class Request:
    """Data, seeds, methods and settings that a study is made with.

    Args:
        data: names of data sets; most studies take one.
        fusion: late or early.
        seeds: the paired seeds.
        methods: for studies that compare methods of one's choice; empty for the study's own.
        settings: changes to the data set's settings, by the names of `resolve`.
        file: a TOML file with settings, read before these.
        options: what a study leaves to choose beside these, such as the radius of a measurement.
    """

    data: tuple[str, ...]
    fusion: str
    seeds: Sequence[int]
    methods: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def runs(self, *methods: str, **settings: Any) -> list[RunConfig]:
        """One run for each data set, seed and method; `settings` come before those that the user gives."""
        return [
            self.run(data, method, seed, **settings) for data in self.data for seed in self.seeds for method in methods
        ]

    def run(self, data: str, method: str, seed: int, fusion: str | None = None, **settings: Any) -> RunConfig:
        """One run."""
        given = {key: value for key, value in self.settings.items() if value is not None}
        return resolve(data, fusion or self.fusion, method, self.file, seed=seed, **{**settings, **given})

    def fitting(self, data: str, fusion: str | None = None) -> list[str]:
        """The requested methods, those of `all` by name, less those that refuse these data or this fusion."""
        loaded, first = source(data).load(self.seeds[0]), self.seeds[0]

        @cache
        def why(method: str) -> str | None:
            return refusal(self.run(data, method, first, fusion), loaded)

        return [name for name in choose(",".join(self.methods), why).methods if why(name) is None]


@dataclass(frozen=True)
class Bench:
    """Executors and progress bars for a study's measurements.

    Args:
        pool: number of jobs -> an executor for them.
        counting: what is counted -> a progress bar.
        seed: seeds the generators of this process.
    """

    pool: Callable[[int], AbstractContextManager[Executor]]
    counting: Callable[[str], AbstractContextManager[Watch]]
    seed: Callable[[int], object]


def _records(records: Sequence[Any], request: Request, bench: Bench) -> Sequence[Any]:
    """What a study concludes from that measures nothing: the records of its runs."""
    return records


@dataclass(frozen=True)
class Study:
    """A named study.

    Args:
        name: what the command line calls it.
        question: what it asks, in a sentence.
        plan: the runs it needs; none if it only measures.
        conclude: what they show; called with what `measure` gives.
        measure: what is measured on the runs, which come in the order of the plan; the records themselves if omitted.
        data: the data sets of the plan if none are named.
        methods: the methods of the plan if none are named; empty if the study chooses them.
        fewest_modalities: of each data set.
    """

    name: str
    question: str
    plan: Callable[[Request], list[RunConfig]]
    conclude: Callable[[Any], Result]
    measure: Callable[[Sequence[Any], Request, Bench], Any] = _records
    data: str = "digits6"
    methods: str = ""
    fewest_modalities: int = 2

    def answer(self, measurements: Any, diverged: Sequence[RunConfig] = ()) -> Result:
        """Concludes, and names the runs that are left out because their loss was no longer finite.

        Raises:
            ValueError: if all of them diverged.
        """
        if diverged and not measurements:
            raise ValueError(f"All {len(diverged)} runs of the study diverged; lower the learning rate.")
        seeds: dict[str, list[str]] = {}
        for run in diverged:
            seeds.setdefault(f"{label_of(run)} ({run.data}, {run.fusion} fusion)", []).append(str(run.seed))
        notes = [f"{name} diverged at seed {join_names(lost)}, and is judged without." for name, lost in seeds.items()]
        result = self.conclude(measurements)
        return replace(result, details=[*result.details, *notes])

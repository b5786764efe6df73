"""A problem as a data set of the bench: its splits by seed, under the name by which it is imported.

source = problem_source("my_module:experiment")     # None where that is no problem
dataset = source.load(seed=0)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msam_bench.data.base import Dataset, Source, check_seed
from msam_bench.data.modality import Modality
from msam_bench.data.problems.problem import Problem, problem_at

if TYPE_CHECKING:
    from msam_bench.config.run import RunConfig


@dataclass(frozen=True, kw_only=True)
class ProblemSource(Source):
    """The data of a problem.

    Args:
        problem: the problem.
        base: the named data set that it takes, if it does.
        shapes: modality -> shape of one sample, of data of its own.
    """

    problem: Problem
    base: Source | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """The sha256 of the code that makes the data, and of the data set that it takes."""
        from msam_bench.data.problems.identity import sources_of

        known = [self.base.fingerprint if self.base else "", sorted(sources_of(self.problem).items())]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()

    def load(self, seed: int) -> Dataset:
        """The splits of a seed."""
        from dataclasses import replace

        from msam_bench.data.problems.building import load_splits
        from msam_bench.data.problems.samples import Loading

        check_seed(seed)
        if self.base:
            dataset = self.base.load(seed)
            return replace(dataset, name=self.name, fingerprint=self.fingerprint, criterion=self.problem.criterion)
        problem = self.problem
        loading = Loading(problem.batch_size or 32, problem.loader_workers)
        splits: dict[str, Any] = load_splits(problem, seed, loading, self.shapes)
        specs = {name: _spec(shape) for name, shape in self.shapes.items()}
        return Dataset(self.name, splits, self.classes, self.fingerprint, specs, problem.criterion)

    def sizes(self, seed: int = 0) -> dict[str, int]:
        """The number of samples of each split."""
        return {name: len(split) for name, split in self.load(seed).splits.items()}

    def status(self) -> str:
        """Where it is."""
        return f"an experiment of {self.problem.module}"

    def fold(self, seed: int) -> int | None:
        """That of the named data set."""
        return self.base.fold(seed) if self.base else None


def problem_source(location: str, named: Callable[[str], Source]) -> ProblemSource | None:
    """The data of the problem at `module:name`; None where that is something else.

    Args:
        location: of the problem.
        named: name -> that data set of the bench.
    """
    problem = problem_at(location)
    if problem is None:
        return None
    base = named(problem.data) if isinstance(problem.data, str) else None
    if base:
        modalities, classes, shapes = base.modalities, base.classes, {}
        _check_named(problem, len(classes))
    else:
        from msam_bench.data.problems.building import inspect_problem

        facts = inspect_problem(problem)
        modalities, classes, shapes = facts.modalities, tuple(map(str, range(facts.classes))), facts.shapes
    return ProblemSource(
        name=location,
        summary="an experiment",
        modalities=modalities,
        classes=classes,
        licence=base.licence if base else "",
        citation=base.citation if base else "",
        origin=base.origin if base else "",
        problem=problem,
        base=base,
        shapes=shapes,
    )


def _spec(shape: tuple[int, ...]) -> Modality:
    """What a modality of that shape is like; no encoder of the bench's reads it."""
    return Modality.of(shape) if 1 <= len(shape) <= 4 else Modality("vector")


def _check_named(problem: Problem, classes: int) -> None:
    from msam_bench.data.problems.building import check_metrics

    check_metrics(problem.metrics, classes)


def problem_of(config: RunConfig) -> Problem | None:
    """The problem of a run, with the code that the run was planned with; None for a run of the bench's own.

    Raises:
        ValueError: its code has changed since.
    """
    if config.experiment is None:
        return None
    from msam_bench.data.problems.identity import sources_of

    problem = problem_at(config.data)
    if problem is None:
        raise ValueError(f"Expected an experiment at {config.data!r}, found something else; see --experiment.")
    if changed := sorted(sources_of(problem).items() ^ config.experiment.sources.items()):
        raise ValueError(
            f"The code of {config.data} has changed since this run was planned ({changed[0][0]}): it is another run; "
            "give the command again without --resume."
        )
    return problem

"""Searches settings with the same number of trials for every method, in a file of studies that a kill does not hurt.

    sweep = Sweep("digits6", "late", trials=12, seeds=3)
    trials = sweep.run(["joint", "sam", "msam"], Path("sweep.sqlite"), Path("runs"), executor)
    best(trials["sam"]).arguments

**Ranges.** The first trials of a method are those that its class lists in `search`, every other one first: they
are the published values, so that no method is judged without them, and as many trials as are listed chose the
shipped settings. The trials after these are drawn by TPE, on a logarithmic scale between the least and the greatest
listed value: choosing among the listed values again could only repeat trials, and all that is listed is a positive
scale or count, of which the order of magnitude matters. What is drawn is rounded to three digits.

**Equal.** Every method gets so many trials, pruned and diverged ones counted. Joint training is searched first, for
the learning rate of all methods that list another setting; methods that list none search the learning rate themselves.

**Objective.** Mean validation accuracy over the tuning seeds, 1000 and on, which no comparison uses by default; of
equals, the lower validation loss. A run that diverged is always wrong. After its first seeds a trial is pruned whose
best seed is worse than the worst of the best trial.

**Resuming.** The trials of a method come one after the other, each drawn from those before by a generator of its own;
methods are searched side by side. A trial that a kill has left is taken up again and its finished runs are found, so
that the trials are those of a sweep that was never stopped. More trials than before go on from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any

from optuna import Study
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from msam_bench.config.resolve import resolve
from msam_bench.config.run import RunConfig
from msam_bench.config.search_space import listed, ranges
from msam_bench.data import source
from msam_bench.registry import build
from msam_bench.runs.executor import stopping, train
from msam_bench.runs.record import Diverged, RunRecord
from msam_bench.tuning.study import ENDED, begin, lock_studies, report, scores_of, study_of
from msam_bench.tuning.trial import Trial, TrialScore, best, split_settings

FIRST_SEED = 1000
FACTORS = (1.0, 1 / 3, 3.0)
"""Of joint training's learning rate, for methods that search one of their own beside another setting."""
EARLY = 2
"""Seeds after which a trial may be pruned."""
Scores = list[TrialScore]
Search = Generator[list[RunConfig], Scores, None]
"""Yields runs, receives their scores, and ends with its trials in the study."""


@dataclass(frozen=True)
class Sweep:
    """A search of one data set and fusion, with equally many trials for every method.

    Args:
        data: name of a data set.
        fusion: late or early.
        trials: how many every method gets.
        seeds: over how many seeds a trial is judged.
        settings: changes to the data set's settings, by the names of `resolve`; `lr` is then the learning rate of all
            methods that list another setting.
        file: a TOML file with settings, read before these.
        prune: whether a trial that is clearly behind after its first seeds has no more of them.
        own_lr: whether methods that list another setting try three learning rates, too: joint training's best, a third
            of it and three times it, in turn.
    """

    data: str
    fusion: str
    trials: int
    seeds: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None
    prune: bool = True
    own_lr: bool = False

    def run(
        self,
        methods: Sequence[str],
        path: Path,
        root: Path,
        executor: Executor,
        watch: Callable[[int, int], None] = lambda done, total: None,
    ) -> dict[str, list[Trial]]:
        """Searches until every method has its trials, and gives these.

        Args:
            methods: by name, without arguments.
            path: the file of the study.
            root: folder of the run folders; runs that are there are used again.
            executor: where runs are trained.
            watch: called with the number of trials done, and of all.

        Raises:
            ValueError: as `check`; a file that is no study; another sweep in it; an error of a run.
        """
        with lock_studies(path) as storage, stopping(executor):
            studies: dict[str, Study] = {}

            def search(names: list[str], lr: float) -> None:
                studies.update({name: self._study(name, lr, storage) for name in names})
                submit = lambda config: executor.submit(train, config, root)  # noqa: E731
                show = lambda: watch(sum(map(self._done, studies.values())), self.trials * len(methods))  # noqa: E731
                side_by_side([self.search(name, lr, studies[name]) for name in names], submit, self.score, show)

            lr = self.common_lr({})
            if "joint" in methods:
                search(["joint"], lr)
                lr = self.common_lr({"joint": self._trials("joint", lr, studies["joint"])})
            search([name for name in methods if name != "joint"], lr)
            return {name: self._trials(name, lr, studies[name]) for name in methods}

    def check(self, method: str) -> None:
        """Raises a ValueError if there is nothing to search for a method, or a trial of it cannot be made."""
        data = source(self.data)
        widths = self.resolved(method, {}, FIRST_SEED).widths(data.modalities)
        for params in listed(method):
            build(self.resolved(method, params, FIRST_SEED).method, widths, max(1, len(data.classes)))

    def common_lr(self, trials: Mapping[str, Sequence[Trial]]) -> float:
        """The learning rate of methods that search none: what is given, joint training's best, or the default."""
        if "lr" not in self.settings and "joint" in trials:
            return best(trials["joint"]).lr
        return self.resolved("joint", {}, FIRST_SEED).optimizer.lr

    def resolved(self, method: str, params: Mapping[str, Any], seed: int) -> RunConfig:
        """The run of a trial at a seed."""
        optimizer, arguments = split_settings(dict(params))
        text = ":".join([method, *(f"{key}={value}" for key, value in arguments.items())])
        return resolve(self.data, self.fusion, text, self.file, seed=seed, **{**self.settings, **optimizer})

    def search(self, method: str, lr: float, study: Study) -> Search:
        """Trial by trial: the first seeds, then, unless it is clearly behind, the others."""
        while self._done(study) < self.trials:
            trial, params = begin(study, method)
            params = self._with_lr(params, lr, trial.number)
            numbers = range(FIRST_SEED, FIRST_SEED + self.seeds)
            configs = [self.resolved(method, {"lr": lr} | params, seed) for seed in numbers]
            early = min(EARLY, self.seeds - 1)
            scores: Scores = []
            for part in (configs[:early], configs[early:]):
                reported = yield part
                report(trial, len(scores), reported)
                scores += reported
                if pruned := self.prune and len(scores) < self.seeds and trial.should_prune():
                    break
            trial.set_user_attr("said", params)
            trial.set_user_attr("losses", [score.loss for score in scores])
            mean = None if pruned else fmean(score.accuracy for score in scores)
            study.tell(trial, mean, TrialState.PRUNED if pruned else TrialState.COMPLETE)

    def _with_lr(self, params: Mapping[str, Any], lr: float, number: int) -> dict[str, Any]:
        """What a trial sets, its learning rate included.

        Listed rates are those of SGD; Adam's are a fiftieth of them, so that 0.05 stands for 0.001.
        """
        if "lr" in params:
            adaptive = self.resolved("joint", {}, FIRST_SEED).optimizer.name != "sgd"
            return {**params, "lr": params["lr"] / 50 if adaptive else params["lr"]}
        return {**params, "lr": float(f"{lr * FACTORS[number % 3]:.3g}")} if self.own_lr else dict(params)

    def score(self, future: Future[RunRecord]) -> TrialScore:
        """The validation score of a run; the worst one if it diverged."""
        try:
            summary = future.result().summary
        except Diverged:
            return TrialScore(0.0 if source(self.data).classes else -inf, inf)
        return TrialScore(summary["valid_accuracy"], summary["valid_loss"])

    def _study(self, method: str, lr: float, storage: RDBStorage) -> Study:
        """The study of one method; other settings, seeds or data, another study in the same file."""
        base = self.resolved(method, {"lr": lr}, FIRST_SEED)
        unpruned = ("" if self.prune else " unpruned") + (" own lr" if self.own_lr else "")
        text = f"{base.identity} {self.seeds} {source(self.data).fingerprint} {ranges(method)}{unpruned}"
        name = f"{self.data}-{self.fusion}-{method}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        return study_of(name, storage)

    def _done(self, study: Study) -> int:
        return min(self.trials, len(study.get_trials(deepcopy=False, states=ENDED)))

    def _trials(self, method: str, lr: float, study: Study) -> list[Trial]:
        """The first trials of a study, as many as each method gets."""
        ended = study.get_trials(deepcopy=False, states=ENDED)[: self.trials]
        return [
            Trial.of(method, each.number, each.user_attrs["said"], lr, scores_of(each), each.state == TrialState.PRUNED)
            for each in ended
        ]


def side_by_side(
    searches: Sequence[Search],
    submit: Callable[[RunConfig], Future[RunRecord]],
    score: Callable[[Future[RunRecord]], TrialScore],
    show: Callable[[], None],
) -> None:
    """Answers every search as soon as all runs that it asked for are there, until all have ended."""
    waiting: dict[Search, list[Future[RunRecord]]] = {}

    def go_on(search: Search, scores: Scores | None) -> None:
        with suppress(StopIteration):
            configs = search.send(scores) if scores is not None else next(search)
            waiting[search] = [submit(config) for config in configs]
        show()

    for search in searches:
        go_on(search, None)
    while waiting:
        wait(
            [future for futures in waiting.values() for future in futures if not future.done()],
            return_when=FIRST_COMPLETED,
        )
        for search, futures in list(waiting.items()):
            if all(future.done() for future in futures):
                del waiting[search]
                go_on(search, [score(future) for future in futures])

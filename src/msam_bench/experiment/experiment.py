"""The Python face of the bench: a user's problem, and every question that the command `msam` answers of it.

    experiment = Experiment(data=make_data, model=make_model, epochs=20, early_stopping=5)
    found = experiment.compare(["joint", "sam:rho=0.1", MSAM(rho=0.1)], seeds=12, workers=2)
    print(found.verdict)

Every verb trains what is missing in the folder of runs and uses again what is there: stopped, it continues. An
experiment that a module holds under a name is trained in processes of its own; any other, as that of a notebook, in
this one.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msam_bench.data.problems.identity import name_of
from msam_bench.data.problems.problem import Problem
from msam_bench.experiment.results import Answer, Comparison, Trained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from msam import Method
    from msam_bench.cli.jobs import Where
    from msam_bench.config.run import RunConfig
    from msam_bench.runs.record import RunRecord
    from msam_bench.studies import Study
    from msam_bench.tuning.trial import Trial

Methods = str | Sequence["str | Method"]
_ALONE = "msam_bench.experiment.executing:in_this_process"


@dataclass(kw_only=True, eq=False)
class Experiment(Problem):
    """A problem of the user's own, with the verbs of the bench; its arguments are those of `Problem`."""

    def compare(
        self,
        methods: Methods = "joint,sam,gnp,msam",
        seeds: int = 12,
        *,
        first_seed: int = 0,
        metric: str | None = None,
        margin: float = 0.5,
        baselines: int = 6,
        tune: Literal["quick", "equal", "none"] | None = None,
        workers: int | None = None,
        runs: str | Path = "runs",
        **settings: Any,
    ) -> Comparison:
        """Trains several methods on the same seeds, and says what the evidence is worth.

        Args:
            methods: as the command line writes them, or methods of `msam`.
            seeds: number of paired seeds.
            first_seed: the first of them.
            metric: what is compared; the experiment's first metric if None, else accuracy or R2.
            margin: smallest difference that matters, in points or hundredths of the metric's unit.
            baselines: seeds on which each modality is trained apart too, to tell whether fusion pays; 0 for none.
            tune: choose settings on validation first, 3 (quick) or 7 (equal) trials a method; quick if nothing is
                tuned, none where the optimizer is a function without an argument `lr`.
            workers: runs at a time; as many as there are cores if None.
            runs: folder of the run folders.
            **settings: changes to the experiment's settings, such as `epochs`.

        Raises:
            ValueError: what cannot be trained, before anything is.
        """
        from msam_bench.analysis.assessment import diverged_seeds
        from msam_bench.cli.jobs import train_all
        from msam_bench.cli.settings import Judged, Paired, Settings, chosen_methods, planned
        from msam_bench.cli.settings import baselines as modalities_apart
        from msam_bench.cli.tuning import tune_first
        from msam_bench.reporting.report import compare

        location, where = self._place(workers, runs)
        changes, paired = Settings(**settings), Paired(seeds, first_seed, self.fusion)
        choice = chosen_methods(location, self.fusion, _listed(methods), first_seed, changes)
        self._check(planned(location, choice.methods, paired, changes)[:1])
        with _explained():
            how = "none" if tune is None and not self._tunable else tune
            changes, untuned = tune_first(location, self.fusion, choice.methods, how, changes, where)
        configs = planned(location, choice.methods, paired, changes)
        judged = Judged(metric, margin, baselines).by_default(configs)
        apart = [run for run in modalities_apart(location, paired, judged, changes) if run not in configs]
        diverged: list[RunConfig] = []
        with _explained():
            records = train_all([*configs, *apart], where, diverged)
        notes = tuple(choice.notes)
        if not records:
            raise ValueError(f"All {len(diverged)} runs diverged; lower the learning rate.")
        question = replace(judged.question(), diverged=diverged_seeds(diverged), untuned=untuned)
        return Comparison(records, compare(records, notes=notes, question=question), notes, _command(), question)

    def train(
        self, method: str | Method = "msam", seed: int = 0, *, runs: str | Path = "runs", **settings: Any
    ) -> Trained:
        """Trains one run in this process, continues it, or finds it finished.

        Args:
            method: as the command line writes it, or one of `msam`.
            seed: draws data, initial weights and batches.
            runs: folder of the run folders.
            **settings: changes to the experiment's settings.
        """
        from msam_bench.cli.jobs import train_here
        from msam_bench.cli.settings import Settings, resolved

        location, where = self._place(1, runs)
        config = resolved(location, self.fusion, _listed([method]), seed, Settings(**settings))
        self._check([config])
        return Trained(train_here(config, where.folder))

    def sweep(
        self,
        methods: Methods = "joint,sam,gnp,msam",
        trials: int = 7,
        seeds: int = 3,
        *,
        workers: int | None = None,
        runs: str | Path = "runs",
        study: str | Path | None = None,
        **settings: Any,
    ) -> dict[str, list[Trial]]:
        """Tunes methods on validation with the same number of trials each; a sweep that was stopped continues.

        Args:
            methods: by name, without arguments.
            trials: how many each method gets.
            seeds: seeds a trial, 1000 and on.
            workers: as `compare`.
            runs: folder of the run folders.
            study: file of the trials; sweeps/EXPERIMENT.sqlite if None.
            **settings: changes to the experiment's settings.
        """
        from msam_bench.cli.jobs import pool
        from msam_bench.cli.screen import counting
        from msam_bench.names import stem
        from msam_bench.tuning.sweep import Sweep

        location, where = self._place(workers, runs)
        names = _listed(methods).split(",")
        search = Sweep(location, self.fusion, trials, seeds, settings=settings)
        for name in names:
            search.check(name)
        path = Path(study) if study else Path("sweeps") / f"{stem(location)}.sqlite"
        with _explained(), counting("trials") as watch, pool(where, len(names) * seeds) as executor:
            return search.run(names, path, where.folder, executor, watch)

    def diagnose(
        self, seeds: int = 6, *, workers: int | None = None, runs: str | Path = "runs", **settings: Any
    ) -> Answer:
        """Is one modality dominating, and is another one under-used? Joint training against each modality apart.

        Args:
            seeds: number of paired seeds.
            workers: as `compare`.
            runs: folder of the run folders.
            **settings: changes to the experiment's settings.
        """
        return self.study("diagnosis", seeds=seeds, workers=workers, runs=runs, **settings)

    def flatness(
        self,
        methods: Methods = "joint,sam,msam",
        seeds: int = 6,
        *,
        options: Mapping[str, Any] | None = None,
        workers: int | None = None,
        runs: str | Path = "runs",
        **settings: Any,
    ) -> Answer:
        """Do non-dominant modalities end in sharper minima?

        Args:
            methods: as `compare`.
            seeds: number of paired seeds.
            options: of the measurement: `at`, `samples`, `rho`, `points`.
            workers: as `compare`.
            runs: folder of the run folders.
            **settings: changes to the experiment's settings.
        """
        return self.study("flatness", methods, seeds, options=options, workers=workers, runs=runs, **settings)

    def study(
        self,
        name: str,
        methods: Methods = "",
        seeds: int = 6,
        *,
        options: Mapping[str, Any] | None = None,
        workers: int | None = None,
        runs: str | Path = "runs",
        **settings: Any,
    ) -> Answer:
        """A named study, such as `rho` or `dominance`.

        Args:
            name: as `msam study --help` lists them.
            methods: for studies that leave the choice.
            seeds: number of paired seeds.
            options: what the study leaves to choose beside these.
            workers: as `compare`.
            runs: folder of the run folders.
            **settings: changes to the experiment's settings.
        """
        from msam_bench.cli.study import conclude
        from msam_bench.studies import Request, study

        location, where = self._place(workers, runs)
        chosen: Study = study(name)
        labels = tuple(_listed(methods or chosen.methods).split(",")) if methods or chosen.methods else ()
        request = Request((location,), self.fusion, range(seeds), labels, settings, options=options or {})
        configs = chosen.plan(request)
        self._check(configs[:1])
        with _explained():
            result, records = conclude(chosen, request, where, configs)
        return Answer(result, records, _command())

    def evaluate(self, run: Trained | RunRecord, data: Any = None) -> dict[str, float]:
        """The metrics of a trained model on other data.

        Args:
            run: a finished run.
            data: a Dataset or DataLoader; the test split of the run if None.
        """
        from msam_bench.experiment.evaluating import evaluate

        return evaluate(self, run.record if isinstance(run, Trained) else run, data)

    def _place(self, workers: int | None, runs: str | Path) -> tuple[str, Where]:
        """The name of the experiment, and where its runs are trained."""
        from msam_bench.cli.jobs import Where

        location, importable = name_of(self)
        if importable:
            return location, Where(workers, None, Path(runs))
        if workers is not None and workers > 1:
            _warn(
                "No other process can import this experiment, so its runs are trained in this one, one after the "
                "other; give it a name in a module (experiment = Experiment(...)) to train several at a time."
            )
        return location, Where(1, _ALONE, Path(runs))

    @property
    def _tunable(self) -> bool:
        """Whether the optimizer takes a learning rate."""
        return not callable(self.optimizer) or "lr" in inspect.signature(self.optimizer).parameters

    def _check(self, configs: Iterable[RunConfig]) -> None:
        """Refuses what could not be trained, by one batch of it, and says once what cannot be repeated.

        Raises:
            ValueError: a method that does not suit the model, or a device that is not here.
        """
        from msam_bench.data import source
        from msam_bench.runs.choice import refusal

        planned = list(configs)
        dataset = source(planned[0].data).load(planned[0].seed)
        for config in planned:
            if reason := refusal(config, dataset):
                raise ValueError(reason)
        self._say_what_repeats(dataset.splits["train"])

    def _say_what_repeats(self, split: Any) -> None:
        from msam_bench.data.problems.samples import unrepeatable

        loader = getattr(split, "source", None)
        if loader is not None and (reason := unrepeatable(loader)):
            _warn(f"The training data may differ when a run is continued: {reason}.")


def _listed(methods: Methods) -> str:
    """Methods as the command line writes them."""
    if isinstance(methods, str):
        return methods
    return ",".join(each if isinstance(each, str) else _text(each) for each in methods)


def _text(method: Method) -> str:
    from msam_bench.experiment.methods import text_of

    return text_of(method)


def _warn(sentence: str) -> None:
    """Says something that is no error, on the error stream of the command."""
    from msam_bench.cli.screen import console

    console.print(sentence, soft_wrap=True, highlight=False, markup=False)


def _command() -> str:
    """The program that runs, for the record."""
    return " ".join(["python", *sys.argv]) if sys.argv[0] else "python"


@contextmanager
def _explained() -> Iterator[None]:
    """Says what the death of a worker most often means."""
    try:
        yield
    except BrokenExecutor:
        raise ValueError(
            "A worker process ended early: put what a script does under `if __name__ == '__main__':`, because workers "
            "import it; or take fewer workers if memory is short."
        ) from None

"""The file of studies, one a method, and the trials in it: optuna on sqlite.

with lock_studies(Path("sweep.sqlite")) as storage:
    study = study_of("sam", storage)
    trial, params = begin(study, "sam")         # params: {"rho": 0.02}
    report(trial, 0, [TrialScore(0.9, 0.3)])
    study.tell(trial, 0.9)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from msam_bench.config.search_space import Number, opening, ranges
from msam_bench.tuning.trial import TrialScore

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


@contextmanager
def lock_studies(path: Path) -> Iterator[RDBStorage]:
    """The file of studies, for one sweep at a time.

    Raises:
        ValueError: another sweep has it, or it is something else.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"Another sweep is writing {path}; wait for it, or name another --study.") from None
    try:
        storage = _open(path)
        yield storage
        storage.engine.dispose()
    finally:
        lock.release()


def _open(path: Path) -> RDBStorage:
    try:
        return RDBStorage(f"sqlite:///{path.resolve()}")
    except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
        cause = error.__cause__ or error
        reason = " ".join(str(getattr(cause, "orig", None) or cause).split())
        raise ValueError(f"Expected a study of msam sweep at {path}, found: {reason}; name another --study.") from None


def study_of(name: str, storage: RDBStorage) -> optuna.Study:
    """The study of that name, new or as it was left."""
    return optuna.create_study(
        storage=storage, pruner=Behind(), study_name=name, direction="maximize", load_if_exists=True
    )


class Behind(optuna.pruners.BasePruner):
    """Prunes a trial whose best seed so far is worse than the worst seed of the best trial."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether this one is."""
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not (ended and trial.intermediate_values):
            return False
        leader = max(ended, key=lambda each: each.values[0])
        return max(trial.intermediate_values.values()) < min(leader.intermediate_values.values())


def begin(study: optuna.Study, method: str) -> tuple[optuna.Trial, dict[str, Any]]:
    """The trial that a kill has left, or the next one, and what it sets."""
    trials, listed = study.get_trials(deepcopy=False), opening(method)
    last = trials[-1] if trials and not trials[-1].state.is_finished() else None
    number = len(trials) - (last is not None)
    study.sampler = optuna.samplers.TPESampler(seed=number, n_startup_trials=len(listed))
    if last is None and number < len(listed):
        study.enqueue_trial(listed[number])
    running = last is not None and last.state == TrialState.RUNNING
    trial = _take_up(study, last) if last and running else study.ask()
    return trial, {name: _suggest(trial, name, *bounds) for name, bounds in ranges(method).items()}


def _take_up(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial:
    """The running trial that a killed process has left; optuna has no public way to go on with one.

    Raises:
        ValueError: this release of optuna does not say which trial it is.
    """
    identifier = getattr(trial, "_trial_id", None)
    if not isinstance(identifier, int):
        raise ValueError(
            f"Expected optuna to identify the trial that a killed sweep has left, found that {optuna.__version__} does "
            "not; install optuna 4, or name another --study."
        )
    return optuna.Trial(study, identifier)


def _suggest(trial: optuna.Trial, name: str, least: Number, greatest: Number) -> Number:
    if isinstance(least, int) and isinstance(greatest, int):
        return trial.suggest_int(name, least, greatest, log=True)
    return float(f"{trial.suggest_float(name, least, greatest, log=True):.3g}")


def report(trial: optuna.Trial, first: int, scores: Sequence[TrialScore]) -> None:
    """Tells the study of the seeds that it had not heard of before a kill, the first of them by its place."""
    known = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
    for step, score in enumerate(scores, first):
        if step not in known:
            trial.report(score.accuracy, step)


def scores_of(trial: FrozenTrial) -> list[TrialScore]:
    """The scores that were reported of a trial that has ended."""
    accuracies = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
    return [TrialScore(*pair) for pair in zip(accuracies, trial.user_attrs["losses"], strict=True)]

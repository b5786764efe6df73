"""Results of a sweep: a row for every trial, and the file of settings that it chose.

write_whole(path.with_suffix(".csv"), csv_text(trial_rows(sweep, trials)))
write_whole(path.with_suffix(".toml"), tuned_file(sweep, trials, "msam sweep --data digits6"))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msam_bench.config.tuned import text
from msam_bench.tuning.sweep import Sweep
from msam_bench.tuning.trial import Trial, best

Trials = Mapping[str, Sequence[Trial]]
"""Method -> its trials."""


def trial_rows(sweep: Sweep, trials: Trials) -> list[dict[str, Any]]:
    """One row a trial, in the order of the methods."""
    where = {"data": sweep.data, "fusion": sweep.fusion}
    return [{**where, **trial.row()} for each in trials.values() for trial in each]


def tuned_file(sweep: Sweep, trials: Trials, command: str) -> str:
    """The file that `--tuned` reads, with its origin at the head.

    Args:
        sweep: what was searched.
        trials: of every method.
        command: that searched.
    """
    lr = sweep.common_lr(trials)
    head = [
        f"Chosen by `msam sweep` on validation of {sweep.data}, {sweep.fusion} fusion:",
        f"{sweep.trials} trials a method, each by its mean over {sweep.seeds} seeds, 1000 and on. Made by",
        f"    {command}",
    ]
    head += [
        f"{name}: validation {best(each).accuracy:.4f}, {count_pruned(each)} pruned" for name, each in trials.items()
    ]
    return text(head, sweep.fusion, lr, {name: _section(best(each), lr) for name, each in trials.items()})


def count_pruned(trials: Sequence[Trial]) -> int:
    """The number of trials that were pruned."""
    return sum(trial.pruned for trial in trials)


def _section(trial: Trial, lr: float) -> dict[str, Any]:
    """The settings of a method; its learning rate where it is not the common one or was searched for."""
    return {**trial.arguments, **({"optimizer": {"lr": trial.lr}} if trial.lr != lr else {})}

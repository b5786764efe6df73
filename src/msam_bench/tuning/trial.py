"""One trial: its settings, and the validation scores of its runs. The test split is not read.

trial = Trial.of("sam", 3, {"rho": 0.2}, lr=0.05, scores=[TrialScore(0.96, 0.12), TrialScore(0.95, 0.14)], pruned=False)
best([trial, other]).arguments
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean
from typing import Any

from msam_bench.config.run import OptimizerConfig


@dataclass(frozen=True)
class TrialScore:
    """The validation score of a run at its selected epoch.

    Args:
        accuracy: on validation; of values to regress, R2.
        loss: likewise; infinite if the run diverged.
    """

    accuracy: float
    loss: float


@dataclass(frozen=True)
class Trial:
    """A trial of a method.

    Args:
        method: its name.
        number: its place among the trials of the method.
        arguments: what was searched for, apart from the learning rate.
        lr: the learning rate.
        scores: one a seed, of as many seeds as it was trained at.
        pruned: whether it was left after its first seeds.
    """

    method: str
    number: int
    arguments: dict[str, Any]
    lr: float
    scores: tuple[TrialScore, ...]
    pruned: bool

    @classmethod
    def of(
        cls, method: str, number: int, params: dict[str, Any], lr: float, scores: Sequence[TrialScore], pruned: bool
    ) -> Trial:
        """A trial by all that was searched for; without a learning rate of its own it has the common one."""
        _, arguments = split_settings(params)
        return cls(method, number, arguments, params.get("lr", lr), tuple(scores), pruned)

    @property
    def accuracy(self) -> float:
        """Mean over its seeds."""
        return fmean(score.accuracy for score in self.scores)

    @property
    def merit(self) -> tuple[float, float]:
        """The order of trials of equally many seeds: accuracy, then loss."""
        return self.accuracy, -fmean(score.loss for score in self.scores)

    def row(self) -> dict[str, Any]:
        """Its line in the table of all trials."""
        return {
            "method": self.method,
            "trial": self.number,
            "lr": self.lr,
            "arguments": ":".join(f"{key}={value}" for key, value in self.arguments.items()),
            "seeds": len(self.scores),
            "pruned": self.pruned,
            "diverged": sum(score.loss == inf for score in self.scores),
            "valid_accuracy": self.accuracy,
            "valid_loss": -self.merit[1],
        }


def best(trials: Iterable[Trial]) -> Trial:
    """The best of those that were trained at every seed, the first of equals."""
    return max((trial for trial in trials if not trial.pruned), key=lambda trial: trial.merit)


def split_settings(params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of the optimizer, and those of the method."""
    optimizer = {key: value for key, value in params.items() if key in OptimizerConfig.model_fields}
    return optimizer, {key: value for key, value in params.items() if key not in optimizer}

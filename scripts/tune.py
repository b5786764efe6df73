"""Chooses the shipped settings of a data set on its validation split: seven trials for every method, none more.

    python scripts/tune.py --data digits6 --fusion late --seeds 3 --finalists 2

What is tried stands in `src/msam_bench/config/search_space.toml`. The learning rate is chosen for joint training and
kept for every method that has a setting of its own, unless `--lr` gives one that was chosen before. All trials of a
method are trained at the first tuning seed, and the best of them, as many as `--finalists`, at the others too; the
best of these by the mean over all seeds is chosen. No comparison uses these seeds by default. Where seven are too
many, `--trials` takes every other. Better is a higher validation accuracy at the selected epoch, then a lower
validation loss; the test split is not looked at. Runs that are there already are found again. Writes every trial to
`docs/results/tuning-DATA-FUSION.csv` and prints what belongs into `src/msam_bench/config/defaults/DATA.toml`.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any

from msam_bench.config.resolve import resolve
from msam_bench.config.run import OptimizerConfig, RunConfig
from msam_bench.config.search_space import listed
from msam_bench.data import source
from msam_bench.runs.choice import choose, refusal
from msam_bench.runs.executor import processes, train
from msam_bench.runs.record import RunRecord as Record

FIRST_SEED = 1000
Row = dict[str, Any]
Trial = tuple[str, dict[str, Any]]
"""A method and what is set."""


def main() -> None:
    """Tunes one data set and fusion."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits6")
    parser.add_argument("--fusion", default="late", choices=["late", "early"])
    parser.add_argument("--methods", default="all", help="as `msam compare` takes them; joint is always tuned first")
    parser.add_argument("--lr", type=float, help="learning rate of all methods with a setting of their own")
    parser.add_argument("--trials", type=int, default=7, choices=[3, 4, 7])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--finalists", type=int, default=2)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=Path, default=Path("runs/tuning"))
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    asked = parser.parse_args()
    names = [name for name in suiting(asked.data, asked.fusion, asked.methods) if name != "joint"]
    with processes(asked.workers) as executor:
        race = Race(asked.data, asked.fusion, asked.seeds, asked.finalists, asked.runs, executor)
        rows = race.run([("joint", trial) for trial in grid("joint", asked.trials)])
        lr = asked.lr or best(rows)["lr"]
        rows += race.run([(name, {"lr": lr} | trial) for name in names for trial in grid(name, asked.trials)])
    write(rows, asked.output / f"tuning-{asked.data}-{asked.fusion}.csv")
    print(f"[run.optimizer]\nlr = {lr}\n")
    for name in names:
        print("\n".join(chosen(asked.fusion, best([row for row in rows if row["method"] == name]), lr)) + "\n")


@dataclass(frozen=True)
class Race:
    """Trials of one data set and fusion: all at the first seed, the finalists of each method at every seed."""

    data: str
    fusion: str
    seeds: int
    finalists: int
    root: Path
    executor: Executor

    def run(self, trials: Sequence[Trial]) -> list[Row]:
        """One row a trial, in the order of the trials."""
        rows = self.rows(trials, 1)
        ranked = {name: [row for row in rows if row["method"] == name] for name, _ in trials}
        last = [row for own in ranked.values() for row in sorted(own, key=merit)[-self.finalists :]]
        places = [place for place, row in enumerate(rows) if row in last]
        for place, row in zip(places, self.rows([trials[place] for place in places], self.seeds), strict=True):
            rows[place] = row
        return rows

    def rows(self, trials: Sequence[Trial], seeds: int) -> list[Row]:
        """One row a trial, over so many seeds; the first seed of every trial is trained before the second of any."""
        numbers = range(FIRST_SEED, FIRST_SEED + seeds)
        groups = [[settings(self.data, self.fusion, *trial, seed) for seed in numbers] for trial in trials]
        by_seed = [config for configs in zip(*groups, strict=True) for config in configs]
        futures = {config.identity: self.executor.submit(train, config, self.root) for config in by_seed}
        return [row(group, [finished(futures[config.identity]) for config in group]) for group in groups]


def grid(method: str, count: int = 7) -> list[dict[str, Any]]:
    """The trials of a method; every other if there are to be fewer."""
    trials = listed(method)
    return trials if count == len(trials) else trials[::2][:count]


def settings(data: str, fusion: str, method: str, trial: dict[str, Any], seed: int) -> RunConfig:
    """The run of a trial: what belongs to the optimizer goes there, the rest to the method."""
    own = "".join(f":{key}={value}" for key, value in trial.items() if key not in OptimizerConfig.model_fields)
    optimizer = {key: value for key, value in trial.items() if key in OptimizerConfig.model_fields}
    return resolve(data, fusion, method + own, seed=seed, **optimizer)


def suiting(data: str, fusion: str, methods: str) -> tuple[str, ...]:
    """The methods that are tuned; those that do not suit are named."""
    dataset = source(data).load(FIRST_SEED)
    found = choose(methods, lambda name: refusal(resolve(data, fusion, name, seed=FIRST_SEED), dataset))
    print("\n".join(found.notes))
    return found.methods


def finished(future: Future[Record]) -> Record | None:
    """The record of a run, or None if it diverged."""
    try:
        return future.result()
    except ValueError as error:
        print(error)
        return None


def row(configs: list[RunConfig], records: list[Record | None]) -> Row:
    """Means over the seeds of one trial, a diverged run counting as always wrong; the test split stays closed."""
    worst = {"valid_accuracy": 0.0, "valid_loss": inf}
    first, summaries = configs[0], [record.summary if record else worst for record in records]
    return {
        "data": first.data,
        "fusion": first.fusion,
        "method": first.method.name,
        "lr": first.optimizer.lr,
        "arguments": first.method.model_copy(update={"name": ""}).text({})[1:],
        "seeds": len(configs),
        "valid_accuracy": fmean(summary["valid_accuracy"] for summary in summaries),
        "valid_loss": fmean(summary["valid_loss"] for summary in summaries),
    }


def merit(row: Row) -> tuple[float, float]:
    """What orders trials: validation accuracy, then validation loss."""
    return row["valid_accuracy"], -row["valid_loss"]


def best(rows: list[Row]) -> Row:
    """The best trial of those at the most seeds."""
    return max(rows, key=lambda row: (row["seeds"], *merit(row)))


def chosen(fusion: str, row: Row, lr: float) -> Iterator[str]:
    """The lines of the defaults that a trial stands for."""
    method = row["method"] if "+" not in row["method"] else f'"{row["method"]}"'
    yield f"[{fusion}.{method}]  # validation {row['valid_accuracy']:.4f}"
    yield from (" = ".join(part.split("=")) for part in row["arguments"].split(":") if part)
    if row["lr"] != lr:
        yield f"optimizer.lr = {row['lr']}"


def write(rows: list[Row], path: Path) -> None:
    """Every trial as a line of CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} trials: {path}\n")


if __name__ == "__main__":
    main()

"""Chooses the shipped settings of a data set on its validation split: the same number of trials for every method.

    python scripts/tune.py --data digits6 --fusion late

The learning rate is chosen for joint training and kept for all methods; then every sharpness-aware method gets the same
grid of rho. A trial is the mean best validation accuracy over the tuning seeds, which no comparison uses by default;
ties go to the lower validation loss. The test split is not looked at. Writes every trial to
`docs/results/tuning-DATA-FUSION.csv` and prints what belongs into `src/msam_bench/defaults/DATA.toml`.
"""

from __future__ import annotations

import argparse
import csv
import os
from concurrent.futures import Future
from math import inf
from pathlib import Path
from statistics import fmean

from msam_bench.config import RunConfig, resolve
from msam_bench.executor import processes, train
from msam_bench.runs import Record

RATES = (0.01, 0.02, 0.05, 0.1, 0.2)
RHOS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
METHODS = ("sam", "gnp", "msam", "msam-encoder")
FIRST_SEED = 1000
Row = dict[str, object]


def main() -> None:
    """Tunes one data set and fusion."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits6")
    parser.add_argument("--fusion", default="late", choices=["late", "early"])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=Path, default=Path("runs/tuning"))
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    asked = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + asked.seeds)
    rates = [[resolve(asked.data, asked.fusion, "joint", seed=seed, lr=lr) for seed in seeds] for lr in RATES]
    rows = trials(rates, asked.runs, asked.workers)
    lr = float(str(best(rows)["lr"]))
    grid = [
        [resolve(asked.data, asked.fusion, f"{method}:rho={rho}", seed=seed, lr=lr) for seed in seeds]
        for method in METHODS
        for rho in RHOS
    ]
    rows += trials(grid, asked.runs, asked.workers)
    write(rows, asked.output / f"tuning-{asked.data}-{asked.fusion}.csv")
    print(f"[run.optimizer]\nlr = {lr}\n")
    for method in METHODS:
        chosen = best([row for row in rows if row["method"] == method])
        print(f"[{asked.fusion}.{method}]\nrho = {chosen['rho']}  # validation {chosen['valid_accuracy']:.4f}\n")


def trials(groups: list[list[RunConfig]], root: Path, workers: int) -> list[Row]:
    """One row a group of seeds."""
    with processes(workers) as executor:
        futures = [[executor.submit(train, config, root) for config in group] for group in groups]
        return [
            row(group, [finished(future) for future in found]) for group, found in zip(groups, futures, strict=True)
        ]


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
        "rho": first.method.params.get("rho", ""),
        "seeds": len(configs),
        "valid_accuracy": fmean(summary["valid_accuracy"] for summary in summaries),
        "valid_loss": fmean(summary["valid_loss"] for summary in summaries),
    }


def best(rows: list[Row]) -> Row:
    """The trial with the highest validation accuracy, then the lowest validation loss."""
    return max(rows, key=lambda row: (row["valid_accuracy"], -float(str(row["valid_loss"]))))


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

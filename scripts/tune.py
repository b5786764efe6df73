"""Chooses the shipped settings of a data set on its validation split, by the search of `msam sweep`.

    python scripts/tune.py --data digits6 --fusion late --seeds 5

Every method gets the seven listed trials of its `search`, each at every seed; the test split is not read. Writes every
trial to `docs/results/tuning-DATA-FUSION.csv` and prints the sections of `src/msam_bench/config/defaults/DATA.toml`.
Runs and trials that are there already are used again.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from msam_bench.config.resolve import resolve
from msam_bench.data import source
from msam_bench.files import csv_text, write_whole
from msam_bench.runs.choice import choose, refusal
from msam_bench.runs.executor import processes
from msam_bench.tuning.output import trial_rows, tuned_file
from msam_bench.tuning.sweep import FIRST_SEED, Sweep

TRIALS = 7


def main() -> None:
    """Tunes one data set and fusion."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="digits6")
    parser.add_argument("--fusion", default="late", choices=["late", "early"])
    parser.add_argument("--methods", default="all", help="as `msam compare` takes them")
    parser.add_argument("--lr", type=float, help="learning rate of all methods with a setting of their own")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="passes over the training split, if not the data set's own")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=Path, default=Path("runs/tuning"))
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    settings = {name: value for name in ("lr", "epochs") if (value := getattr(options, name)) is not None}
    sweep = Sweep(options.data, options.fusion, TRIALS, options.seeds, settings, prune=False)
    names = suited(options.data, options.fusion, options.methods)
    study = options.runs / f"{options.data}-{options.fusion}.sqlite"
    with processes(options.workers) as executor:
        trials = sweep.run(names, study, options.runs, executor)
    rows, path = trial_rows(sweep, trials), options.output / f"tuning-{options.data}-{options.fusion}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, csv_text(rows))
    print(f"{len(rows)} trials: {path}\n\n{tuned_file(sweep, trials, ' '.join(sys.argv))}")


def suited(data: str, fusion: str, methods: str) -> tuple[str, ...]:
    """The methods that are tuned; those that do not suit are named."""
    dataset = source(data).load(FIRST_SEED)
    choice = choose(methods, lambda name: refusal(resolve(data, fusion, name, seed=FIRST_SEED), dataset))
    print("\n".join(choice.notes))
    return choice.methods


if __name__ == "__main__":
    main()

"""`msam sweep`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.cli.app import app
from msam_bench.cli.jobs import Where, pool
from msam_bench.cli.screen import command, console, counting, line, new_grid
from msam_bench.cli.settings import METHODS, Data, Fusion, Settings, check_positive, chosen_methods

if TYPE_CHECKING:
    from msam_bench.tuning.sweep import Sweep
    from msam_bench.tuning.trial import Trial


@app.command
def sweep(
    *,
    data: Data = "digits6",
    methods: str = METHODS,
    trials: int = 7,
    seeds: int = 3,
    fusion: Fusion = "late",
    settings: Settings = Settings(),
    where: Where = Where(),
    study: Path | None = None,
) -> None:
    """Tune methods on validation with the same number of trials each. Stopped, the same command goes on where it was.

    The first seven trials are published values, the others are drawn between them. Joint training is tuned first, for
    the learning rate of all methods that have a setting of their own.

    Args:
        data: Name of a data set (see `msam data list`), path of a prepared one, or package.module:name of an
            experiment.
        methods: Methods, separated by commas, without arguments. All is every method that suits.
        trials: Trials a method, those that are pruned or diverge counted; more than last time goes on from there.
        seeds: Seeds a trial, 1000 and on; a trial that is clearly behind after two has no more.
        fusion: Late (linear on the concatenated features), early (a maxout trunk), or one of the others.
        settings: Changes to the data set's default settings; --lr is then the learning rate of all methods that have a
            setting of their own.
        where: Where runs are trained and kept.
        study: File of the trials, sweeps/DATA-FUSION.sqlite if not given. Beside it go a table of all trials (csv) and
            what was chosen (toml), for `--tuned` of the other verbs.
    """
    from msam_bench.config.search_space import listed
    from msam_bench.files import csv_text, write_whole
    from msam_bench.names import stem
    from msam_bench.runs.choice import ALL

    search = _search(data, fusion, trials, seeds, settings)
    from msam_bench.tuning.output import trial_rows, tuned_file

    for name in filter(None, map(str.strip, methods.split(","))):
        if name != ALL:
            listed(name)  # refused before anything is made of it
    names = chosen_methods(data, fusion, methods, 1000, settings).methods
    check_positive(methods=len(names))
    for name in names:
        search.check(name)
    path = study or Path("sweeps") / f"{stem(data)}-{fusion}.sqlite"
    with counting("trials") as watch, pool(where, max(1, len(names)) * seeds) as executor:
        searched = search.run(names, path, where.folder, executor, watch)
    write_whole(path.with_suffix(".csv"), csv_text(trial_rows(search, searched)))
    write_whole(path.with_suffix(".toml"), tuned_file(search, searched, command()))
    _show(searched)
    line("every trial", path.with_suffix(".csv"))
    line("chosen", path.with_suffix(".toml"))
    line("next", f"msam compare --data {data} --fusion {fusion} --tuned {path.with_suffix('.toml')}")


def _search(data: str, fusion: str, trials: int, seeds: int, settings: Settings) -> Sweep:
    """The search, if the package that it needs is installed."""
    try:
        from msam_bench.tuning.sweep import Sweep
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise ValueError("msam sweep needs optuna: pip install 'msam[bench,sweep]'.") from None
    check_positive(trials=trials, seeds=seeds)
    given = {key: value for key, value in asdict(settings).items() if value is not None}
    return Sweep(data, fusion, trials, seeds, file=given.pop("config", None), settings=given)


def _show(trials: dict[str, list[Trial]]) -> None:
    """One line a method: how many trials, and the best of them."""
    from msam_bench.tuning.output import count_pruned
    from msam_bench.tuning.trial import best

    grid = new_grid("method", "trials", "pruned", "diverged runs", "chosen", "validation", "its seeds")
    for name, each in trials.items():
        top, diverged = best(each), sum(trial.row()["diverged"] for trial in each)
        chosen = ", ".join([f"{key} {value}" for key, value in top.arguments.items()] or [f"lr {top.lr}"])
        spread = f"{min(s.accuracy for s in top.scores):.4f} to {max(s.accuracy for s in top.scores):.4f}"
        counts = map(str, (len(each), count_pruned(each), diverged))
        grid.add_row(name, *counts, chosen, f"{top.accuracy:.4f}", spread)
    console.print(grid, "")

"""Tuning before a comparison: where nothing is tuned, validation chooses settings, with equally many trials each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msam_bench.cli.jobs import Where, pool
from msam_bench.cli.screen import command, console, counting
from msam_bench.cli.settings import Settings

if TYPE_CHECKING:
    from msam_bench.tuning.sweep import Sweep

Tune = Literal["quick", "equal", "none"]
TRIALS = {"quick": (3, 2), "equal": (7, 3)}
"""How thoroughly -> trials a method, and seeds a trial."""


def tune_first(
    data: str, fusion: str, methods: Sequence[str], tune: Tune | None, settings: Settings, where: Where
) -> tuple[Settings, tuple[str, ...]]:
    """Tunes the methods of a comparison, told before it starts, if that is asked for or nothing is tuned.

    Args:
        data: Name of a data set.
        fusion: Late or early.
        methods: Of the comparison; those with arguments keep them.
        tune: How thoroughly; quick if None, on a problem of which nothing is tuned.
        settings: Of the comparison.
        where: Where trials are trained.

    Returns:
        The settings with the file of what was chosen, and the methods of which nothing was chosen.
    """
    from msam_bench.config.resolve import tuned_sections, untuned

    chosen = settings.lr is not None or settings.config is not None  # by the user
    missing = () if chosen else untuned(data, fusion, methods, settings.tuned)
    known = chosen or bool(tuned_sections(data, fusion, settings.tuned))
    if tune == "none" or (tune is None and (known or not missing)):
        return settings, missing
    path = _tuned(data, fusion, methods, tune or "quick", settings, where)
    if path is None:
        return settings, missing
    return replace(settings, tuned=path), untuned(data, fusion, methods, path)


def _tuned(data: str, fusion: str, methods: Sequence[str], tune: str, settings: Settings, where: Where) -> Path | None:
    """The file of what validation chose; None, and a word why, where the package for it is missing."""
    from msam_bench.files import csv_text, write_whole
    from msam_bench.names import stem
    from msam_bench.registry import methods as known

    try:
        from msam_bench.tuning.output import trial_rows, tuned_file
        from msam_bench.tuning.sweep import Sweep
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        _tell("Nothing is tuned, for that needs optuna: pip install 'msam[sweep]'; the comparison goes on untuned.")
        return None
    trials, seeds = TRIALS[tune]
    names = [name for name in dict.fromkeys(["joint", *methods]) if name in known() and known()[name].search]
    given = {key: value for key, value in asdict(settings).items() if value is not None}
    search = Sweep(data, fusion, trials, seeds, settings=given, prune=False, own_lr=True)
    path = Path("sweeps") / f"{stem(data)}-{fusion}-{tune}.sqlite"
    runs = len(names) * trials * seeds
    _tell(
        f"No setting is tuned for {data}, {fusion} fusion. First come {trials} trials on validation for each of "
        f"{len(names)} methods: {runs} runs, about {_minutes(search, runs, where)}. `--tune none` leaves them out, "
        f"`--tune equal` takes {TRIALS['equal'][0]} trials."
    )
    with counting("trials") as watch, pool(where, len(names) * seeds) as executor:
        searched = search.run(names, path, where.folder, executor, watch)
    write_whole(path.with_suffix(".csv"), csv_text(trial_rows(search, searched)))
    write_whole(path.with_suffix(".toml"), tuned_file(search, searched, command()))
    _tell(f"Chosen on validation: {path.with_suffix('.toml')}")
    return path.with_suffix(".toml")


def _minutes(search: Sweep, runs: int, where: Where) -> str:
    """The time of so many runs, by a few batches of one with two passes a batch."""
    from msam_bench.runs.assembly import seconds_of
    from msam_bench.tuning.sweep import FIRST_SEED

    seconds = 1.5 * seconds_of(search.resolved("joint", {}, FIRST_SEED)) * runs / where.count(runs)
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{max(5, 5 * round(seconds / 5))} seconds"


def _tell(words: str) -> None:
    console.print(words, soft_wrap=True, highlight=False, markup=False)

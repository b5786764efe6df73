"""`msam diagnose`: is a model imbalanced, and what to try."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from .app import app
from .jobs import train_all
from .screen import command, console, show_sheet
from .settings import Settings, check_positive


@app.command
def diagnose(
    run: Path | None = None,
    *,
    data: str = "digits6",
    seeds: int = 12,
    first_seed: int = 0,
    fusion: Literal["late", "early"] = "late",
    settings: Settings = Settings(),
    workers: int | None = None,
    runs: Path = Path("runs"),
    report: Path | None = None,
) -> None:
    """Is one modality dominating, and is another one under-used? Says what was found and what to try, in order.

    Trains jointly and each modality apart, with the same encoders, budget and seeds. Runs that exist are used again.

    Args:
        run: A run folder: its method, data set, fusion and settings are used, and its seed is the first.
        data: Name of a data set (see `msam data list`), or path of a prepared one.
        seeds: Number of paired seeds.
        first_seed: The first of them.
        fusion: Late (linear on the concatenated features) or early (a maxout trunk).
        settings: Changes to the data set's default settings.
        workers: Runs at a time, one core each; as many as there are cores if not given.
        runs: Folder of the run folders.
        report: Folder of the report; reports/diagnosis-DATA-FUSION if not given.
    """
    from msam_bench.runs import read
    from msam_bench.studies import Ask
    from msam_bench.studies.diagnosis import STUDY, like
    from msam_bench.studies.page import write

    check_positive(seeds=seeds)
    given = asdict(settings)
    asked = Ask((data,), fusion, range(first_seed, first_seed + seeds), file=given.pop("config"), settings=given)
    configs = like(read(run), seeds) if run else STUDY.plan(asked)
    records = train_all(configs, runs, workers)
    result = STUDY.conclude(records)
    for sheet in result.sheets:
        show_sheet(sheet)
    folder = report or Path("reports") / f"diagnosis-{configs[0].data}-{configs[0].fusion}"
    page = write(folder, result, command(), records)
    said = "\n".join([result.answer, *(f"{i}. {line}" for i, line in enumerate(result.details, 1))])
    console.print(f"\n{said}\n\nReport: {page}", soft_wrap=True, highlight=False, markup=False)

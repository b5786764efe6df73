"""`msam diagnose`: is a model imbalanced, and what to try."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.cli.app import app
from msam_bench.cli.jobs import Where
from msam_bench.cli.screen import report_folder
from msam_bench.cli.settings import DataOrNone, Paired, Settings, check_positive
from msam_bench.cli.study import answer

if TYPE_CHECKING:
    from msam_bench.config.run import RunConfig
    from msam_bench.runs.record import RunRecord
    from msam_bench.studies import Request


@app.command
def diagnose(
    run: Path | None = None,
    *,
    data: DataOrNone = None,
    paired: Paired = Paired(),
    settings: Settings = Settings(),
    where: Where = Where(),
    report: Path | None = None,
) -> None:
    """Is one modality dominating, and is another one under-used? Says what was found and what to try, in order.

    Trains jointly and each modality apart, with the same encoders, budget and seeds. Runs that exist are used again.

    Args:
        run: The folder of a finished run: its model is diagnosed, with its method, data set, fusion and settings; its
            seed is the first, and further runs lie beside it if --runs is not given.
        data: Name of a data set (see `msam data list`), path of a prepared one, or package.module:name of an
            experiment; digits6 if not given.
        paired: Seeds and fusion.
        settings: Changes to the data set's default settings.
        where: Where runs are trained and kept.
        report: Folder of the report; reports/diagnosis-DATA-FUSION if not given.
    """
    from msam_bench.names import stem
    from msam_bench.studies.diagnosis import STUDY

    if run:
        if data or settings != Settings() or replace(paired, seeds=Paired.seeds) != Paired():
            raise ValueError("A run brings its own data, fusion, settings and first seed; leave these options out.")
        trained, configs = _of_run(run, paired.seeds)
        where = replace(where, runs=where.runs or run.parent)
    else:
        trained, configs = [], STUDY.plan(_request(data or "digits6", paired, settings))
    first = configs[0]
    folder = report_folder(report, f"diagnosis-{stem(first.data)}-{first.fusion}")
    request = _request(first.data, paired, settings)
    answer(STUDY, request, where, folder, configs[len(trained) :], trained)


def _of_run(folder: Path, seeds: int) -> tuple[list[RunRecord], list[RunConfig]]:
    """The run itself, and the plan that starts with it."""
    from msam_bench.runs.record import read
    from msam_bench.studies.diagnosis import like

    check_positive(seeds=seeds)
    record = read(folder)
    if record.status != "finished":
        raise ValueError(
            f"Expected a finished run in {folder}, found one that is {record.status}; `msam train --resume`."
        )
    return [record], like(record, seeds)


def _request(data: str, paired: Paired, settings: Settings) -> Request:
    """The request for data that are here."""
    from msam_bench.data import source
    from msam_bench.studies import Request

    _ = source(data).fingerprint  # data that are not here are refused before any process is started
    given = asdict(settings)
    return Request((data,), paired.fusion, paired.numbers, file=given.pop("config"), settings=given)

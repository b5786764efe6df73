"""`msam study NAME`: the named studies, one verb each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.cli.app import study_app
from msam_bench.cli.jobs import Where, pool, train_all
from msam_bench.cli.screen import counting, report_folder, show_result
from msam_bench.cli.settings import DataOrNone, Paired, Settings

if TYPE_CHECKING:
    from msam_bench.config.run import RunConfig
    from msam_bench.reporting.result import Result
    from msam_bench.runs.record import RunRecord
    from msam_bench.studies import Request, Study

QUESTIONS = {
    "fusion": "What does each method do under late and under early fusion?",
    "dominance": "Does it matter which modality is dominant, and that the weight follows the batch?",
    "rho": "Which radius, and what does flatness buy?",
    "normalization": "Which normalisation of Shapley values predicts the gradient's shares, and does it matter?",
    "scaling": "How do Shapley values scale with the number of modalities, and what do shortcuts cost?",
    "convergence": "Does the mean squared gradient norm fall like log T / sqrt T?",
    "transfer": "Does a method that helps on one data set help on others?",
    "recipe": "Does sharpness by modality pay on top of the losses that balance modalities?",
    "flatness": "Are non-dominant modalities left in sharper minima?",
    "overhead": "What do Shapley values cost, in seconds and memory, of a step and of an epoch?",
    "diagnosis": "Is one modality dominating, and is another one under-used?",
}
"""Study -> what it asks; written here so that help needs no heavy import."""
WITH_OPTIONS = ("flatness", "overhead", "diagnosis")
"""Studies whose verbs have options of their own, in files of their own."""


_OPTIONS = """
Args:
    data: Data sets, separated by commas; most studies take one.
    methods: Methods, separated by commas, for studies that leave the choice.
    paired: Seeds and fusion.
    settings: Changes to the data set's default settings.
    where: Where runs are trained and kept.
    report: Folder of the report; reports/STUDY-DATA-FUSION if not given.
"""
"""The options of every study."""


def answer(
    study: Study,
    request: Request,
    where: Where,
    folder: Path,
    configs: Sequence[RunConfig] | None = None,
    trained: Sequence[RunRecord] = (),
) -> None:
    """Trains what is missing, measures, concludes, and writes the report.

    Args:
        study: the study.
        request: data, seeds, methods and settings.
        where: where runs are trained and kept.
        folder: of the report.
        configs: runs to train, those of the study's plan if None.
        trained: finished runs that come before these.
    """
    from msam_bench.runs.record import environment

    result, records = conclude(study, request, where, configs, trained)
    show_result(result, folder, records, None if records else environment())


def conclude(
    study: Study,
    request: Request,
    where: Where,
    configs: Sequence[RunConfig] | None = None,
    trained: Sequence[RunRecord] = (),
) -> tuple[Result, list[RunRecord]]:
    """Trains what is missing, measures and concludes; the result, and the runs that it rests on.

    The arguments are those of `answer`.
    """
    import torch

    from msam_bench.studies import Bench

    diverged: list[RunConfig] = []
    missing = list(study.plan(request) if configs is None else configs)
    records = [*trained, *(train_all(missing, where, diverged) if missing else ())]
    bench = Bench(partial(pool, where), counting, torch.manual_seed)
    measurements = study.measure(records, request, bench)
    return study.answer(measurements, diverged), records


def _verb(name: str) -> Callable[..., None]:
    def verb(
        *,
        data: DataOrNone = None,
        methods: str | None = None,
        paired: Paired = Paired(),
        settings: Settings = Settings(),
        where: Where = Where(),
        report: Path | None = None,
    ) -> None:
        from msam_bench.names import stem
        from msam_bench.studies import Request, study

        chosen = study(name)
        given, numbers = asdict(settings), paired.numbers
        names, labels = _listed(data or chosen.data), _listed(methods or chosen.methods)
        folder = report_folder(report, "-".join([name, *map(stem, names), paired.fusion]))
        answer(chosen, Request(names, paired.fusion, numbers, labels, given, given.pop("config")), where, folder)

    verb.__doc__ = f"{QUESTIONS[name]} Runs that are there are used again.\n\n{_OPTIONS}"
    return verb


def _listed(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())


for _name in QUESTIONS:
    if _name not in WITH_OPTIONS:
        study_app.command(_verb(_name), name=_name)

"""`msam study NAME`: the named studies, one verb each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.cli.app import study_app
from msam_bench.cli.jobs import Where, train_all
from msam_bench.cli.screen import report_folder, show_result
from msam_bench.cli.settings import Paired, Settings

if TYPE_CHECKING:
    from msam_bench.config.run import RunConfig

QUESTIONS = {
    "fusion": "What does each method do under late and under early fusion?",
    "dominance": "Does it matter which modality is dominant, and that the weight follows the batch?",
    "rho": "Which radius, and what does flatness buy?",
    "normalization": "Which normalisation of Shapley values predicts the gradient's shares, and does it matter?",
    "scaling": "How do Shapley values scale with the number of modalities, and what do shortcuts cost?",
    "convergence": "Does the mean squared gradient norm fall like log T / sqrt T?",
    "transfer": "Does a method that helps on one data set help on others?",
}
"""Study -> what it asks; written here so that help needs no heavy import."""


_OPTIONS = """
Args:
    data: Data sets, separated by commas; most studies take one.
    methods: Methods, separated by commas, for studies that leave the choice.
    paired: Seeds and fusion.
    settings: Changes to the data set's default settings.
    where: Where runs are trained and kept.
    report: Folder of the report; reports/STUDY-DATA-FUSION if not given.
"""
"""What every study can be told."""


def _verb(name: str) -> Callable[..., None]:
    def verb(
        *,
        data: str | None = None,
        methods: str | None = None,
        paired: Paired = Paired(),
        settings: Settings = Settings(),
        where: Where = Where(),
        report: Path | None = None,
    ) -> None:
        from msam_bench.names import stem
        from msam_bench.studies import Ask, study

        found = study(name)
        given, numbers = asdict(settings), paired.numbers
        names, chosen = _listed(data or found.data), _listed(methods or found.methods)
        folder = report_folder(report, "-".join([name, *map(stem, names), paired.fusion]))
        asked = Ask(names, paired.fusion, numbers, chosen, given, given.pop("config"))
        diverged: list[RunConfig] = []
        records = train_all(found.plan(asked), where, diverged)
        show_result(found.concluded(records, diverged), folder, records)

    verb.__doc__ = f"{QUESTIONS[name]} Runs that are there are used again.\n\n{_OPTIONS}"
    return verb


def _listed(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())


for _name in QUESTIONS:
    study_app.command(_verb(_name), name=_name)

"""`msam study NAME`: the named studies, one verb each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .app import study_app
from .jobs import train_all
from .screen import command, console, show_sheet
from .settings import Settings, check_positive

if TYPE_CHECKING:
    from msam_bench.config import RunConfig

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
    seeds: Number of paired seeds.
    first_seed: The first of them.
    fusion: Late (linear on the concatenated features) or early (a maxout trunk).
    settings: Changes to the data set's default settings.
    workers: Runs at a time, one core each; as many as there are cores if not given.
    runs: Folder of the run folders; a run that is already there is not trained again.
    report: Folder of the report; reports/STUDY-DATA-FUSION if not given.
"""
"""What every study can be told."""


def _verb(name: str) -> Callable[..., None]:
    def verb(
        *,
        data: str | None = None,
        methods: str | None = None,
        seeds: int = 12,
        first_seed: int = 0,
        fusion: Literal["late", "early"] = "late",
        settings: Settings = Settings(),
        workers: int | None = None,
        runs: Path = Path("runs"),
        report: Path | None = None,
    ) -> None:
        from msam_bench.studies import Ask, study
        from msam_bench.studies.page import write

        check_positive(seeds=seeds)
        found = study(name)
        given = asdict(settings)
        numbers = range(first_seed, first_seed + seeds)
        asked = Ask(
            _listed(data or found.data), fusion, numbers, _listed(methods or found.methods), given, given.pop("config")
        )
        diverged: list[RunConfig] = []
        records = train_all(found.plan(asked), runs, workers, diverged)
        result = found.concluded(records, diverged)
        for sheet in result.sheets:
            show_sheet(sheet)
        page = write(report or Path("reports") / "-".join([name, *asked.data, fusion]), result, command(), records)
        said = "\n".join([result.answer, *(f"- {line}" for line in result.details)])
        console.print(f"\n{said}\n\nReport: {page}", soft_wrap=True, highlight=False, markup=False)

    verb.__doc__ = f"{QUESTIONS[name]} Runs that are there are used again.\n\n{_OPTIONS}"
    return verb


def _listed(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())


for _name in QUESTIONS:
    study_app.command(_verb(_name), name=_name)

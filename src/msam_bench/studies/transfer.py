"""The same configuration of each method on several data sets: differences, ranks, and what ranks can say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msam_bench.analysis.ranking import friedman, ranks
from msam_bench.analysis.statistics import words
from msam_bench.config.run import RunConfig
from msam_bench.reporting.result import Result, Sheet
from msam_bench.reporting.run_summary import Record
from msam_bench.studies.base import Ask, Study
from msam_bench.studies.tables import compared

REFERENCE = "joint"
FEWEST = 5
"""Data sets from which Friedman's test and Nemenyi's critical distance are made."""


def plan(ask: Ask) -> list[RunConfig]:
    """Every method on every data set; a method that refuses a data set is left out there."""
    chosen = {data: ask.fitting(data) for data in ask.data}
    return [ask.run(data, method, seed) for data in ask.data for seed in ask.seeds for method in chosen[data]]


def conclude(records: Sequence[Record]) -> Result:
    """Each data set against joint training; average ranks over data sets."""
    names = list(dict.fromkeys(run.config["data"] for run in records))
    parts = {name: compared([run for run in records if run.config["data"] == name], REFERENCE) for name in names}
    table = {name: found.means for name, found in parts.items()}
    placed = ranks(table)
    leaders = sorted(placed, key=lambda method: placed[method])
    several = friedman(table) if len(names) >= FEWEST else None
    tested = (
        several.words
        if several
        else f"{len(names)} data set{'s are' if len(names) != 1 else ' is'} too few to test ranks (at least {FEWEST})."
    )
    return Result(
        "transfer",
        STUDY.question,
        f"Average ranks over {words(names)}: {words([f'{name} {placed[name]:.1f}' for name in leaders])}. {tested}",
        [f"{name}: {found.verdict}" for name, found in parts.items()],
        [
            Sheet("Mean test accuracy and average rank", _rows(table, placed), {"average rank": 2}),
            *(found.sheet(f"On {name}") for name, found in parts.items()),
        ],
        {f"On {name}": found.figures for name, found in parts.items()},
    )


def _rows(table: dict[str, dict[str, float]], placed: dict[str, float]) -> list[dict[str, Any]]:
    return [
        {"method": method, "average rank": rank, **{name: 100 * means[method] for name, means in table.items()}}
        for method, rank in sorted(placed.items(), key=lambda pair: pair[1])
    ]


STUDY = Study(
    "transfer",
    "Does a method that helps on one data set help on others?",
    plan,
    conclude,
    data="digits6,smartwatch",
    methods="joint,sam,gnp,msam,msam-encoder",
)

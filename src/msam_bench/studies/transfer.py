"""The same configuration of each method on several data sets: differences, ranks, and what ranks can say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msam_bench.analysis.ranking import friedman, ranks
from msam_bench.analysis.run_summary import RunSummary
from msam_bench.analysis.sentences.phrases import join_names
from msam_bench.config.run import RunConfig
from msam_bench.reporting.result import Result
from msam_bench.reporting.table import Table
from msam_bench.studies.base import Request, Study
from msam_bench.studies.tables import compared

REFERENCE = "joint"
FEWEST = 5
"""Data sets from which Friedman's test and Nemenyi's critical distance are made."""


def plan(request: Request) -> list[RunConfig]:
    """Every method on every data set; a method that refuses a data set is left out there."""
    chosen = {data: request.fitting(data) for data in request.data}
    return [
        request.run(data, method, seed) for data in request.data for seed in request.seeds for method in chosen[data]
    ]


def conclude(records: Sequence[RunSummary]) -> Result:
    """Each data set against joint training; average ranks over data sets."""
    names = list(dict.fromkeys(run.config["data"] for run in records))
    parts = {name: compared([run for run in records if run.config["data"] == name], REFERENCE) for name in names}
    table = {name: part.means for name, part in parts.items()}
    placed = ranks(table)
    leaders = sorted(placed, key=lambda method: placed[method])
    several = friedman(table) if len(names) >= FEWEST else None
    tested = (
        several.words
        if several
        else f"{len(names)} data set{'s are' if len(names) != 1 else ' is'} too few to test ranks (at least {FEWEST})."
    )
    averages = [f"{name} {placed[name]:.1f}" for name in leaders]
    return Result(
        "transfer",
        STUDY.question,
        f"Average ranks over {join_names(names)}: {join_names(averages)}. {tested}",
        [f"{name}: {part.verdict}" for name, part in parts.items()],
        [
            Table("Mean test accuracy and average rank", _rows(table, placed), {"average rank": 2}),
            *(part.table(f"On {name}") for name, part in parts.items()),
        ],
        {f"On {name}": part.figures for name, part in parts.items()},
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

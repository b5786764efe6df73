"""Do non-dominant modalities end in sharper minima, and does that cost accuracy?

Every measure of `msam.sharpness` on every run, paired by seed, and the loss surfaces of one seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from msam_bench.analysis.flatness.comparison import FlatnessComparison, compare, rows
from msam_bench.analysis.flatness.matching import matched
from msam_bench.analysis.flatness.measurement import measure_all
from msam_bench.analysis.flatness.measures import Plan
from msam_bench.analysis.flatness.surfaces import Grid, LossSurface, chosen, surfaces
from msam_bench.analysis.sentences.flatness import answer, correlations, details
from msam_bench.config.run import RunConfig
from msam_bench.reporting.figures.ratios import MEASURES_SHOWN, ratios
from msam_bench.reporting.landscapes import landscape_sections
from msam_bench.reporting.result import Result
from msam_bench.reporting.table import Table
from msam_bench.runs.record import RunRecord
from msam_bench.studies.base import Bench, Request, Study

AT = {
    "selected": "at the selected weights",
    "equal-loss": "at equal training loss, each run at the epoch whose loss is nearest to the lowest that all methods "
    "of its seed reach",
}
"""Which weights are measured."""
OPTIONS: dict[str, Any] = {"at": "selected", "samples": 512, "rho": 0.05, "points": 25}
"""Which weights; training samples; radius of the ball; points along each axis of a surface."""


@dataclass(frozen=True)
class FlatnessMeasurements:
    """Measurements of the runs, compared, and loss surfaces of one seed.

    Args:
        data: name of the data set.
        fusion: late or early.
        comparison: every measure, compared over paired seeds.
        surfaces: loss surfaces of one seed; none if they are not drawn.
        plan: how it was measured.
    """

    data: str
    fusion: str
    comparison: FlatnessComparison
    surfaces: Sequence[LossSurface]
    plan: Plan


def plan(request: Request) -> list[RunConfig]:
    """The methods that are compared; their weights are kept every epoch where they are met at equal loss."""
    equal = {**OPTIONS, **request.options}["at"] == "equal-loss"
    kept: dict[str, Any] = {"snapshots": 1} if equal else {}
    return [request.run(request.data[0], m, seed, **kept) for seed in request.seeds for m in request.methods]


def measure(records: Sequence[RunRecord], request: Request, bench: Bench) -> FlatnessMeasurements:
    """Measures every run and draws the surfaces of one seed, each run in a job of its own."""
    options = {**OPTIONS, **request.options}
    how = Plan(samples=options["samples"], rho=options["rho"])
    epochs = _matched(records, how, bench) if options["at"] == "equal-loss" else None
    with bench.counting("runs measured") as watch, bench.pool(len(records)) as executor:
        measurements = measure_all(records, how, executor, watch, epochs)
        comparison = compare(records, measurements, at=AT[options["at"]])
    alike = chosen(records)
    grid = Grid(points=options["points"], samples=options["samples"])
    with bench.counting("surfaces") as watch, bench.pool(len(alike)) as executor:
        drawn = surfaces(alike, grid, executor, watch, epochs)
    return FlatnessMeasurements(request.data[0], request.fusion, comparison, drawn, how)


def _matched(records: Sequence[RunRecord], how: Plan, bench: Bench) -> dict[Path, int]:
    """The epoch of each run at which all methods of its seed have the same loss."""
    with bench.counting("paths followed") as watch, bench.pool(len(records)) as executor:
        return matched(records, how, executor, watch)


def conclude(measured: FlatnessMeasurements) -> Result:
    """The answer, every measure as a table, ratios to the reference, and the surfaces."""
    comparison = measured.comparison
    sections = landscape_sections(measured.surfaces)
    ratio_section = f"How many times as sharp as {comparison.reference}"
    drawn = [figure for name in MEASURES_SHOWN if (figure := ratios(comparison, name))]
    return Result(
        "flatness",
        STUDY.question,
        f"On {measured.data}, {measured.fusion} fusion: {answer(comparison)}",
        [*details(comparison), correlations(comparison)],
        [Table("Flatness", rows(comparison), caption=_CAPTION, titles=_TITLES, significant=3)],
        {ratio_section: drawn, **sections.figures},
        introductions={ratio_section: _RATIOS, **sections.introductions},
        facts=asdict(measured.plan),
        files=sections.files,
    )


_TITLES = {"loss_of": "loss of", "sd": "SD", "ratio_low": "low", "ratio_high": "high", "p": "p (Holm)"}
_CAPTION = (
    "Ratios are geometric means over paired seeds with 95 % bootstrap intervals; p from sign-flip permutations, "
    "Holm-adjusted over methods. Error: mean standard error of a measurement, or the residual of an eigenvalue; 0 "
    "where nothing is random. A block's sharpness is taken under the loss of all modalities on training data, in "
    "evaluation mode. Sharpness does not rank generalisation across settings: read it beside the accuracies, never "
    "instead. A lower loss is flatter whatever the weights: the losses are in the table."
)
_RATIOS = (
    "One row for each block of weights and method. A block is left out where some value is not positive, which has no "
    "ratio."
)

STUDY = Study(
    "flatness",
    "Are non-dominant modalities left in sharper minima?",
    plan,
    conclude,
    measure,
    methods="joint,sam,gnp,msam,msam-encoder",
)

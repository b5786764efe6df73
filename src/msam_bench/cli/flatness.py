"""`msam landscape` and `msam study flatness`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from .app import app, study_app
from .jobs import pool, train_all
from .screen import command, console, counting, line
from .settings import METHODS, Settings, chosen_methods, planned


@app.command
def landscape(
    *folders: Path,
    block: str | None = None,
    coalition: str | None = None,
    seed: int | None = None,
    directions: int = 0,
    points: int = 25,
    span: float = 1.0,
    samples: int = 512,
    workers: int | None = None,
    output: Path = Path("reports/landscape"),
) -> None:
    """Draw the loss around the models of finished runs: shared directions, one colour scale. Nothing is trained.

    Args:
        folders: Run folders, or folders that contain them; runs if not given. One run of each method is drawn.
        block: Move only the encoder of this modality, or only the fusion; all weights if not given.
        coalition: Modalities that are present, joined by +; all if not given.
        seed: Which seed's runs; the lowest that most methods have if not given.
        directions: Seed of the two directions and of the samples.
        points: Points along each axis.
        span: How far to go, in lengths of each filter of the first method.
        samples: How many training samples the loss is a mean of.
        workers: Processes, one core each; as many as there are cores if not given.
        output: Folder of the page and its pictures.
    """
    from msam_bench import runs
    from msam_bench.flatness.page import Page, write
    from msam_bench.flatness.surfaces import Grid, chosen, surfaces

    records = chosen(runs.records(folders or [Path("runs")]), seed)
    present = None if coalition is None else tuple(coalition.split("+"))
    with counting("surfaces") as watch, pool(workers, len(records)) as executor:
        sheets = surfaces(records, Grid(block, present, points, span, samples, directions), executor, watch)
    for sheet in sheets:
        line(sheet.label, f"loss {sheet.loss:.4g}, around it {min(sheet.values):.4g} to {max(sheet.values):.4g}")
    title = f"Loss landscapes on {records[0].config['data']}"
    page = write(output, Page(title, None, tuple(sheets), command(), {}))
    console.print(f"\nReport: {page}", soft_wrap=True, highlight=False)


@study_app.command(name="flatness")
def study_flatness(
    *,
    data: str = "digits6",
    methods: str = METHODS,
    seeds: int = 12,
    first_seed: int = 0,
    fusion: Literal["late", "early"] = "late",
    settings: Settings = Settings(),
    samples: int = 512,
    rho: float = 0.05,
    points: int = 25,
    workers: int | None = None,
    runs: Path = Path("runs"),
    report: Path | None = None,
) -> None:
    """Do non-dominant modalities end in sharper minima, and does that cost accuracy? Runs that are there are reused.

    Args:
        data: Name of a data set (see `msam data list`), or path of a prepared one.
        methods: Methods, separated by commas; the first reference is joint.
        seeds: Number of paired seeds.
        first_seed: The first of them.
        fusion: Late (linear on the concatenated features) or early (a maxout trunk).
        settings: Changes to the data set's default settings.
        samples: How many training samples are measured on.
        rho: Radius of the ball.
        points: Points along each axis of the surfaces, which are drawn for the first seed.
        workers: Processes, one core each; as many as there are cores if not given.
        runs: Folder of the run folders; measurements are kept in them.
        report: Folder of the report; reports/flatness-DATA-FUSION if not given.
    """
    from msam_bench.flatness.measuring import Plan, measure_all
    from msam_bench.flatness.page import Page, write
    from msam_bench.flatness.study import compare as compare_flatness
    from msam_bench.flatness.surfaces import Grid, chosen, surfaces
    from msam_bench.names import stem

    choice = chosen_methods(data, fusion, methods, first_seed, settings)
    records = train_all(planned(data, fusion, choice.methods, seeds, first_seed, settings), runs, workers)
    plan = Plan(samples=samples, rho=rho)
    with counting("runs measured") as watch, pool(workers, len(records)) as executor:
        study = compare_flatness(records, measure_all(records, plan, executor, watch))
    drawn = chosen(records)
    with counting("surfaces") as watch, pool(workers, len(drawn)) as executor:
        sheets = surfaces(drawn, Grid(points=points, samples=samples), executor, watch)
    folder = report or Path("reports") / f"flatness-{stem(data)}-{fusion}"
    page = write(folder, Page(f"Flatness on {data}", study, tuple(sheets), command(), asdict(plan)))
    said = "\n".join([study.answer, *(f"- {line}" for line in study.details)])
    console.print(f"\n{said}\n\nReport: {page}", soft_wrap=True, highlight=False, markup=False)

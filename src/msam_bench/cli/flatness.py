"""`msam landscape` and `msam study flatness`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from msam_bench.cli.app import app, study_app
from msam_bench.cli.jobs import Where, pool
from msam_bench.cli.screen import counting, line, report_folder, show_result
from msam_bench.cli.settings import METHODS, Data, Paired, Settings, chosen_methods, planned
from msam_bench.cli.study import answer


@app.command
def landscape(
    *folders: Path,
    block: str | None = None,
    coalition: str | None = None,
    seed: int | None = None,
    plane: Literal["random", "trajectory"] = "random",
    axes: Literal[1, 2] = 2,
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
        plane: Random directions, a surface for each method; or the plane of the paths that training took, which needs
            runs trained with --snapshots.
        axes: 2 for surfaces, 1 for curves along one random direction.
        directions: Seed of the directions and of the samples.
        points: Points along each axis.
        span: How far to go in random directions, in lengths of each filter of the first method.
        samples: How many training samples the loss is a mean of.
        workers: Processes, one core each; as many as there are cores if not given.
        output: Folder of the page and its pictures.
    """
    from msam_bench.analysis.flatness.surfaces import Grid, chosen, surfaces
    from msam_bench.analysis.flatness.trajectories import trajectories
    from msam_bench.analysis.settings import machine
    from msam_bench.reporting.landscapes import landscapes
    from msam_bench.runs import record as runs

    records = chosen(runs.records(folders or [Path("runs")]), seed)
    present = None if coalition is None else tuple(coalition.split("+"))
    grid = Grid(block, present, axes, points, span, samples, directions)
    if plane == "trajectory":
        if axes == 1:
            raise ValueError("Paths are drawn in a plane, found --axes 1; leave it out, or take --plane random.")
        with counting("points") as watch:
            drawn = [trajectories(records, grid, watch)]
    else:
        with counting("surfaces") as watch, pool(Where(workers), len(records)) as executor:
            drawn = surfaces(records, grid, executor, watch)
    for surface in drawn:
        line(
            surface.label, f"loss {surface.loss:.4g}, around it {min(surface.values):.4g} to {max(surface.values):.4g}"
        )
    show_result(landscapes(records[0].config["data"], drawn), output, [], machine({"all": records}))


@study_app.command(name="flatness")
def study_flatness(
    *,
    data: Data = "digits6",
    methods: str = METHODS,
    paired: Paired = Paired(),
    settings: Settings = Settings(),
    at: Literal["selected", "equal-loss"] = "selected",
    samples: int = 512,
    rho: float = 0.05,
    points: int = 25,
    where: Where = Where(),
    report: Path | None = None,
) -> None:
    """Do non-dominant modalities end in sharper minima, and does that cost accuracy? Runs that are there are reused.

    Args:
        data: Name of a data set (see `msam data list`), path of a prepared one, or package.module:name of an
            experiment.
        methods: Methods, separated by commas; the first reference is joint.
        paired: Seeds and fusion.
        settings: Changes to the data set's default settings.
        at: Which weights: the selected ones, or those at which all methods of a seed have the same training loss, as
            nearly as their snapshots allow; they are then kept every epoch if --snapshots does not say otherwise.
        samples: How many training samples are measured on.
        rho: Radius of the ball.
        points: Points along each axis of the surfaces, which are drawn for the first seed.
        where: Where runs are trained and kept; measurements are kept in their folders.
        report: Folder of the report; reports/flatness-DATA-FUSION, and -equal-loss, if not given.
    """
    from msam_bench.names import stem
    from msam_bench.studies import Request
    from msam_bench.studies.flatness import STUDY

    folder = report_folder(
        report, f"flatness-{stem(data)}-{paired.fusion}{'-equal-loss' if at == 'equal-loss' else ''}"
    )
    labels = tuple(chosen_methods(data, paired.fusion, methods, paired.first_seed, settings).methods)
    planned(data, labels, paired, settings)  # what cannot be trained is refused before anything is
    given = asdict(settings)
    options = {"at": at, "samples": samples, "rho": rho, "points": points}
    request = Request((data,), paired.fusion, paired.numbers, labels, given, given.pop("config"), options)
    answer(STUDY, request, where, folder)

"""The command `msam`: verbs, each a few lines over the other modules. Heavy imports wait until a verb needs them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console
from rich.table import Table as Grid

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

    from rich.progress import Progress

    from .config import RunConfig
    from .executor import State
    from .report import Table
    from .runs import Record

METHODS = "joint,sam,gnp,msam,msam-encoder"

app = App(
    name="msam",
    version=version("msam"),
    help="Is one modality dominating your model, which method helps, and can you believe the number?",
)
data_app = App(name="data", help="The data sets that the other verbs know.")
app.command(data_app)
study_app = App(name="study", help="Named experiments: which runs, which measurements, and an answer in words.")
app.command(study_app)
console = Console(width=None if sys.stdout.isatty() else 200)


@Parameter(name="*")
@dataclass(frozen=True)
class Settings:
    """What to change of a data set's default settings; a file is read first, these come after it."""

    epochs: int | None = None
    "Passes over the training split."
    batch_size: int | None = None
    "Samples a step."
    optimizer: Literal["sgd", "adam", "adamw"] | None = None
    "The base optimizer, the same for every method."
    lr: float | None = None
    "Its learning rate."
    momentum: float | None = None
    "Its momentum (sgd)."
    weight_decay: float | None = None
    "Its weight decay."
    schedule: Literal["constant", "cosine", "step"] | None = None
    "How the learning rate changes over epochs."
    features: int | None = None
    "Width of each encoder's output."
    hidden: int | None = None
    "Width of the encoders' hidden layers."
    select: Literal["best", "last"] | None = None
    "Which epoch's weights are tested: best on validation, or last."
    config: Path | None = None
    "A TOML file with any of these settings."


@app.command
def compare(
    *,
    data: str = "digits6",
    methods: str = METHODS,
    seeds: int = 12,
    first_seed: int = 0,
    fusion: Literal["late", "early"] = "late",
    settings: Settings = Settings(),
    workers: int | None = None,
    runs: Path = Path("runs"),
    report: Path | None = None,
) -> None:
    """Train several methods on the same data and seeds, and say what the evidence is worth.

    Args:
        data: Name of a data set (see `msam data list`).
        methods: Methods, separated by commas; arguments are written name:key=value, such as sam:rho=0.1.
        seeds: Number of paired seeds; a seed draws the split, the initial weights and the batches.
        first_seed: The first of them.
        fusion: Late (linear on the concatenated features) or early (a maxout trunk).
        settings: Changes to the data set's default settings.
        workers: Runs at a time, one core each; as many as there are cores if not given.
        runs: Folder of the run folders; a run that is already there is not trained again.
        report: Folder of the report; reports/DATA-FUSION if not given.
    """
    from .report import compare as tabulate
    from .report import write_report

    records = _train(_planned(data, fusion, methods, seeds, first_seed, settings), runs, workers)
    folder = report or Path("reports") / f"{data}-{fusion}"
    table = tabulate(records)
    _show(table)
    page = write_report(records, folder, _command())
    console.print(f"\n{table.verdict}\n\nReport: {page}", soft_wrap=True, highlight=False)


@app.command
def train(
    *,
    data: str = "digits6",
    method: str = "msam",
    seed: int = 0,
    fusion: Literal["late", "early"] = "late",
    settings: Settings = Settings(),
    resume: Path | None = None,
    runs: Path = Path("runs"),
) -> None:
    """Train one run. A run that was interrupted is continued where it was, one that is finished is shown.

    Args:
        data: Name of a data set (see `msam data list`).
        method: A method; arguments are written name:key=value, such as sam:rho=0.1.
        seed: Draws the split, the initial weights and the batches.
        fusion: Late (linear on the concatenated features) or early (a maxout trunk).
        settings: Changes to the data set's default settings.
        resume: Continue the run in this folder; the other options are read from it.
        runs: Folder of the run folders.
    """
    if resume:
        from .config import validated
        from .runs import read

        config, runs = validated(read(resume).config), resume.parent
    else:
        config = _resolve(data, fusion, method, seed, settings)
    record = _train_here(config, runs)
    summary = record.summary
    _line("test accuracy", f"{summary['test_accuracy']:.4f} (epoch {summary['epoch']}, selected on validation)")
    _line("validation accuracy", f"{summary['valid_accuracy']:.4f}")
    _line("tau", f"{summary['tau']:.4f}")
    alone = {name: value for name, value in summary["coalitions"].items() if "+" not in name}
    _line("each modality alone", ", ".join(f"{name} {value:.3f}" for name, value in alone.items()))
    _line("run", record.folder)


@app.command
def report(*folders: Path, output: Path = Path("reports/report")) -> None:
    """Rebuild table and report from run folders; nothing is trained.

    Args:
        folders: Run folders, or folders that contain them.
        output: Folder of the report.
    """
    from . import runs
    from .report import compare as tabulate
    from .report import write_report

    records = runs.records(folders or [Path("runs")])
    _check_positive(finished_runs=len(records))
    table = tabulate(records)
    _show(table)
    page = write_report(records, output, _command())
    console.print(f"\n{table.verdict}\n\nReport: {page}", soft_wrap=True, highlight=False)


@app.command(name="runs")
def list_runs(*folders: Path, data: str | None = None, method: str | None = None, status: str | None = None) -> None:
    """List runs.

    Args:
        folders: Run folders, or folders that contain them; runs if not given.
        data: Only runs on this data set.
        method: Only runs whose method begins like this.
        status: Only runs that are running, finished or failed.
    """
    from . import runs

    grid = _grid("method", "data", "fusion", "seed", "status", "epoch", "test accuracy", "folder")
    for record in runs.records(folders or [Path("runs")], status=status or ""):
        if (data or record.config["data"]) == record.config["data"] and record.label.startswith(method or ""):
            tested = record.summary.get("test_accuracy")
            cells = (record.label, record.config["data"], record.config["fusion"], record.seed, record.status)
            shown = (len(record.metrics), "" if tested is None else f"{tested:.4f}", record.folder)
            grid.add_row(*(str(cell) for cell in (*cells, *shown)))
    console.print(grid)


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
    from . import runs
    from .flatness.page import Page, write
    from .flatness.surfaces import Grid, chosen, surfaces

    records = chosen(runs.records(folders or [Path("runs")]), seed)
    present = None if coalition is None else tuple(coalition.split("+"))
    with _counting("surfaces") as watch, _pool(workers, len(records)) as executor:
        sheets = surfaces(records, Grid(block, present, points, span, samples, directions), executor, watch)
    for sheet in sheets:
        _line(sheet.label, f"loss {sheet.loss:.4g}, around it {min(sheet.values):.4g} to {max(sheet.values):.4g}")
    title = f"Loss landscapes on {records[0].config['data']}"
    page = write(output, Page(title, None, tuple(sheets), _command(), {}))
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
        data: Name of a data set (see `msam data list`).
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
    from .flatness.measuring import Plan, measure_all
    from .flatness.page import Page, write
    from .flatness.study import compare as compare_flatness
    from .flatness.surfaces import Grid, chosen, surfaces

    records = _train(_planned(data, fusion, methods, seeds, first_seed, settings), runs, workers)
    plan = Plan(samples=samples, rho=rho)
    with _counting("runs measured") as watch, _pool(workers, len(records)) as executor:
        study = compare_flatness(records, measure_all(records, plan, executor, watch))
    drawn = chosen(records)
    with _counting("surfaces") as watch, _pool(workers, len(drawn)) as executor:
        sheets = surfaces(drawn, Grid(points=points, samples=samples), executor, watch)
    folder = report or Path("reports") / f"flatness-{data}-{fusion}"
    page = write(folder, Page(f"Flatness on {data}", study, tuple(sheets), _command(), asdict(plan)))
    said = "\n".join([study.answer, *(f"- {line}" for line in study.details)])
    console.print(f"\n{said}\n\nReport: {page}", soft_wrap=True, highlight=False, markup=False)


@data_app.command(name="list")
def list_data() -> None:
    """Name, modalities, classes, sizes and licence of every data set."""
    from .data import sources

    grid = _grid("name", "modalities", "classes", "train / valid / test", "licence")
    for name, source in sources().items():
        sizes = " / ".join(f"{size:,}" for size in source.sizes().values())
        grid.add_row(name, ", ".join(source.modalities), str(len(source.classes)), sizes, source.licence)
    console.print(grid)


@data_app.command(name="show")
def show_data(name: str) -> None:
    """What a data set is, where it comes from, how to cite it, and what a sample looks like.

    Args:
        name: Name of a data set.
    """
    from .data import source

    found = source(name)
    dataset = found.load(seed=0)
    for title in ("name", "summary", "origin", "licence", "citation"):
        _line(title, getattr(found, title))
    _line("classes", ", ".join(found.classes))
    _line("split keeps together", found.group or "nothing; samples are drawn one by one")
    for split, part in dataset.splits.items():
        _line(split, f"{len(part):,} samples")
    for modality, shape in dataset.shapes.items():
        _line(modality, f"{list(shape)} per sample")
    _line("fingerprint", dataset.fingerprint)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; a mistake of the user's is one sentence and exit code 2."""
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _fail(str(error))
    except (ValueError, OSError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("Stopped. The same command continues where it was.", code=130)


# ---- inside ---------------------------------------------------------------------------------------------------------


def _planned(data: str, fusion: str, methods: str, seeds: int, first_seed: int, settings: Settings) -> list[RunConfig]:
    """The runs of a comparison, seed by seed."""
    names = [name for name in methods.split(",") if name.strip()]
    _check_positive(seeds=seeds, methods=len(names))
    numbers = range(first_seed, first_seed + seeds)
    return [_resolve(data, fusion, name, seed, settings) for seed in numbers for name in names]


def _resolve(data: str, fusion: str, method: str, seed: int, settings: Settings) -> RunConfig:
    """The configuration of a run, with everything checked that can be before training."""
    from .catalogue import build
    from .config import resolve
    from .data import source

    found = source(data)
    given = asdict(settings)
    config = resolve(data, fusion, method, given.pop("config"), seed=seed, **given)
    build(config.method, dict.fromkeys(found.modalities, config.features), max(1, len(found.classes)))
    return config


def _train(configs: list[RunConfig], root: Path, workers: int | None) -> list[Record]:
    from .executor import train_all

    with _progress(len(configs)) as watch, _pool(workers, len(configs)) as executor:
        return train_all(configs, root, executor, watch)


def _pool(workers: int | None, jobs: int) -> ProcessPoolExecutor:
    """As many processes as are asked for (cores, if nothing is), and no more than jobs."""
    from .executor import processes

    count = (os.cpu_count() or 1) if workers is None else workers
    _check_positive(workers=count)
    return processes(min(count, jobs))


def _train_here(config: RunConfig, root: Path) -> Record:
    """One run in this process."""
    from . import fit
    from .executor import State

    with _progress(1) as watch:
        told = lambda epoch: watch(State(epoch, config.epochs, epoch // config.epochs, (config.label,)))  # noqa: E731
        return fit.run(config, root, told)


@contextmanager
def _progress(count: int) -> Iterator[Any]:
    with _bar("{task.percentage:>3.0f} %", "{task.description}") as bar:
        task = bar.add_task("starting", total=None)

        def watch(state: State) -> None:
            words = f"{state.finished} of {count} runs; now {', '.join(state.running) or '...'}"
            bar.update(task, completed=state.epochs, total=state.total, description=words)

        yield watch


@contextmanager
def _counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for a known number of things."""
    with _bar("{task.completed} of {task.total} " + what) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _bar(*texts: str) -> Progress:
    """A progress bar, what is said beside it, time gone and time left."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    said = (TextColumn(text) for text in texts)
    return Progress(
        BarColumn(30), *said, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=console
    )


def _show(table: Table) -> None:
    """The comparison as two narrow tables: what the evidence is, then each modality alone and the cost."""
    split = table.header.index("tau") + 1
    for columns in (range(split), [0, *range(split, len(table.header))]):
        grid = _grid(*(table.header[column] for column in columns))
        for row in table.cells:
            grid.add_row(*(row[column] for column in columns))
        console.print(grid, "")


def _grid(*columns: str) -> Grid:
    grid = Grid(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        grid.add_column(column, overflow="fold", no_wrap=not console.is_terminal)
    return grid


def _line(title: str, text: object) -> None:
    console.print(f"{title:22}{text}", soft_wrap=True, highlight=False, markup=False)


def _check_positive(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"Expected at least one of {name.replace('_', ' ')}, found {count}.")


def _command() -> str:
    return " ".join(["msam", *sys.argv[1:]])


def _fail(message: str, code: int = 2) -> None:
    print(f"msam: {message}", file=sys.stderr)
    raise SystemExit(code)

"""`msam compare` and `msam train`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msam_bench.cli.app import app
from msam_bench.cli.jobs import Where, train_all, train_here
from msam_bench.cli.screen import line, report_folder, show_comparison
from msam_bench.cli.settings import (
    METHODS,
    Data,
    Fusion,
    Judged,
    Paired,
    Settings,
    baselines,
    chosen_methods,
    planned,
    resolved,
)

if TYPE_CHECKING:
    from msam_bench.config.run import RunConfig


@app.command
def compare(
    *,
    data: Data = "digits6",
    methods: str = METHODS,
    paired: Paired = Paired(),
    settings: Settings = Settings(),
    where: Where = Where(),
    judged: Judged = Judged(),
    tune: Literal["quick", "equal", "none"] | None = None,
    report: Path | None = None,
) -> None:
    """Train several methods on the same data and seeds, and say what the evidence is worth.

    Each modality is trained apart, too: the first question is whether fusion pays.

    Args:
        data: Name of a data set (see `msam data list`), path of a prepared one, or package.module:name of an
            experiment.
        methods: Methods, separated by commas; arguments are written name:key=value, such as sam:rho=0.1. All is every
            method that suits the data and the fusion.
        paired: Seeds and fusion.
        settings: Changes to the data set's default settings.
        where: Where runs are trained and kept.
        judged: What is asked of the runs.
        tune: Choose settings on validation first, 3 (quick) or 7 (equal) trials a method; quick if nothing is tuned.
        report: Folder of the report; reports/DATA-FUSION if not given.
    """
    from msam_bench.analysis.assessment import diverged_seeds
    from msam_bench.cli.tuning import tune_first
    from msam_bench.names import stem

    folder = report_folder(report, f"{stem(data)}-{paired.fusion}")
    choice = chosen_methods(data, paired.fusion, methods, paired.first_seed, settings)
    judged.question()  # what cannot be asked is refused before anything is trained
    settings, untuned = tune_first(data, paired.fusion, choice.methods, tune, settings, where)
    runs = planned(data, choice.methods, paired, settings)
    apart = [run for run in baselines(data, paired, judged, settings) if run not in runs]
    judged = judged.by_default(runs)
    diverged: list[RunConfig] = []
    records = train_all([*runs, *apart], where, diverged)
    if not records:
        raise ValueError(f"All {len(diverged)} runs diverged; lower the learning rate, such as --lr 0.001.")
    question = replace(judged.question(), diverged=diverged_seeds(diverged), untuned=untuned)
    show_comparison(records, folder, choice.notes, question)


@app.command
def train(
    *,
    data: Data = "digits6",
    method: str = "msam",
    seed: int = 0,
    fusion: Fusion = "late",
    settings: Settings = Settings(),
    resume: Path | None = None,
    runs: Path = Path("runs"),
) -> None:
    """Train one run. A run that was interrupted is continued where it was, one that is finished is shown.

    Args:
        data: Name of a data set (see `msam data list`), path of a prepared one, or package.module:name of an
            experiment.
        method: A method; arguments are written name:key=value, such as sam:rho=0.1.
        seed: Draws the split, the initial weights and the batches.
        fusion: Late (linear on the concatenated features), early (a maxout trunk), or one of the others.
        settings: Changes to the data set's default settings.
        resume: Continue the run in this folder; the other options are read from it.
        runs: Folder of the run folders.
    """
    if resume:
        from msam_bench.config.run import validated
        from msam_bench.runs.record import read

        config, runs = validated(read(resume).config), resume.parent
    else:
        config = resolved(data, fusion, method, seed, settings)
    record = train_here(config, runs)
    summary = record.summary
    score = record.data.get("score", "accuracy")
    line(f"test {score}", f"{summary['test_accuracy']:.4f} (epoch {summary['epoch']}, selected on validation)")
    line(f"validation {score}", f"{summary['valid_accuracy']:.4f}")
    line("tau", f"{summary['tau']:.4f}")
    alone = {name: value for name, value in summary["coalitions"].items() if "+" not in name}
    line("each modality alone", ", ".join(f"{name} {value:.3f}" for name, value in alone.items()))
    line("run", record.folder)

"""`msam study overhead`: the study that measures steps and trains nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from msam_bench.cli.app import study_app
from msam_bench.cli.jobs import Where
from msam_bench.cli.screen import report_folder
from msam_bench.cli.settings import check_positive
from msam_bench.cli.study import answer

QUIET = {"KINETO_LOG_LEVEL": "99", "TORCH_CPP_LOG_LEVEL": "ERROR"}
"""Keeps torch's profiler, which measures memory, from writing of each step that it follows."""


@study_app.command(name="overhead")
def study_overhead(
    *,
    data: str = "digits6",
    fusion: Literal["late", "early", "both"] = "both",
    modalities: tuple[int, ...] = (2, 4, 8, 16, 32),
    batches: tuple[int, ...] = (16, 64, 256),
    widths: tuple[int, ...] = (64, 256, 1024),
    rounds: int = 15,
    report: Path | None = None,
) -> None:
    """What do Shapley values cost, in seconds and memory, of a step and of an epoch? Nothing is trained.

    Args:
        data: Name of a data set (see `msam data list`), or path of a prepared one.
        fusion: Late (linear on the concatenated features), early (a maxout trunk), or both.
        modalities: Numbers of modalities: the data set's own over and over, each with an encoder of its own.
        batches: Batch sizes.
        widths: Widths of features and hidden layers.
        rounds: How often each step is timed.
        report: Folder of the report; reports/overhead-DATA if not given.
    """
    for name, level in QUIET.items():
        os.environ.setdefault(name, level)
    from msam_bench.names import stem
    from msam_bench.studies import Request
    from msam_bench.studies.overhead import STUDY

    folder = report_folder(report, f"overhead-{stem(data)}")
    sizes = {"modalities": modalities, "batches": batches, "widths": widths}
    for name, values in sizes.items():
        check_positive(**{name: min(values, default=0)})
    request = Request((data,), fusion, (), options={**sizes, "rounds": rounds})
    answer(STUDY, request, Where(), folder)

"""Open question 3: many modalities. What do sampled and stale Shapley values cost in the dominant modality's name?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msam_bench.analysis.run_summary import RunSummary
from msam_bench.analysis.statistics import summarise
from msam_bench.config.resolve import defaults
from msam_bench.config.run import RunConfig
from msam_bench.data import source
from msam_bench.data.sets.regrouped import parted
from msam_bench.reporting.figures.curve_plot import Points, curve
from msam_bench.reporting.figures.drawing import Axes
from msam_bench.reporting.result import Result
from msam_bench.reporting.table import Table
from msam_bench.studies.base import Request, Study
from msam_bench.studies.tables import epoch_mean, run_mean

PROBE = "msam_bench.studies.instruments.estimators:Estimators"
COUNTS = (2, 4, 6, 8, 10, 16, 32)
ESTIMATES = ("1-pairs", "2-pairs", "4-pairs", "5-batches-old", "20-batches-old")
_TITLES = {"1-pairs": "1 antithetic pair", "2-pairs": "2 pairs", "4-pairs": "4 pairs"} | {
    name: name.replace("-", " ") for name in ESTIMATES[3:]
}


def plan(request: Request) -> list[RunConfig]:
    """Joint training that measures, on the features (or channels) of the data set in 2 to 32 equal parts."""
    (data,) = request.data
    shared = defaults(data).get("run", {})
    settings = {**{k: v for k, v in shared.items() if k != "optimizer"}, **shared.get("optimizer", {})}
    counts = [count for count in COUNTS if count <= parted(source(data).load(request.seeds[0]))]
    return [request.run(f"{data}x{count}", PROBE, seed, **settings) for count in counts for seed in request.seeds]


def conclude(records: Sequence[RunSummary]) -> Result:
    """Errors and costs by the number of modalities."""
    groups: dict[int, list[RunSummary]] = {}
    for run in records:
        groups.setdefault(len(run.data["modalities"]), []).append(run)
    rows = [_row(count, name, runs) for count, runs in sorted(groups.items()) for name in ESTIMATES]
    most = max(groups)
    pair = {row["modalities"]: row for row in rows if row["estimate"] == _TITLES["1-pairs"]}
    stale = {row["modalities"]: row for row in rows if row["estimate"] == _TITLES["5-batches-old"]}
    few = min(groups)
    answer = (
        f"One antithetic pair names another dominant modality than the reference in {pair[few]['wrong %']:.0f} % of "
        f"the batches with {few} modalities and in {pair[most]['wrong %']:.0f} % with {most}, at "
        f"{pair[most]['coalitions']:.0f} instead of {pair[most]['reference coalitions']:.0f} coalitions. Values five "
        f"batches old do so in {stale[few]['wrong %']:.0f} % and {stale[most]['wrong %']:.0f} %."
    )
    return Result(
        "scaling",
        STUDY.question,
        answer,
        [],
        [Table("Error and cost of cheaper Shapley values", rows, _DIGITS, _CAPTION)],
        {"By the number of modalities": _figures(rows)},
    )


_DIGITS = {"wrong %": 1, "SD": 1, "error": 4, "coalitions": 0, "reference coalitions": 0, "ms": 3, "reference ms": 3}
_CAPTION = (
    "wrong: batches of joint training in which the estimate's largest value is another modality's than the "
    "reference's; error: largest absolute error of a value (a share of accuracy). Reference: exact up to 10 "
    "modalities, 64 antithetic pairs above. Coalitions valued and processor milliseconds for each batch; stale values "
    "cost nothing in between."
)


def _row(count: int, name: str, runs: Sequence[RunSummary]) -> dict[str, Any]:
    wrong = summarise(100 * epoch_mean(run, f"wrong/{name}") for run in runs)
    sampled = name.endswith("pairs")
    return {
        "modalities": count,
        "estimate": _TITLES[name],
        "n": wrong.n,
        "wrong %": wrong.mean,
        "SD": wrong.sd,
        "error": run_mean(runs, f"error/{name}"),
        "coalitions": run_mean(runs, f"coalitions/{name}") if sampled else 0.0,
        "ms": 1000 * run_mean(runs, f"seconds/{name}") if sampled else 0.0,
        "reference coalitions": run_mean(runs, "coalitions/reference"),
        "reference ms": 1000 * run_mean(runs, "seconds/reference"),
    }


def _figures(rows: Sequence[dict[str, Any]]) -> list[Any]:
    wrong: dict[str, list[tuple[float, float, float, float]]] = {}
    cost: dict[str, list[tuple[float, float, float, float]]] = {}
    for row in rows:
        count, mean, sd = float(row["modalities"]), row["wrong %"], row["SD"] or 0.0
        wrong.setdefault(row["estimate"], []).append((count, mean, max(0.0, mean - sd), min(100.0, mean + sd)))
        if row["ms"]:
            cost.setdefault(row["estimate"], []).append((count, *[row["ms"]] * 3))
            if row["estimate"] == _TITLES["1-pairs"]:
                cost.setdefault("reference", []).append((count, *[row["reference ms"]] * 3))
    panels: list[tuple[str, dict[str, Points], Axes, str]] = [
        ("Another dominant modality than the reference's", dict(wrong), Axes("Modalities", "Batches (%)"), "x"),
        ("Cost of valuing a batch", dict(cost), Axes("Modalities", "Processor time (ms)", digits=3), "xy"),
    ]
    names = [*dict.fromkeys([*wrong, *cost])]
    return [curve(title, shown, axes, log, names=names) for title, shown, axes, log in panels]


STUDY = Study(
    "scaling", "How do Shapley values scale with the number of modalities, and what do shortcuts cost?", plan, conclude
)

"""Open question 1: which normalisation of the Shapley values says best who gets the gradient, and does it matter?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msam_bench.analysis.run_summary import RunSummary
from msam_bench.analysis.statistics import summarise
from msam_bench.config.resolve import tuned
from msam_bench.config.run import RunConfig
from msam_bench.reporting.figures import lines, series_styles
from msam_bench.reporting.figures.curves import curves
from msam_bench.reporting.figures.drawing import Axes
from msam_bench.reporting.result import Result
from msam_bench.reporting.table import Table
from msam_bench.studies.base import Request, Study
from msam_bench.studies.tables import compared, epoch_mean, run_mean

PROBE = "msam_bench.studies.instruments.normalizations:Normalizations"
VALUES = ("accuracy", "probability", "loss")
PREDICTORS = ("clamp", "raw", "softmax", "uniform")


def plan(request: Request) -> list[RunConfig]:
    """Joint training that measures, for three value functions; and M-SAM with each normalisation."""
    probes = [f"{PROBE}:value={value}" for value in VALUES]
    (data,) = request.data
    known = tuned(data, request.fusion, "msam", request.settings.get("tuned"))
    chosen = "".join(f":{key}={value}" for key, value in known.items())
    trained = [f"msam{chosen}:attribution.normalize={name}" for name in ("raw", "softmax")]
    return request.runs("joint", "msam", *trained, f"msam-gradient-share{chosen}", *probes)


def conclude(records: Sequence[RunSummary]) -> Result:
    """How far each prediction is from the gradient's shares, and what M-SAM makes of it."""
    probes = [run for run in records if run.label.startswith(PROBE)]
    trained = compared([run for run in records if not run.label.startswith((PROBE, "joint"))], "msam")
    rows = [_row(value, name, _of(probes, value)) for value in VALUES for name in PREDICTORS]
    best = min((row for row in rows if row["shares"] != "uniform"), key=lambda row: row["error"])
    blind = next(row for row in rows if row["shares"] == "uniform" and row["value function"] == best["value function"])
    agree = {value: run_mean(_of(probes, value), "agrees") for value in VALUES}
    chance = run_mean(probes, "chance")
    agreements = ", ".join(f"{value} {100 * share:.0f} %" for value, share in agree.items())
    answer = (
        f"The shares closest to the gradient's are {best['shares']} of {best['value function']} (total variation "
        f"{best['error']:.3f}; equal shares, which know nothing, {blind['error']:.3f}"
        f"{': none is closer than these' if blind['error'] <= best['error'] else ''}). The modality with "
        f"the largest Shapley value has the largest gradient in {agreements} of the batches "
        f"(chance {100 * chance:.0f} %). "
        f"{trained.verdict}"
    )
    return Result(
        "normalization",
        STUDY.question,
        answer,
        [],
        [
            Table("Distance of predicted shares from the gradient's shares", rows, {"error": 3, "SD": 3}, _CAPTION),
            trained.table("M-SAM with each normalisation"),
        ],
        {"Over epochs": [_curves(probes, value) for value in VALUES], "M-SAM with each": trained.figures},
    )


_CAPTION = (
    "Total variation distance between the shares and |g_m| / sum |g_k|, g_m the loss's gradient in modality m's "
    "encoder, mean over the batches of joint training; 0 is a perfect prediction. Mean and standard deviation "
    "over seeds."
)


def _of(probes: Sequence[RunSummary], value: str) -> list[RunSummary]:
    return [run for run in probes if run.config["method"]["params"]["value"] == value]


def _row(value: str, name: str, runs: Sequence[RunSummary]) -> dict[str, Any]:
    summary = summarise(epoch_mean(run, f"error/{name}") for run in runs)
    return {"value function": value, "shares": name, "n": summary.n, "error": summary.mean, "SD": summary.sd}


def _curves(probes: Sequence[RunSummary], value: str) -> Any:
    groups = {"": _of(probes, value)}
    series = {name: curves(groups, f"error/{name}")[""] for name in PREDICTORS}
    axes = Axes("Epoch", "Total variation distance", digits=3, log=True)
    return lines(f"Value function: {value}", series, series_styles(PREDICTORS), axes)


STUDY = Study(
    "normalization",
    "Which normalisation of Shapley values predicts the gradient's shares, and does it matter?",
    plan,
    conclude,
)

"""Does the mean squared gradient norm fall like log T / sqrt T, as the theorem says, with steps like 1 / sqrt(t)?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from msam_bench.analysis.run_summary import RunSummary
from msam_bench.analysis.sentences.phrases import join_names
from msam_bench.analysis.statistics import summarise
from msam_bench.config.run import RunConfig
from msam_bench.data import source
from msam_bench.reporting.figures.curve_plot import Points, curve
from msam_bench.reporting.figures.curves import spread
from msam_bench.reporting.figures.drawing import Axes
from msam_bench.reporting.result import Result
from msam_bench.reporting.table import Table
from msam_bench.studies.base import Request, Study

PROBE = "msam_bench.studies.instruments.decaying:Decaying"
WEIGHTS = {"joint": "0", "sam": "1", "msam": "share"}
STEPS = 1000
RATE, RADIUS = 1.0, 0.5
"""Learning rate and rho of the first step."""
FIRST = 100
"""The slope is fitted from here on: the first steps are the transient."""


def plan(request: Request) -> list[RunConfig]:
    """Gradient descent on the whole training split: a batch is the split, an epoch is a step."""
    (data,) = request.data
    whole = {
        "batch_size": source(data).sizes()["train"] * 2,
        "epochs": STEPS,
        "optimizer": "sgd",
        "lr": RATE,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "schedule": "inverse-sqrt",
    }
    return request.runs(*(f"{PROBE}:weight={weight}:rho={RADIUS}" for weight in WEIGHTS.values()), **whole)


def conclude(records: Sequence[RunSummary]) -> Result:
    """The measured slope beside the theorem's, over the same steps."""
    names = {weight: name for name, weight in WEIGHTS.items()}
    groups: dict[str, list[list[float]]] = {}
    for run in records:
        name = names[str(run.config["method"]["params"]["weight"])]
        groups.setdefault(name, []).append(means([row["squared_gradient"] for row in run.metrics]))
    steps = len(next(iter(groups.values()))[0])
    bound = [math.log(t) / math.sqrt(t) for t in range(1, steps + 1)]
    theory = slope(bound)
    slopes = {name: [slope(run) for run in runs] for name, runs in groups.items()}
    rows = [_row(name, runs, slopes[name]) for name, runs in groups.items()]
    measured = join_names([f"{row['method']} {row['slope']:.3f}" for row in rows])
    ends = [f"mean at T = {t}" for t in (FIRST, steps)]
    within = all(row["slope"] <= theory for row in rows)
    answer = (
        f"On a log-log scale the mean squared gradient norm falls with slope {measured} from step {FIRST} to {steps}; "
        f"log T / sqrt T falls with {theory:.3f} there. The bound is {'kept' if within else 'not reached'}: "
        f"{'every method falls at least as fast' if within else 'some method falls more slowly over these steps'}"
        f"{_single_runs(slopes, theory)}."
    )
    return Result(
        "convergence",
        STUDY.question,
        answer,
        [],
        [
            Table(
                "Slope of the mean squared gradient norm",
                rows,
                {"slope": 3, "SD": 3, **dict.fromkeys(ends, 5)},
                _CAPTION,
            )
        ],
        {"Over steps": [_figure(groups, bound)]},
    )


_CAPTION = (
    "(1 / T) sum of |g(theta_t)|^2, the gradient of the whole training loss; slope: least squares of its logarithm on "
    "log T. Learning rate and rho fall like 1 / sqrt(t), no momentum, no weight decay. Mean and "
    "standard deviation over seeds."
)


def _single_runs(slopes: dict[str, list[float]], theory: float) -> str:
    """Which single runs fall more slowly than the bound, where the mean over seeds hides them."""
    slow = {name: sum(one > theory for one in values) for name, values in slopes.items()}
    counts = [f"{name} in {count} of {len(slopes[name])}" for name, count in slow.items() if count]
    return f" in the mean; single runs fall more slowly ({join_names(counts)})" if counts else ""


def means(values: Sequence[float]) -> list[float]:
    """Running means: entry T - 1 is the mean of the first T values."""
    return [total / (t + 1) for t, total in enumerate(itertools.accumulate(values))]


def slope(values: Sequence[float], first: int = FIRST) -> float:
    """Least-squares slope of log(value) on log(T), T counting from one, from `first` on."""
    import numpy as np

    t = np.arange(first, len(values) + 1)
    return float(np.polyfit(np.log(t), np.log(values[first - 1 :]), 1)[0])


def _row(name: str, runs: Sequence[Sequence[float]], slopes: Sequence[float]) -> dict[str, Any]:
    summary = summarise(slopes)
    return {
        "method": name,
        "n": summary.n,
        "slope": summary.mean,
        "SD": summary.sd,
        f"mean at T = {FIRST}": summarise(run[FIRST - 1] for run in runs).mean,
        f"mean at T = {len(runs[0])}": summarise(run[-1] for run in runs).mean,
    }


def _exactly(value: float) -> tuple[float, float, float]:
    return value, value, value


def _figure(groups: dict[str, list[list[float]]], bound: Sequence[float]) -> Any:
    places = sorted({round(10 ** (k / 8)) for k in range(int(8 * math.log10(len(bound))) + 1)})
    series: dict[str, Points] = {
        name: [(float(t), *spread([run[t - 1] for run in runs])) for t in places] for name, runs in groups.items()
    }
    scale = next(iter(groups.values()))[0][FIRST - 1] / bound[FIRST - 1]
    series["log T / sqrt T, scaled"] = [(float(t), *_exactly(scale * bound[t - 1])) for t in places if t >= FIRST]
    axes = Axes("Steps T", "Mean squared gradient norm", digits=4)
    return curve("Mean squared gradient norm", series, axes, log="xy", joined=True)


STUDY = Study("convergence", "Does the mean squared gradient norm fall like log T / sqrt T?", plan, conclude)

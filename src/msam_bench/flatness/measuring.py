"""How flat the minima of finished runs are: every measure of `msam.sharpness`, of everything and of each modality.

    found = measured(record, Plan())           # kept in the run's folder, made once

A block is measured under the loss of all modalities; an encoder also under the loss of its modality alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msam_bench.executor import in_order
from msam_bench.files import write_whole

if TYPE_CHECKING:
    from msam.sharpness import Landscape
    from msam_bench.runs import Record

JOINT, ALONE = "all modalities", "alone"
"""Whose loss: that of all modalities together, or that of the block's own modality."""
_FILE = "flatness.json"


@dataclass(frozen=True)
class Plan:
    """What is measured, and how.

    Args:
        samples: of the training split, drawn by the run's seed, so that methods of a seed see the same ones.
        rho: radius of the ball.
        adaptive_rho: radius relative to the weights.
        steps: of the projected ascent.
        sigma: standard deviation of Gaussian moves.
        pairs: of opposite Gaussian moves.
        products: Hessian-vector products for the trace; at most twice as many for the eigenvalue.
        seed: of samples, directions and probes.
    """

    samples: int = 512
    rho: float = 0.05
    adaptive_rho: float = 0.5
    steps: int = 10
    sigma: float = 0.01
    pairs: int = 10
    products: int = 30
    seed: int = 0


@dataclass(frozen=True)
class Measurement:
    """One number of one run.

    Args:
        view: whose loss, `JOINT` or `ALONE`.
        block: `all`, a modality or `fusion`.
        measure: its name, a key of `MEASURES`.
        value: NaN where it could not be measured.
        error: standard error, or the residual of an eigenvalue; 0 for what is deterministic.
        note: why there is no value, or what to know of it.
    """

    view: str
    block: str
    measure: str
    value: float
    error: float
    note: str = ""


Found = tuple[float, float, str]


def _ball(landscape: Landscape, rho: float, steps: int, adaptive: bool = False) -> Found:
    from msam.sharpness import ball_sharpness

    found = ball_sharpness(landscape, rho, steps, adaptive=adaptive)
    return found.value, found.error, "random direction, the gradient is zero" if found.stationary else ""


def _average(landscape: Landscape, plan: Plan) -> Found:
    from msam.sharpness import average_sharpness

    found = average_sharpness(landscape, plan.sigma, plan.pairs)
    return found.value, found.error, ""


def _eigenvalue(landscape: Landscape, plan: Plan) -> Found:
    from msam.sharpness import top_eigenvalues

    found = top_eigenvalues(landscape, steps=min(2 * plan.products, landscape.size))
    return found.values[0], found.residuals[0], "" if found.converged else "not converged"


def _trace(landscape: Landscape, plan: Plan) -> Found:
    from msam.sharpness import trace

    found = trace(landscape, plan.products, estimator="hutch++")
    return found.value, found.error, ""


MEASURES: dict[str, tuple[str, Callable[[Any, Plan], Found]]] = {
    "loss": ("training loss (nats)", lambda it, plan: (it.base(), 0.0, "")),
    "one-step": ("one-step sharpness (nats)", lambda it, plan: _ball(it, plan.rho, 1)),
    "ball": ("sharpness in the ball (nats)", lambda it, plan: _ball(it, plan.rho, plan.steps)),
    "adaptive": ("adaptive sharpness (nats)", lambda it, plan: _ball(it, plan.adaptive_rho, plan.steps, True)),
    "average": ("average-case sharpness (nats)", _average),
    "eigenvalue": ("largest Hessian eigenvalue", _eigenvalue),
    "trace": ("trace of the Hessian", _trace),
}
"""Name -> title with unit, and how it is measured."""


# ---- one run --------------------------------------------------------------------------------------------------------


def measured(record: Record, plan: Plan) -> list[Measurement]:
    """All measurements of a finished run, from its folder if they are there."""
    path = record.folder / _FILE
    asked = asdict(plan)
    if path.is_file():
        kept = json.loads(path.read_text())
        if kept["plan"] == asked:
            return [Measurement(**{**row, "value": _number(row["value"])}) for row in kept["measurements"]]
    found = [_measure(*site, name, plan) for site in _sites(record, plan) for name in MEASURES]
    rows = [{**asdict(one), "value": None if math.isnan(one.value) else one.value} for one in found]
    write_whole(path, json.dumps({"plan": asked, "measurements": rows}, indent=1) + "\n")
    return found


def measure_all(
    records: Sequence[Record], plan: Plan, executor: Executor, watch: Callable[[int, int], None] = lambda *_: None
) -> dict[Path, list[Measurement]]:
    """Measurements of many runs, by folder; `watch` is told how many are done."""
    found = in_order([executor.submit(measured, record, plan) for record in records], executor, watch)
    return {record.folder: own for record, own in zip(records, found, strict=True)}


def batches(record: Record, samples: int, seed: int) -> tuple[Any, list[tuple[dict[str, Any], Any]]]:
    """The selected model of a run, and the part of its training split that is measured on, as one batch."""
    import torch

    from msam_bench.restore import restored

    objective, dataset = restored(record)
    part = dataset.splits["train"]
    rows = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))[:samples]
    return objective, [part.take(rows)]


def _sites(record: Record, plan: Plan) -> Iterator[tuple[str, str, Landscape]]:
    from msam.sharpness import Landscape

    objective, data = batches(record, plan.samples, plan.seed)
    for block in (None, *objective.encoders, "fusion"):
        yield JOINT, block or "all", Landscape(objective, data, block=block, seed=plan.seed)
    for name in objective.encoders:
        yield ALONE, name, Landscape(objective, data, block=name, coalition=name, seed=plan.seed)


def _measure(view: str, block: str, landscape: Landscape, name: str, plan: Plan) -> Measurement:
    try:
        return Measurement(view, block, name, *MEASURES[name][1](landscape, plan))
    except ValueError as error:
        return Measurement(view, block, name, math.nan, math.nan, str(error))


def _number(value: float | None) -> float:
    return math.nan if value is None else value

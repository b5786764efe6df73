"""Which radius? The trade-off of flatness and accuracy for SAM, GNP and M-SAM over one grid of rho."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msam_bench.analysis.flatness.quick import sharpness
from msam_bench.analysis.run_summary import RunSummary, average
from msam_bench.analysis.sentences.comparison import verdict
from msam_bench.analysis.sentences.phrases import join_names
from msam_bench.analysis.statistics import against, summarise
from msam_bench.config.run import RunConfig
from msam_bench.reporting.figures.curve_plot import Points, curve
from msam_bench.reporting.figures.drawing import Axes
from msam_bench.reporting.result import Result
from msam_bench.reporting.table import Table
from msam_bench.studies.base import Request, Study

GRID = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
METHODS = ("sam", "gnp", "msam", "msam-encoder")
RADIUS = 0.05
"""Every model's sharpness is measured in a ball of this radius, whatever it was trained with."""

CLOSE = 10
"""Points of accuracy below the best, beyond which a figure has a panel without."""
_NEAR = f", within {CLOSE} points of the best"

Cell = tuple[str, float]
"""Method and rho."""


def plan(request: Request) -> list[RunConfig]:
    """The grid, and joint training."""
    return request.runs("joint", *(f"{method}:rho={rho}" for method in request.methods or METHODS for rho in GRID))


def conclude(records: Sequence[RunSummary]) -> Result:
    """The grid's table, its curves, and each method at its best rho on validation against joint training."""
    measured = {record.folder: sharpness(record, RADIUS) for record in records}
    cells = _cells(records)
    rows = [_row(cell, runs, [measured[run.folder] for run in runs]) for cell, runs in cells.items()]
    chosen = _chosen(cells)
    values = {
        method: {run.seed: run.summary["test_accuracy"] for run in cells[cell]} for method, cell in chosen.items()
    }
    comparisons = against(values, "joint")
    radii = [f"{method} {rho:g}" for method, rho in chosen.values() if method != "joint"]
    return Result(
        "rho",
        STUDY.question,
        f"Validation chooses rho: {join_names(radii)}. {verdict(comparisons, 'joint')}",
        [_flattest(rows)],
        [
            Table(
                "Accuracy, gap and sharpness over rho",
                rows,
                {"rho": 2, "tau": 3, "sharpness": 5, "SD of it": 5},
                _CAPTION,
            )
        ],
        {"Over rho": _curves(rows), "Trade-off": [_trade(rows)]},
    )


_CAPTION = (
    f"Sharpness: loss(theta + {RADIUS} g / |g|) - loss(theta), training loss in evaluation mode at the selected "
    "weights, the same radius for every model."
)


def _cells(records: Sequence[RunSummary]) -> dict[Cell, list[RunSummary]]:
    cells: dict[Cell, list[RunSummary]] = {}
    for record in records:
        method = record.config["method"]
        cells.setdefault((method["name"], float(method["params"].get("rho", 0.0))), []).append(record)
    return cells


def _row(cell: Cell, runs: Sequence[RunSummary], sharp: Sequence[float]) -> dict[str, Any]:
    scores, flat = summarise(run.summary["test_accuracy"] for run in runs), summarise(sharp)
    return {
        "method": cell[0],
        "rho": cell[1],
        "n": scores.n,
        "test %": 100 * scores.mean,
        "SD": None if scores.sd is None else 100 * scores.sd,
        "valid %": 100 * summarise(run.summary["valid_accuracy"] for run in runs).mean,
        "tau": average(run.summary["tau"] for run in runs),
        "sharpness": flat.mean,
        "SD of it": flat.sd,
    }


def _chosen(cells: dict[Cell, list[RunSummary]]) -> dict[str, Cell]:
    """Each method's cell with the highest mean validation accuracy; the smaller rho of equals."""
    best: dict[str, tuple[float, float, Cell]] = {}
    for cell, runs in cells.items():
        score = sum(run.summary["valid_accuracy"] for run in runs) / len(runs)
        best[cell[0]] = max(best.get(cell[0], (-1.0, 0.0, cell)), (score, -cell[1], cell))
    return {method: cell for method, (_, _, cell) in best.items()}


def _curves(rows: Sequence[dict[str, Any]]) -> list[Any]:
    swept = [row for row in rows if row["rho"]]
    learned = _learned(swept)
    panels = [
        (swept, "test %", "Test accuracy (%)", "", 2),
        (learned, "test %", "Test accuracy (%)", _NEAR, 2),
        (swept, "tau", "Overfitting gap tau (ratio)", "", 3),
        (swept, "sharpness", "Sharpness (nats)", "", 4),
    ]
    return [
        curve(f"{title} over rho{only}", _series(some, "rho", key), Axes("rho", title, digits=digits), log="x")
        for some, key, title, only, digits in panels
        if not only or len(learned) < len(swept)
    ]


def _learned(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those close to the best: one radius at which nothing is learned would hide what the others differ by."""
    best = max(row["test %"] for row in rows)
    return [row for row in rows if row["test %"] > best - CLOSE]


def _trade(rows: Sequence[dict[str, Any]]) -> Any:
    """Accuracy against sharpness, one point a method and rho."""
    positive = _learned([row for row in rows if row["sharpness"] > 0])
    axes = Axes("Sharpness (nats)", "Test accuracy (%)", digits=2)
    return curve(
        f"Accuracy against sharpness, rho rising along each line{_NEAR if len(positive) < len(rows) else ''}",
        _series(positive, "sharpness", "test %"),
        axes,
        log="x",
    )


def _series(rows: Sequence[dict[str, Any]], x: str, y: str) -> dict[str, Points]:
    series: dict[str, list[tuple[float, float, float, float]]] = {}
    for row in rows:
        sd = (row["SD"] or 0.0) if y == "test %" else 0.0
        series.setdefault(row["method"], []).append((row[x], row[y], row[y] - sd, row[y] + sd))
    return dict(series)


def _flattest(rows: Sequence[dict[str, Any]]) -> str:
    """Whether the flattest cell is the most accurate one, by rank correlation over the grid."""
    from scipy.stats import kendalltau

    order = kendalltau([row["sharpness"] for row in rows], [row["test %"] for row in rows]).statistic
    flat, good = min(rows, key=lambda row: row["sharpness"]), max(rows, key=lambda row: row["test %"])
    return (
        f"Over the grid, Kendall's tau of sharpness with test accuracy is {order:+.2f} (-1: flatter is better). The "
        f"flattest is {flat['method']} at rho {flat['rho']:g} ({flat['test %']:.2f} %), the most accurate "
        f"{good['method']} at {good['rho']:g} ({good['test %']:.2f} %)."
    )


STUDY = Study("rho", "Which radius, and what does flatness buy?", plan, conclude)

"""The settings of a problem as those of a run, below what a file or a command says."""

from __future__ import annotations

from typing import Any

from msam_bench.data.problems.problem import Problem, problem_at

_SHARED = ("epochs", "early_stopping", "clip", "accumulate", "batch_size", "device", "precision", "loader_workers")


def settings_at(location: str) -> dict[str, Any]:
    """The settings of a run of the problem at `module:name`; empty where that is something else."""
    problem = problem_at(location)
    return {} if problem is None else _settings(problem)


def named_data(location: str) -> str | None:
    """The data set of the bench that the problem at a location takes, if it does."""
    problem = problem_at(location)
    return problem.data if problem is not None and isinstance(problem.data, str) else None


def _settings(problem: Problem) -> dict[str, Any]:
    from msam_bench.data.problems.building import default_lr, inspect_problem
    from msam_bench.data.problems.identity import sources_of

    values = {name: value for name in _SHARED if (value := getattr(problem, name)) is not None}
    if problem.epochs is None and not isinstance(problem.data, str):
        values["epochs"] = 20
    optimizer: dict[str, Any] = {}
    if isinstance(problem.optimizer, str):
        optimizer["name"] = problem.optimizer
    elif (lr := default_lr(problem)) is not None:
        optimizer["lr"] = lr
    if isinstance(problem.schedule, str):
        optimizer["schedule"] = problem.schedule
    elif problem.optimizer is not None:
        optimizer["schedule"] = "constant"
    for name, value in problem.settings.items():
        (optimizer if name in ("lr", "momentum", "weight_decay", "step_epochs") else values)[name] = value
    parts = {name: f"{part.__module__}:{part.__qualname__}" for name, part in problem.parts.items() if _named(part)}
    values["experiment"] = {"sources": sources_of(problem), "parts": parts, "metrics": list(problem.metrics)}
    if not isinstance(problem.data, str):
        widths = inspect_problem(problem).widths
        values["encoders"] = {name: {"features": width} for name, width in widths.items()}
    return {"optimizer": optimizer, **values}


def _named(part: Any) -> bool:
    return hasattr(part, "__module__") and hasattr(part, "__qualname__")

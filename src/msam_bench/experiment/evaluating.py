"""A trained model on other data: its loss, its score and the metrics of its experiment."""

from __future__ import annotations

from typing import Any

from msam_bench.config.run import validated
from msam_bench.data.base import Split
from msam_bench.data.problems.problem import Problem
from msam_bench.data.problems.samples import Loading, UserSplit
from msam_bench.registry import build
from msam_bench.runs.measuring import measure
from msam_bench.runs.record import RunRecord
from msam_bench.runs.restore import restored
from msam_bench.training import checkpoint
from msam_bench.training.evaluation import Evaluator
from msam_bench.training.loaders import EvaluationSet, SplitSet
from msam_bench.training.metrics import scoring


def evaluate(problem: Problem, record: RunRecord, data: Any = None) -> dict[str, float]:
    """Score, loss and metrics.

    Args:
        problem: of the run.
        record: a finished run.
        data: a Dataset or DataLoader; the test split of the run if None.
    """
    objective, dataset = restored(record)
    split = (
        dataset.splits["test"]
        if data is None
        else UserSplit.of(data, problem.unpack, "data", Loading(), dataset.shapes)
    )
    config, score = validated(record.config), scoring(dataset)
    method = build(config.method, config.widths(dataset.modalities), dataset.outputs, score.value)
    method.load_state_dict(checkpoint.load(record.folder / "best.ckpt")["method"])
    bound = method.on(objective.model, score.criterion)
    evaluator = Evaluator(bound, score, {"data": _evaluated(split)}, dataset.modalities)
    worth, loss = evaluator.evaluate("data")
    return {score.name: worth, "loss": loss, **measure(evaluator, "data", tuple(problem.metrics))}


def _evaluated(split: Split) -> EvaluationSet:
    return split.evaluation_set() if isinstance(split, UserSplit) else SplitSet(split)

"""Metrics of a model on a whole split, such as macro-F1, which are no means over batches.

measured = measure(evaluator, "valid", ("macro-f1", "nll"))     # {"macro-f1": 0.81, "nll": 0.42}
merit_of(measured)                                              # 0.81: the first one, higher is better
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from msam_bench.metrics.sample_metrics import METRICS

if TYPE_CHECKING:
    from msam_bench.training.evaluation import Evaluator


def measure(evaluator: Evaluator, split: str, names: Sequence[str]) -> dict[str, float]:
    """The metrics of a split, each sample counted once.

    Args:
        evaluator: of the model.
        split: one of the data's.
        names: of metrics.
    """
    if not names:
        return {}
    outputs, targets = [], []
    for inputs, target in evaluator.sets[split].chunks():
        device = evaluator.backward.objective.device
        there = {name: tensor.to(device) for name, tensor in inputs.items()}
        outputs.append(evaluator.backward.predict(there).double().cpu())
        targets.append(target.cpu())
    logits, target = torch.cat(outputs).numpy(), torch.cat(targets)
    values = target.numpy() if logits.ndim > 1 and target.dim() == 1 and not target.is_floating_point() else None
    known = values if values is not None else target.double().reshape(len(target), -1).numpy()
    flat = logits.reshape(len(logits), -1)
    return {name: float(METRICS[name].value(flat, known)) for name in names}


def merit_of(measured: Mapping[str, float]) -> float:
    """The first metric, turned so that higher is better."""
    name, value = next(iter(measured.items()))
    return -value if METRICS[name].lower else value

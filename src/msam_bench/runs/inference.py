"""The predictions of a trained model for the samples of its data set, as its run keeps them.

predictions.write(folder, predictions_of(dataset, evaluator, evaluator.attribution("test")))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from msam_bench.runs.predictions import Predictions, SplitPredictions

if TYPE_CHECKING:
    from msam_bench.data import Dataset
    from msam_bench.training.evaluation import Attribution, Evaluator


def predictions_of(dataset: Dataset, evaluator: Evaluator, test: Attribution) -> Predictions:
    """The predictions for valid and test.

    Args:
        dataset: With the split of the run.
        evaluator: Of the trained model.
        test: What each modality of each test sample is worth.
    """
    parts = {
        "alone": {name: _array(outputs) for name, outputs in test.alone.items()},
        "contributions": {name: _array(values) for name, values in test.contributions.items()},
    }
    splits = {
        "valid": _split(dataset, evaluator, "valid"),
        "test": _split(dataset, evaluator, "test", **parts),
    }
    return Predictions("classes" if dataset.classes else "values", _array(prior(dataset)), splits)


def prior(dataset: Dataset) -> Tensor:
    """What the training split alone says of a target: the count of each class `[classes]`, or the mean `[outputs]`."""
    target = dataset.splits["train"].target
    if dataset.classes:
        return torch.bincount(target, minlength=len(dataset.classes)).double()
    return target.double().reshape(len(target), -1).mean(0)


def _split(dataset: Dataset, evaluator: Evaluator, name: str, **parts: dict[str, NDArray[Any]]) -> SplitPredictions:
    split = dataset.splits[name]
    groups = None if split.groups is None else _array(split.groups)
    return SplitPredictions(_array(evaluator.outputs(name)), _array(split.target), _array(split.ids), groups, **parts)


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().numpy()

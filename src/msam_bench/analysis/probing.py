"""What a frozen encoder knows: the test score of a ridge regression on its features, to classes or to values.

probe(features, target, 10)      # features: split -> [samples, width], target: split -> [samples]; 10 classes

A model that is held back by one modality may still have good encoders, or not: its own head does not tell, because it
was trained with the other modalities present. A linear probe is trained on each encoder alone, in closed form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from msam.metrics import hits
from msam_bench.training.metrics import R2

if TYPE_CHECKING:
    from torch import Tensor

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""In units of the number of training samples; chosen on validation."""


def probe(features: Mapping[str, Tensor], target: Mapping[str, Tensor], classes: int) -> float:
    """Test score of the ridge regression whose penalty is best on validation: accuracy, or R2 of values.

    Args:
        features: split -> `[samples, width]`.
        target: split -> class indices `[samples]`, or values `[samples, ...]`.
        classes: number of classes; 0 for values.
    """
    worth = hits if classes else R2.worth(target["test"])
    return float(worth(probe_outputs(features, target, classes), target["test"]).double().mean())


def probe_outputs(features: Mapping[str, Tensor], target: Mapping[str, Tensor], classes: int) -> Tensor:
    """Outputs of that regression for the test samples, `[samples, outputs]`; see `probe`.

    Args:
        features: split -> `[samples, width]`.
        target: split -> class indices `[samples]`, or values `[samples, ...]`.
        classes: number of classes; 0 for values.
    """
    scaled, score = standardised(features), accuracy if classes else explained
    wanted = _columns(target["train"], classes)
    solved = {penalty: ridge(scaled["train"], wanted.double(), penalty) for penalty in PENALTIES}
    best = max(PENALTIES, key=lambda penalty: score(scaled["valid"], solved[penalty], target["valid"]))
    return scaled["test"] @ solved[best]


def _columns(target: Tensor, classes: int) -> Tensor:
    """What is regressed: one column a class, or a value."""
    return torch.nn.functional.one_hot(target, classes) if classes else target.reshape(len(target), -1)


def standardised(features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every feature with mean 0 and deviation 1 over the training split, and a constant one beside them."""
    train = features["train"].flatten(1).double()
    mean, deviation = train.mean(0), train.std(0, correction=0).clamp(min=1e-8)
    return {
        split: torch.cat(
            [(values.flatten(1).double() - mean) / deviation, torch.ones(len(values), 1, dtype=torch.float64)], 1
        )
        for split, values in features.items()
    }


def ridge(inputs: Tensor, wanted: Tensor, penalty: float) -> Tensor:
    """`argmin |inputs W - wanted|^2 / n + penalty |W|^2`, the last row of W (the constant) unpenalised."""
    count, width = inputs.shape
    weight = torch.full((width,), penalty * count, dtype=torch.float64)
    weight[-1] = 0.0
    solved: Tensor = torch.linalg.solve(inputs.T @ inputs + weight.diag(), inputs.T @ wanted)
    return solved


def accuracy(inputs: Tensor, weights: Tensor, target: Tensor) -> float:
    """Share of samples whose largest output is the target's."""
    return float(((inputs @ weights).argmax(1) == target).double().mean())


def explained(inputs: Tensor, weights: Tensor, target: Tensor) -> float:
    """R2: the share of the targets' variance that the outputs explain."""
    return float(R2.worth(target)(inputs @ weights, target).mean())

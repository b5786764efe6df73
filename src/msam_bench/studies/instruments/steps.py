"""What single steps cost on a data set, with one of its settings changed: nothing is trained, nothing is kept.

    setting = Setting("modalities", "early", modalities=16)
    measured("digits6", setting, rounds=15).costs["msam"].ratio

More modalities are the data set's own over and over, each with an encoder of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from msam import MSAM, SAM, Joint, Method, Shapley
from msam.objective import Objective
from msam.types import Contributions, Features, Inputs
from msam_bench.config.resolve import resolve
from msam_bench.data import Dataset, source
from msam_bench.runs.restore import model_of
from msam_bench.studies.instruments.step_costs import StepCost, measure, training_step
from msam_bench.training.metrics import scoring

PLAIN, AGAIN, SAM_, BARE, VALUED = "joint", "joint again", "sam", "msam without values", "msam"
"""The steps, in units of the first."""


class Unvalued(Shapley):
    """Equal contributions without valuing a coalition: the cost of M-SAM without Shapley values."""

    def forward(
        self, objective: Objective, inputs: Inputs, target: torch.Tensor, features: Features | None = None
    ) -> Contributions:
        """Equal shares; the first modality is dominant."""
        names = objective.modalities(inputs)
        shares = torch.full((len(names),), 1 / len(names), dtype=torch.float64)
        return Contributions(names, shares, shares, torch.tensor(0))


@dataclass(frozen=True)
class Setting:
    """What is measured on; what is None is the data set's own.

    Args:
        axis: which of the last three is varied.
        fusion: late or early.
        modalities: how many.
        batch: samples a step.
        width: of features and hidden layers.
    """

    axis: str
    fusion: str
    modalities: int | None = None
    batch: int | None = None
    width: int | None = None

    @property
    def value(self) -> int:
        """Of what is varied."""
        return int(getattr(self, self.axis))


@dataclass(frozen=True)
class Measured:
    """A setting and the costs of its steps.

    Args:
        setting: what was measured on.
        epoch: steps that an epoch takes, a part of one for what is left over.
        weights: how many numbers the model has.
        costs: of each step.
    """

    setting: Setting
    epoch: float
    weights: int
    costs: Mapping[str, StepCost]

    @property
    def added(self) -> float:
        """What the values add to a step of M-SAM, in steps of joint training."""
        return self.costs[VALUED].ratio - self.costs[BARE].ratio


def measured(data: str, setting: Setting, rounds: int) -> Measured:
    """Costs of every step in a setting, on one thread."""
    dataset = source(data).load(0)
    dataset = repeated(dataset, setting.modalities or len(dataset.modalities))
    sizes: dict[str, Any] = {"batch_size": setting.batch, "features": setting.width, "hidden": setting.width}
    config = resolve(data, setting.fusion, "joint", **sizes)
    model, train, score = model_of(config, dataset), dataset.splits["train"], scoring(dataset)
    batch = train.take(torch.arange(config.batch_size) % len(train))
    # hardly moves: what a step costs must not depend on how many were made before it
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)
    steps = {
        name: training_step(method, model, optimizer, batch, score.criterion)
        for name, method in _methods(score.value).items()
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        costs = measure(steps, rounds)
    finally:
        torch.set_num_threads(threads)
    weights = sum(weight.numel() for weight in model.parameters())
    return Measured(setting, len(train) / config.batch_size, weights, costs)


def repeated(dataset: Dataset, count: int) -> Dataset:
    """A data set with so many modalities: its own, over and over."""
    names = dataset.modalities
    chosen = {f"{names[i % len(names)]}-{i // len(names) + 1}": names[i % len(names)] for i in range(count)}
    splits = {
        part: replace(
            split,
            inputs={name: split.inputs[like] for name, like in chosen.items()},
            scales={name: split.scales[like] for name, like in chosen.items() if like in split.scales},
        )
        for part, split in dataset.splits.items()
    }
    return replace(
        dataset, splits=splits, modality_specs={name: dataset.modality_specs[like] for name, like in chosen.items()}
    )


def _methods(value: Any) -> dict[str, Method]:
    joint = Joint()
    unvalued, valued = MSAM(attribution=Unvalued()), MSAM(attribution=Shapley(value))
    return {PLAIN: joint, AGAIN: joint, SAM_: SAM(), BARE: unvalued, VALUED: valued}

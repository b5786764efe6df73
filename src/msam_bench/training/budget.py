"""How long a run trains, and how its learning rate falls until then: by epochs, or by gradients that are counted.

    cost = Cost(objective)
    budget = Budget(config, batches=7, cost=cost)
    while not budget.over(epoch): ...                  # and inside an epoch, after each batch, `if budget.spent: break`
    cost.shown()["gradients"], cost.shown()["forwards"]

A gradient is a back-propagation through all encoders; one that reaches some of them is as large a part of a gradient.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LambdaLR, LRScheduler, StepLR

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from msam import Objective
    from msam_bench.config.run import OptimizerConfig, RunConfig


class Cost:
    """The passes that training has made, across interruptions.

    Args:
        objective: what counts them; nothing else may be counted there while training goes on.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.before = dict.fromkeys(self._now(), 0.0)

    def _now(self) -> dict[str, float]:
        counts = self.objective.counts
        return {
            "forwards": counts.forwards,
            "backwards": counts.backwards,
            "encoder_forwards": counts.encoder_forwards.total(),
            "encoder_backwards": counts.encoder_backwards.total(),
        }

    def state(self) -> dict[str, float]:
        """Numbers, for a checkpoint."""
        return {name: count + self.before[name] for name, count in self._now().items()}

    def resume(self, state: dict[str, float]) -> None:
        """Goes on from a checkpoint."""
        self.before = {name: state[name] - count for name, count in self._now().items()}

    @property
    def gradients(self) -> float:
        """Back-propagations through all encoders; those of a model that shows no encoders."""
        found = self.state()
        encoders = len(self.objective.encoders)
        return found["encoder_backwards"] / encoders if encoders else float(found["backwards"])

    def shown(self) -> dict[str, float]:
        """Gradients, and passes: of the model forwards, back-propagations of any kind, and forwards of all encoders."""
        found = self.state()
        encoded = found["encoder_forwards"] / max(1, len(self.objective.encoders))
        passes = {"forwards": found["forwards"], "backwards": found["backwards"], "encoder_passes": encoded}
        return {"gradients": self.gradients, **passes}


class Budget:
    """When a run is over.

    Args:
        config: its `epochs`, and what they are a budget of.
        batches: of an epoch; joint training makes one gradient each.
        cost: what has been spent.
    """

    def __init__(self, config: RunConfig, batches: int, cost: Cost) -> None:
        self.config, self.cost = config, cost
        self.total = config.epochs * batches
        self.longest = config.epochs * max(1, len(cost.objective.encoders))

    @property
    def spent(self) -> bool:
        """Whether no gradient is left, for a budget of gradients."""
        return self.config.budget == "gradients" and self.cost.gradients >= self.total

    def over(self, epoch: int) -> bool:
        """Whether to stop after so many epochs.

        A method that trains one encoder at a time spends the gradients in as many times the epochs as there are
        encoders; one that is not done by then has stopped to train.
        """
        return self.spent or epoch >= (self.config.epochs if self.config.budget == "epochs" else self.longest)

    def progress(self) -> float:
        """The part of the gradients that is spent, at most 1."""
        return min(1.0, self.cost.gradients / self.total)

    def epochs(self, epoch: int) -> int:
        """How far a run is, in epochs of the configuration."""
        return epoch if self.config.budget == "epochs" else int(self.progress() * self.config.epochs)

    def scheduler(self, optimizer: Optimizer) -> LRScheduler:
        """The learning rate's course over the epochs, or over the gradients, a step an epoch."""
        asked = self.config.optimizer
        if self.config.budget == "gradients":
            return LambdaLR(optimizer, lambda epoch: part_of_rate(asked, self.progress(), self.config.epochs))
        if asked.schedule == "cosine":
            return CosineAnnealingLR(optimizer, self.config.epochs)
        if asked.schedule == "inverse-sqrt":
            return LambdaLR(optimizer, lambda epoch: (epoch + 1) ** -0.5)
        if asked.schedule == "step":
            return StepLR(optimizer, asked.step_epochs)
        return ConstantLR(optimizer, 1.0)


def part_of_rate(asked: OptimizerConfig, progress: float, epochs: int) -> float:
    """What is left of the learning rate after a part of a run: what the schedule would have left after as many epochs.

    Args:
        asked: the schedule.
        progress: from 0 to 1.
        epochs: of the whole run.
    """
    if asked.schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    if asked.schedule == "inverse-sqrt":
        return float((1 + progress * epochs) ** -0.5)
    return float(0.1 ** (progress * epochs // asked.step_epochs)) if asked.schedule == "step" else 1.0

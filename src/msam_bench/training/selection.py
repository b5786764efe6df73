"""The epoch whose weights are tested: the best one on validation, or the last; early stopping asks how long ago it was.

selection = Selection("best")
selection.consider(epoch, score, loss, model, method)
if epoch - selection.epoch >= 5: break             # early stopping
selection.restore(model, method)
"""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any, Literal

from torch import Tensor, nn


class Selection:
    """The selected epoch so far, with the weights of model and method.

    Args:
        rule: `best` takes the highest validation score, then the lowest loss, then the first; `last` the last epoch.
    """

    def __init__(self, rule: Literal["best", "last"]) -> None:
        self.rule = rule
        self.state: dict[str, Any] = {"score": (-math.inf, -math.inf), "epoch": 0, "model": {}, "method": {}}

    @property
    def epoch(self) -> int:
        """The selected epoch, from 1; 0 before the first."""
        return int(self.state["epoch"])

    @property
    def weights(self) -> dict[str, Any]:
        """The states of the model and of the method at that epoch."""
        return {"model": self.state["model"], "method": self.state["method"]}

    def consider(self, epoch: int, score: float, loss: float, model: nn.Module, method: nn.Module) -> None:
        """Selects an epoch if it is better than those before.

        Args:
            epoch: its number, from 1.
            score: on validation, higher is better.
            loss: on validation.
            model: its weights are copied.
            method: likewise.
        """
        merit = (score, -loss) if self.rule == "best" else (float(epoch), 0.0)
        if merit > tuple(self.state["score"]):
            self.state = {"score": merit, "epoch": epoch, "model": _copy_state(model), "method": _copy_state(method)}

    def restore(self, model: nn.Module, method: nn.Module) -> None:
        """Puts the selected weights back."""
        model.load_state_dict(self.state["model"])
        method.load_state_dict(self.state["method"])


def _copy_state(module: nn.Module) -> dict[str, Any]:
    """A module's state as it is; tensors are cloned one by one, for which deepcopy takes eight times as long."""
    state = module.state_dict().items()
    return {name: value.clone() if isinstance(value, Tensor) else deepcopy(value) for name, value in state}

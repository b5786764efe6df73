"""Forward and backward passes that training has spent, across interruptions.

    passes = PassCount(backward.objective)
    passes.totals()["gradients"], passes.totals()["forwards"]
    passes.resume(state)                               # of a checkpoint: passes.state()

A gradient is a back-propagation through all encoders; one that reaches some of them counts as that part of a gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msam import Objective


class PassCount:
    """The passes of a training, those before an interruption included.

    Args:
        objective: counts them; nothing but training may be counted there.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.before = dict.fromkeys(self._counts(), 0.0)

    def _counts(self) -> dict[str, float]:
        counts = self.objective.counts
        return {
            "forwards": counts.forwards,
            "backwards": counts.backwards,
            "encoder_forwards": counts.encoder_forwards.total(),
            "encoder_backwards": counts.encoder_backwards.total(),
        }

    def state(self) -> dict[str, float]:
        """Numbers for a checkpoint."""
        return {name: count + self.before[name] for name, count in self._counts().items()}

    def resume(self, state: dict[str, float]) -> None:
        """Continues from the numbers of a checkpoint."""
        self.before = {name: state[name] - count for name, count in self._counts().items()}

    @property
    def gradients(self) -> float:
        """Back-propagations through all encoders; those of the model if it shows no encoders."""
        state, encoders = self.state(), len(self.objective.encoders)
        return state["encoder_backwards"] / encoders if encoders else float(state["backwards"])

    def totals(self) -> dict[str, float]:
        """Gradients, forwards of the model, back-propagations of any kind, and forwards of all encoders together."""
        state = self.state()
        encoded = state["encoder_forwards"] / max(1, len(self.objective.encoders))
        passes = {"forwards": state["forwards"], "backwards": state["backwards"], "encoder_passes": encoded}
        return {"gradients": self.gradients, **passes}

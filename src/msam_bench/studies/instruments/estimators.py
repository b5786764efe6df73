"""What do cheaper Shapley values cost in accuracy, and what do they save?"""

from __future__ import annotations

from time import process_time

import torch
from torch import Tensor

from msam import Method, Objective, Outcome
from msam.attribution import Design, accuracy, antithetic, exact, leader, log_likelihood
from msam.objective import Pass
from msam.types import Inputs, Note


class Estimators(Method):
    """Joint training that measures the error of cheaper Shapley values on every `each`-th batch.

    The reference is exact up to `most` modalities, 64 antithetic pairs above. Estimates are 1, 2 and 4 antithetic
    pairs, and the reference's own values of 5 and 20 batches ago. Notes: `wrong/NAME` is whether the estimate's
    largest value is another modality's than the reference's, `error/NAME` the largest absolute error of a value,
    `coalitions/NAME` how many coalitions were valued and `seconds/NAME` the processor time of valuing them.

    Args:
        each: measure every so many batches.
        most: modalities up to which the reference is exact.
    """

    needs = frozenset({"encoders", "fuse"})
    PAIRS = (1, 2, 4)
    AGES = (5, 20)
    REFERENCE = 64

    def __init__(self, each: int = 1, most: int = 10) -> None:
        super().__init__()
        self.each, self.most = each, most
        self._batches = 0
        self._past: list[Tensor] = []

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the plain gradient, and compares."""
        live = objective.accumulate_gradient(inputs, target)
        self._batches += 1
        return live.outcome(**(self._compared(objective, inputs, target, live) if self._due else {}))

    @property
    def _due(self) -> bool:
        return (self._batches - 1) % self.each == 0

    def _compared(self, objective: Objective, inputs: Inputs, target: Tensor, live: Pass) -> dict[str, Note]:
        count = len(objective.modalities(inputs))
        draw = torch.Generator().manual_seed(self._batches)
        designs = {f"{n}-pairs": antithetic(_orders(n, count, draw)) for n in self.PAIRS}
        largest = exact(count) if count <= self.most else antithetic(_orders(self.REFERENCE, count, draw))
        truth, notes = self._valued(objective, inputs, target, live, largest, "reference")
        for name, design in designs.items():
            estimate, costs = self._valued(objective, inputs, target, live, design, name)
            notes |= costs | _apart(name, estimate, truth)
        for age in self.AGES:
            if len(self._past) >= age:
                notes |= _apart(f"{age}-batches-old", self._past[-age], truth)
        self._past = [*self._past[1 - max(self.AGES) :], truth]
        return notes

    def _valued(
        self,
        objective: Objective,
        inputs: Inputs,
        target: Tensor,
        live: Pass,
        design: Design,
        name: str,
    ) -> tuple[Tensor, dict[str, Note]]:
        """Shapley values by accuracy and, to break ties, by log-likelihood, `[2, modalities]`; and what they cost."""
        started = process_time()
        with torch.no_grad():
            logits = objective.coalition_logits(inputs, design.masks, "zero-input", live.features or None)
            worth = torch.stack([accuracy(logits, target), log_likelihood(logits, target)])
        values = worth @ design.weights.T.to(worth)
        return values, {f"seconds/{name}": process_time() - started, f"coalitions/{name}": float(len(design.masks))}

    def get_extra_state(self) -> dict[str, object]:
        """The batch counter and the values of earlier batches, for `state_dict`."""
        return {"batches": self._batches, "past": dict(enumerate(self._past))}

    def set_extra_state(self, state: dict[str, object]) -> None:
        """Continues where `get_extra_state` left off."""
        past: dict[int, Tensor] = state["past"]  # type: ignore[assignment]
        self._batches, self._past = int(state["batches"]), [past[i] for i in sorted(past)]  # type: ignore[call-overload]


def _orders(pairs: int, count: int, draw: torch.Generator) -> list[list[int]]:
    return [torch.randperm(count, generator=draw).tolist() for _ in range(pairs)]


def _apart(name: str, estimate: Tensor, truth: Tensor) -> dict[str, Note]:
    return {
        f"wrong/{name}": float(_leads(estimate) != _leads(truth)),
        f"error/{name}": float((estimate[0] - truth[0]).abs().max()),
    }


def _leads(values: Tensor) -> int:
    return int(leader(values[0], values[1], None))

"""Measurements of one epoch of training: means of the method's notes over its batches."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from msam.types import Outcome


class Epoch:
    """Collects outcomes without reading them, so that a step never waits for the device.

    Args:
        dominance: counters of changes of the dominant modality, carried through the run.
    """

    def __init__(self, dominance: dict[str, Any]) -> None:
        self.dominance = dominance
        self.outcomes: list[tuple[Outcome, int]] = []

    def add(self, outcome: Outcome, samples: int) -> None:
        """Keeps the outcome of one batch."""
        self.outcomes.append((outcome, samples))

    @property
    def loss(self) -> float:
        """Mean training loss, each sample counted once."""
        return sum(float(o.loss) * n for o, n in self.outcomes) / self.samples

    @property
    def samples(self) -> int:
        """Samples seen."""
        return sum(n for _, n in self.outcomes)

    def notes(self) -> dict[str, float]:
        """Batch means of numbers; of each modality, its mean contribution and the share of batches it dominates."""
        notes = [outcome.notes for outcome, _ in self.outcomes]
        keys = dict.fromkeys(key for note in notes for key, value in note.items() if isinstance(value, float))
        means = {key.replace("contributions/", "contribution/"): _mean(notes, key) for key in keys}
        return means | self._dominant([str(note["dominant"]) for note in notes if "dominant" in note], list(keys))

    def _dominant(self, named: list[str], keys: list[str]) -> dict[str, float]:
        """The share of batches that each modality dominates, and at how many of them the dominant one changed."""
        if not named:
            return {}
        before = [self.dominance["last"]] if self.dominance["last"] is not None else []
        changes = [a != b for a, b in pairwise([*before, *named])]
        self.dominance["pairs"] += len(changes)
        self.dominance["switches"] += sum(changes)
        self.dominance["last"] = named[-1]
        modalities = [key.partition("/")[2] for key in keys if key.startswith("contributions/")]
        shares = {f"dominant/{modality}": named.count(modality) / len(named) for modality in modalities}
        return shares | ({"switching": sum(changes) / len(changes)} if changes else {})


def _mean(notes: list[dict[str, float | str]], key: str) -> float:
    values = [float(note[key]) for note in notes if key in note]
    return sum(values) / len(values)

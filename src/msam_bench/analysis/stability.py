"""Runs that collapsed: those that lie far below the median of their method.

collapsed({0: 0.95, 1: 0.96, 2: 0.94, 3: 0.31, ...})   # Collapse(seeds=(3,), median=0.945, runs=12)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from msam_bench.analysis.contrasts import MARGIN

DEVIATIONS = 5
"""Median absolute deviations below the median beyond which a run counts as collapsed."""


@dataclass(frozen=True)
class Collapse:
    """The collapsed runs of one method.

    Args:
        seeds: Their seeds.
        median: The median score of all its runs.
        runs: Number of all its runs.
    """

    seeds: tuple[int, ...]
    median: float
    runs: int

    @property
    def rate(self) -> float:
        """Share of runs that collapsed."""
        return len(self.seeds) / self.runs


def collapsed(scores: Mapping[int, float], smallest: float = MARGIN) -> Collapse:
    """The runs more than five median absolute deviations below the median, and by at least `smallest`."""
    middle = median(scores.values())
    spread = median(abs(score - middle) for score in scores.values())
    floor = middle - max(DEVIATIONS * spread, smallest)
    return Collapse(tuple(seed for seed, score in scores.items() if score < floor), middle, len(scores))

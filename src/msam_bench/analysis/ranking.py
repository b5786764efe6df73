"""Methods over several data sets: average ranks, Friedman's test, and Nemenyi's critical distance.

table = {"digits6": {"joint": 0.957, "sam": 0.969}, "smartwatch": {"joint": 0.785, "sam": 0.783}}
ranks(table)                     # method -> average rank, 1 is best
friedman(table).words            # five data sets or more: whether ranks differ at all, and by how much two must

After Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from msam_bench.analysis.sentences.phrases import format_p, join_names
from msam_bench.analysis.statistics import LEVEL

Scores = Mapping[str, Mapping[str, float]]
"""Data set -> method -> score, higher is better."""


@dataclass(frozen=True)
class Friedman:
    """Friedman's test of equal ranks.

    Args:
        p: of the chi-square statistic.
        critical: Nemenyi's distance: average ranks further apart than this differ at the 5 % level.
        ranks: method -> average rank.
    """

    p: float
    critical: float
    ranks: Mapping[str, float]

    @property
    def words(self) -> str:
        """What the test shows, in a sentence or two."""
        if self.p > LEVEL:
            return f"No evidence that ranks differ (Friedman's p {format_p(self.p)})."
        best = min(self.ranks, key=lambda name: self.ranks[name])
        beaten = [name for name, rank in self.ranks.items() if rank - self.ranks[best] > self.critical]
        losers = (
            f"{best} ranks better than {join_names(beaten)}"
            if beaten
            else "but no method is shown to rank below the best"
        )
        return (
            f"Ranks differ (Friedman's p {format_p(self.p)}); by Nemenyi's distance of {self.critical:.2f}, {losers}."
        )


def ranks(table: Scores) -> dict[str, float]:
    """Average rank of each method that every data set has; equal scores share the mean of their ranks.

    Raises:
        ValueError: if no method is on every data set.
    """
    from scipy.stats import rankdata

    methods = _everywhere(table)
    placed = [rankdata([-scores[method] for method in methods]) for scores in table.values()]
    return {method: float(sum(placing[i] for placing in placed) / len(placed)) for i, method in enumerate(methods)}


def friedman(table: Scores) -> Friedman:
    """Friedman's test over data sets, with Nemenyi's critical distance.

    Raises:
        ValueError: fewer than three methods on every data set, or fewer than two data sets.
    """
    from scipy.stats import friedmanchisquare

    methods, count = _everywhere(table), len(table)
    if len(methods) < 3 or count < 2:
        raise ValueError(
            f"Friedman's test needs three methods and two data sets, found {len(methods)} methods on {count} data sets."
        )
    p = float(friedmanchisquare(*([scores[method] for scores in table.values()] for method in methods)).pvalue)
    critical = _quantile(len(methods)) * math.sqrt(len(methods) * (len(methods) + 1) / (6 * count))
    return Friedman(p, critical, ranks(table))


@cache
def _quantile(methods: int) -> float:
    """Nemenyi's `q`: of the studentised range of so many, over the root of 2."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - LEVEL, methods, math.inf)) / math.sqrt(2)


def _everywhere(table: Scores) -> list[str]:
    first, *others = table.values()
    methods = [method for method in first if all(method in scores for scores in others)]
    if not methods:
        raise ValueError("Ranks need methods that were run on every data set, found none.")
    return methods

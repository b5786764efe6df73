"""One family of comparisons with one reference: simultaneous intervals, p to go with them, and what they show.

    contrasts = family({"sam": estimate, "gnp": other}, margin=0.005)
    contrasts["sam"].interval, contrasts["sam"].adjusted, contrasts["sam"].outcome

Interval and p agree by construction: with k comparisons, `p_adjusted = 1 - (1 - p)^k`, and the interval is
`mean +- c * error` with `c` the quantile `1 - (1 - .95^(1/k)) / 2` of Student's t (Sidak, JASA 62, 1967). That two
methods do not differ is stated only if an interval of its own lies inside the margin (two one-sided tests, Schuirmann
1987), at the same adjusted level, which is the 90 % interval for a single comparison.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from msam_bench.metrics.uncertainty import Estimate

LEVEL = 0.05
"""Probability that a family makes at least one false statement."""
MARGIN = 0.005
"""Smallest difference that matters where nothing else is declared: 0.5 points."""
FEWEST_SEEDS = 6
"""Paired seeds below which differences are described, not tested."""


class Decision(Enum):
    """What a comparison shows; the values are its words."""

    RELEVANTLY_BETTER = "relevantly better"
    BETTER = "better"
    NEGLIGIBLY_BETTER = "better, but by less than matters"
    EQUIVALENT = "no difference that matters"
    UNDECIDED = "undecided"
    NEGLIGIBLY_WORSE = "worse, but by less than matters"
    WORSE = "worse"
    RELEVANTLY_WORSE = "relevantly worse"
    DESCRIBED = "described only"

    @property
    def direction(self) -> int:
        """1 for better, -1 for worse, 0 for neither."""
        return _DIRECTIONS.get(self, 0)


_DIRECTIONS = dict.fromkeys((Decision.RELEVANTLY_BETTER, Decision.BETTER, Decision.NEGLIGIBLY_BETTER), 1)
_DIRECTIONS |= dict.fromkeys((Decision.RELEVANTLY_WORSE, Decision.WORSE, Decision.NEGLIGIBLY_WORSE), -1)


@dataclass(frozen=True)
class Contrast:
    """One member of a family.

    Args:
        estimate: The mean difference to the reference and its error.
        size: Number of comparisons in the family.
        margin: Smallest difference that matters, in the unit of the score.
        level: Family-wise error rate.
    """

    estimate: Estimate
    size: int = 1
    margin: float = MARGIN
    level: float = LEVEL

    @property
    def difference(self) -> float:
        """The mean difference."""
        return self.estimate.difference

    @property
    def p(self) -> float:
        """Two-sided p before adjustment."""
        return self.estimate.p

    @property
    def adjusted(self) -> float:
        """Two-sided p adjusted for the size of the family."""
        return sidak(self.estimate.p, self.size)

    @property
    def interval(self) -> tuple[float, float]:
        """Simultaneous interval; unbounded where there is no degree of freedom."""
        return self._interval(1 - self.member_level / 2)

    @property
    def member_level(self) -> float:
        """Level of this comparison alone, at which the family keeps its own."""
        return -math.expm1(math.log1p(-self.level) / self.size)

    @property
    def equivalence_interval(self) -> tuple[float, float]:
        """The interval that lies inside the margin if equivalence is shown: 90 % for a single comparison."""
        return self._interval(1 - self.member_level)

    @property
    def equivalence_p(self) -> float:
        """Adjusted p of "the difference is at least the margin", the larger of two one-sided tests."""
        from scipy.special import stdtr

        estimate, reach = self.estimate, self.margin - abs(self.estimate.difference)
        if not estimate.freedom:
            return 1.0
        if estimate.error == 0:
            return float(reach <= 0)
        return sidak(float(stdtr(estimate.freedom, -reach / estimate.error)), self.size)

    @property
    def described(self) -> bool:
        """Whether there are too few seeds to test."""
        return self.estimate.seeds < FEWEST_SEEDS or not self.estimate.freedom

    @property
    def outcome(self) -> Decision:
        """What the comparison shows."""
        if self.described:
            return Decision.DESCRIBED
        within = self.equivalence_p <= self.level
        if self.adjusted > self.level:
            return Decision.EQUIVALENT if within else Decision.UNDECIDED
        low, high = self.interval
        if self.difference > 0:
            if within:
                return Decision.NEGLIGIBLY_BETTER
            return Decision.RELEVANTLY_BETTER if low > self.margin else Decision.BETTER
        if within:
            return Decision.NEGLIGIBLY_WORSE
        return Decision.RELEVANTLY_WORSE if high < -self.margin else Decision.WORSE

    @property
    def reversed(self) -> Contrast:
        """The same comparison seen from the other side."""
        estimate = self.estimate
        turned = replace(estimate, difference=-estimate.difference, wins=estimate.seeds - estimate.wins)
        return replace(self, estimate=turned)

    @property
    def size_in_words(self) -> str:
        """The size of the mean difference, whether or not it is shown."""
        return size_in_words(self.difference, self.margin)

    def _interval(self, quantile: float) -> tuple[float, float]:
        from scipy.special import stdtrit

        if not self.estimate.freedom:
            return -math.inf, math.inf
        half = float(stdtrit(self.estimate.freedom, quantile)) * self.estimate.error
        return self.difference - half, self.difference + half


def family(estimates: Mapping[str, Estimate], margin: float = MARGIN, level: float = LEVEL) -> dict[str, Contrast]:
    """The comparisons as one family; those with too few seeds are described and not counted among it."""
    single = {name: Contrast(estimate, 1, margin, level) for name, estimate in estimates.items()}
    size = max(1, sum(not contrast.described for contrast in single.values()))
    return {name: Contrast(estimate, size, margin, level) for name, estimate in estimates.items()}


def sidak(p: float, size: int) -> float:
    """The p of the smallest of so many: `1 - (1 - p)^size`."""
    return 1.0 if p >= 1 else -math.expm1(size * math.log1p(-p))


def size_in_words(difference: float, margin: float) -> str:
    """A difference as negligible, small, moderate or large: below 1, 4 and 10 margins, or above."""
    sizes = ((1, "negligible"), (4, "small"), (10, "moderate"))
    return next((word for bound, word in sizes if abs(difference) < bound * margin), "large")

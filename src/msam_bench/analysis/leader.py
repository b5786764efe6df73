"""The best method, as far as it is shown: the leader by paired means, and the rivals that it is not shown to beat.

    leader = leading("joint", contrasts, pair=lambda a, b: estimate)
    leader.name, leader.rivals               # the best only if no rival is left

The leader has the highest mean paired difference to the reference (whose own is 0). To be the best it must beat every
rival at the 5 % level, each test on its own: naming the largest of many means and testing it against all others keeps
that level (Gutmann and Maymin, Annals of Statistics 15, 1987). What the declared family shows is not tested again, so
that no statement on the best contradicts one of the family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msam_bench.analysis.contrasts import Contrast, Decision
from msam_bench.metrics.uncertainty import Estimate


@dataclass(frozen=True)
class Leader:
    """Who leads.

    Args:
        name: The method with the highest mean paired difference.
        rivals: Those that it is not shown to beat; it is the best if there are none.
        tested: Whether every rival could be tested; False with too few seeds.
    """

    name: str
    rivals: tuple[str, ...]
    tested: bool = True

    @property
    def best(self) -> bool:
        """Whether it is shown to be the best."""
        return self.tested and not self.rivals


def leading(reference: str, contrasts: Mapping[str, Contrast], pair: Callable[[str, str], Estimate | None]) -> Leader:
    """Names the leader and its rivals.

    Args:
        reference: What the family is compared with.
        contrasts: Every other row -> its comparison with the reference.
        pair: (a, b) -> the mean of a minus b over their common seeds; None where they have none.
    """
    name = max([reference, *contrasts], key=lambda each: contrasts[each].difference if each in contrasts else 0.0)
    others = [each for each in (reference, *contrasts) if each != name]
    return Leader(
        name,
        tuple(each for each in others if not _beaten(name, each, reference, contrasts, pair)),
        all(contrast.outcome is not Decision.DESCRIBED for contrast in contrasts.values()),
    )


def _beaten(
    name: str,
    other: str,
    reference: str,
    contrasts: Mapping[str, Contrast],
    pair: Callable[[str, str], Estimate | None],
) -> bool:
    """Whether the leader is shown to beat another: by the family where it speaks of the pair, else by a test."""
    ahead = name == reference or contrasts[name].outcome.direction > 0
    if reference in (name, other):
        return ahead if other == reference else contrasts[other].outcome.direction < 0
    if ahead and contrasts[other].outcome.direction < 0:
        return True
    estimate = pair(name, other)
    if estimate is None:
        return False
    alone = Contrast(estimate, 1, contrasts[other].margin, contrasts[other].level)
    return not alone.described and alone.adjusted <= alone.level and alone.difference > 0

"""Is a model balanced? The decision of a diagnosis, from contributions above chance and probes.

    balance = weigh(measure, joint, chance, contributions, apart, probes)
    balance.state                            # BalanceState.DOMINATED
    balance.leader, balance.starved          # who contributes most; whose encoder learns more when trained apart

Contributions are Shapley values of the test score with the score of knowing nothing (chance) as the worth of the empty
coalition, so that a modality of noise contributes nothing. One modality *leads* if it is shown to contribute more than
every other one, by two points at least; it *dominates* if, besides, another one is under-used: a probe on that one's
encoder tells two points more when it was trained apart. *Balanced* is shown, too, by equivalence, or it is not stated.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import Enum
from math import fsum

from msam_bench.analysis.contrasts import Contrast, family
from msam_bench.metrics.measure import Measure
from msam_bench.metrics.uncertainty import Runs, combined, paired_estimate

EFFECT = 0.02
"""Smallest difference between contributions, or between probes, that a diagnosis speaks of: two points."""


class BalanceState(Enum):
    """What a diagnosis decides."""

    UNTESTED = "too few seeds"
    NOTHING = "joint training is not shown to be better than chance"
    DOMINATED = "one modality leads and another one is under-used"
    LED = "one modality leads and none other is shown to be under-used"
    UNDERUSED = "none is shown to lead and one is under-used"
    BALANCED = "none leads and none is under-used, by equivalence"
    UNDECIDED = "neither imbalance nor balance is shown"


@dataclass(frozen=True)
class Balance:
    """What a diagnosis rests on; every contrast has `EFFECT` as its margin.

    Args:
        measure: What is scored.
        chance: The test score of knowing nothing.
        joint: The joint model minus chance.
        contributions: Modality -> its contribution above chance, tested against 0, one family; the largest first.
        behind: Every other modality -> its contribution minus the largest one, one family.
        gaps: Modality -> probe on its encoder trained apart minus on the joint one, one family.
        synergy: The joint model minus the best modality trained apart.
        redundancy: What the modalities tell apart, above chance and added, minus what the joint model tells.
        best: That modality.
        apart: Modality -> it alone, trained apart, minus chance, one family.
        chance_name: What knowing nothing is called.
        model: What the joint model is called.
    """

    measure: Measure
    chance: float
    joint: Contrast
    contributions: Mapping[str, Contrast]
    behind: Mapping[str, Contrast]
    gaps: Mapping[str, Contrast]
    synergy: Contrast
    redundancy: Contrast
    best: str
    apart: Mapping[str, Contrast]
    chance_name: str = "the majority class"
    model: str = "joint"

    @property
    def leader(self) -> str:
        """The modality that contributes most."""
        return next(iter(self.contributions))

    @property
    def leads(self) -> bool:
        """Whether it is shown to contribute, and more than every other one, by the smallest effect at least."""
        contributes = above(self.contributions[self.leader])
        return contributes and all(above(each.reversed) for each in self.behind.values())

    @property
    def starved(self) -> dict[str, Contrast]:
        """The modalities that are shown to be under-used, the widest gap first."""
        gaps = {name: gap for name, gap in self.gaps.items() if above(gap)}
        return dict(sorted(gaps.items(), key=lambda pair: -pair[1].difference))

    @property
    def state(self) -> BalanceState:
        """What is decided."""
        tested = (self.joint, *self.behind.values(), *self.gaps.values())
        if any(each.described for each in tested):
            return BalanceState.UNTESTED
        if self.joint.outcome.direction < 1:
            return BalanceState.NOTHING
        others = self.starved.keys() - {self.leader}
        if self.leads:
            return BalanceState.DOMINATED if others else BalanceState.LED
        if self.starved:
            return BalanceState.UNDERUSED
        alike = all(within(each) for each in self.behind.values())
        return BalanceState.BALANCED if alike and all(map(at_most, self.gaps.values())) else BalanceState.UNDECIDED

    @property
    def silent(self) -> list[str]:
        """The modalities whose contribution is shown to be within the smallest effect of nothing."""
        return [name for name, each in self.contributions.items() if within(each)]


def above(contrast: Contrast) -> bool:
    """Whether a difference is shown to be positive and is as large as the smallest effect."""
    return contrast.outcome.direction > 0 and contrast.difference >= contrast.margin


def within(contrast: Contrast) -> bool:
    """Whether a difference is shown to lie inside the smallest effect, to either side."""
    return not contrast.described and contrast.equivalence_p <= contrast.level


def at_most(contrast: Contrast) -> bool:
    """Whether a difference is shown to lie below the smallest effect."""
    return not contrast.described and contrast.equivalence_interval[1] < contrast.margin


def weigh(
    measure: Measure,
    joint: Runs,
    chance: Runs,
    contributions: Mapping[str, Runs],
    apart: Mapping[str, Runs],
    probes: Mapping[str, tuple[Runs, Runs]],
    folds: Mapping[int, Hashable] | None = None,
    **names: str,
) -> Balance:
    """The decision from runs, every comparison tested over seeds and samples.

    Args:
        measure: What is scored.
        joint: Seed -> scores of the joint model.
        chance: Seed -> scores of knowing nothing.
        contributions: Modality -> its Shapley values of the joint model's score, with 0 as the worth of no modality.
        apart: Modality -> scores of a model of it alone.
        probes: Modality -> scores of a probe on its encoder trained apart, and trained jointly.
        folds: Seed -> fold, where seeds go round folds.
        **names: `chance_name` and `model` of `Balance`.
    """
    share = 1 / len(contributions)
    above = {name: combined((1, each), (-share, chance)) for name, each in contributions.items()}
    above = dict(sorted(above.items(), key=lambda pair: -_mean(pair[1])))
    leader, best = next(iter(above)), max(apart, key=lambda name: _mean(apart[name]))
    none = combined((0, joint))
    shared = [*((1.0, each) for each in apart.values()), (1.0 - len(apart), chance), (-1.0, joint)]

    def tested(pairs: Mapping[str, tuple[Runs, Runs]]) -> dict[str, Contrast]:
        return family({name: paired_estimate(*pair, folds) for name, pair in pairs.items()}, EFFECT)

    return Balance(
        measure,
        _mean(chance),
        tested({"": (joint, chance)})[""],
        tested({name: (each, none) for name, each in above.items()}),
        tested({name: (each, above[leader]) for name, each in above.items() if name != leader}),
        tested(probes),
        tested({"": (joint, apart[best])})[""],
        tested({"": (combined(*shared), none)})[""],
        best,
        tested({name: (each, chance) for name, each in apart.items()}),
        **names,
    )


def _mean(runs: Runs) -> float:
    return fsum(run.score for run in runs.values()) / len(runs)

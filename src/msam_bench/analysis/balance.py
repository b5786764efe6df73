"""Is a model balanced? The decision of a diagnosis and its words, from contributions above chance and probes.

    found = Balance(measure, chance, joint, contributions, behind, gaps, synergy, redundancy, best="text")
    found.state                              # State.DOMINATED
    " ".join(said(found))                    # "text dominates: it contributes 54.0 of 68.2 points above chance, ..."

Contributions are Shapley values of the test score with the score of knowing nothing (chance) as the worth of the empty
coalition, so that a modality of noise contributes nothing. One modality *leads* if it is shown to contribute more than
every other one, by two points at least; it *dominates* if, besides, another one is under-used: a probe on that one's
encoder tells two points more when it was trained apart. *Balanced* is shown, too, by equivalence, or it is not said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from msam_bench.analysis.contrasts import Contrast
from msam_bench.analysis.statistics import p_text, words
from msam_bench.analysis.verdict import Measure

EFFECT = 0.02
"""Smallest difference between contributions, or between probes, that a diagnosis speaks of: two points."""


class State(Enum):
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
        """Whether it is shown to contribute more than every other one, by the smallest effect at least."""
        return all(above(each.reversed) for each in self.behind.values())

    @property
    def starved(self) -> dict[str, Contrast]:
        """The modalities that are shown to be under-used, the widest gap first."""
        found = {name: gap for name, gap in self.gaps.items() if above(gap)}
        return dict(sorted(found.items(), key=lambda pair: -pair[1].difference))

    @property
    def state(self) -> State:
        """What is decided."""
        tested = (self.joint, *self.behind.values(), *self.gaps.values())
        if any(each.described for each in tested):
            return State.UNTESTED
        if self.joint.outcome.direction < 1:
            return State.NOTHING
        others = self.starved.keys() - {self.leader}
        if self.leads:
            return State.DOMINATED if others else State.LED
        if self.starved:
            return State.UNDERUSED
        alike = all(within(each) for each in self.behind.values())
        return State.BALANCED if alike and all(map(at_most, self.gaps.values())) else State.UNDECIDED

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


def said(balance: Balance) -> tuple[str, ...]:
    """The sentences of a diagnosis."""
    parts = {State.UNTESTED: (_untested,), State.NOTHING: (_nothing,)}.get(
        balance.state, (_state, _use, _silence, _together, _shared)
    )
    return tuple(sentence for part in parts for sentence in part(balance))


def _untested(balance: Balance) -> Iterator[str]:
    n = balance.joint.estimate.seeds
    yield (
        f"Too few seeds to tell (n = {n}): {balance.leader} contributes most, {_contributed(balance)}; with 6 seeds or "
        "more, and two folds or more, this is tested."
    )


def _nothing(balance: Balance) -> Iterator[str]:
    low, high = balance.measure.span(*balance.joint.interval)
    yield (
        f"{balance.model} is not shown to be better than {balance.chance_name} "
        f"({balance.measure.value(balance.chance)}; the difference fits {low} to {high} {balance.measure.unit}): there "
        "is nothing to balance, and how such a model uses its modalities means nothing."
    )


def _state(balance: Balance) -> Iterator[str]:
    leader, effect = balance.leader, balance.measure.amount(EFFECT)
    match balance.state:
        case State.DOMINATED:
            yield f"{leader} dominates: it contributes {_contributed(balance)}, and another modality is under-used."
        case State.LED:
            yield f"{leader} leads: it contributes {_contributed(balance)}."
        case State.BALANCED:
            yield (
                f"Balanced: contributions differ by less than {effect}, and no encoder learns {effect} more when "
                "trained apart."
            )
        case _:
            yield f"No modality is shown to lead: {leader} contributes most, {_contributed(balance)}."


def _contributed(balance: Balance) -> str:
    """What the leader contributes, beside the second."""
    (_, most), (second, less), *_ = balance.contributions.items()
    scale, total = balance.measure.scale, sum(each.difference for each in balance.contributions.values())
    p = p_text(max(each.adjusted for each in balance.behind.values()))
    tested = "" if balance.state is State.UNTESTED else f" (adjusted p {p})"
    return (
        f"{scale * most.difference:.1f} of {scale * total:.1f} {balance.measure.unit} above {balance.chance_name}, "
        f"{second} {scale * less.difference:.1f}{tested}"
    )


def _use(balance: Balance) -> Iterator[str]:
    if balance.state is State.BALANCED:
        return
    if starved := balance.starved:
        gaps = [
            f"{name}{' itself' if name == balance.leader else ''} by {_interval(balance, gap)}"
            for name, gap in starved.items()
        ]
        yield f"Under-used, since encoders trained apart learn more: {words(gaps, len(gaps))}."
    else:
        widest = max(balance.gaps, key=lambda name: balance.gaps[name].difference)
        yield (
            f"No encoder is shown to be under-used: the widest gap is that of {widest}, "
            f"{_interval(balance, balance.gaps[widest])}."
        )


def _interval(balance: Balance, contrast: Contrast) -> str:
    low, high = balance.measure.span(*contrast.interval)
    shown = f"[{low}, {high}], adjusted p {p_text(contrast.adjusted)}"
    return f"{balance.measure.signed(contrast.difference)} {balance.measure.unit} ({shown})"


def _silence(balance: Balance) -> Iterator[str]:
    if balance.silent:
        parts = [f"{name} {_interval(balance, balance.contributions[name])}" for name in balance.silent]
        yield f"Nothing that matters is contributed by {words(parts, len(parts))}."


def _together(balance: Balance) -> Iterator[str]:
    """What only the modalities together tell."""
    if not above(balance.synergy):
        return
    tells = [name for name, each in balance.apart.items() if each.outcome.direction > 0]
    gain = f"{balance.model} is {_interval(balance, balance.synergy)} above {balance.best}, the best modality alone"
    if tells:
        yield f"Synergy: {gain}."
    else:
        yield f"Synergy: {gain}, and no modality alone is shown to tell anything: what they tell, they tell together."


def _shared(balance: Balance) -> Iterator[str]:
    """What more than one modality tells."""
    if above(balance.redundancy):
        yield f"Redundancy: {_interval(balance, balance.redundancy)} are told by more than one modality."

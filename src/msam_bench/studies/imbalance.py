"""The dominant and the under-used modalities, and the verdict: balanced, imbalanced, or undecided.

first = lead(joint)                              # who contributes most, and whether that is shown
verdict(first, gaps, n=12)                       # "accelerometer dominates: it contributes 54.0 of 78.5 points, ..."
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msam_bench.analysis.grouping import folds_of
from msam_bench.analysis.run_summary import RunSummary, score_of
from msam_bench.analysis.sentences.phrases import format_p, join_names
from msam_bench.analysis.statistics import LEVEL, Comparison, against, powerless, summarise

Gaps = Mapping[str, Comparison]
"""Modality -> score of a probe on its encoder trained apart minus that on the jointly trained one, by seed."""


@dataclass(frozen=True)
class Lead:
    """The modality that contributes most to the test score.

    Args:
        means: modality -> its mean contribution, the largest first.
        behind: every other modality -> its contribution minus the leader's, by seed, one Holm family.
        score: what the contributions are of: accuracy, or R2.
    """

    means: Mapping[str, float]
    behind: Mapping[str, Comparison]
    score: str = "accuracy"

    @property
    def name(self) -> str:
        """Who it is."""
        return next(iter(self.means))

    @property
    def shown(self) -> bool:
        """Whether it leads every other one over seeds."""
        return all(gap.differs for gap in self.behind.values())

    @property
    def words(self) -> str:
        """What it contributes, beside the second."""
        (_, most), (second, next_most), *_ = self.means.items()
        total, p = 100 * sum(self.means.values()), format_p(max(gap.evidence for gap in self.behind.values()))
        points = f"{100 * most:.1f} of {total:.1f} points of test {self.score}"
        return f"{points}, {second} {100 * next_most:.1f} (adjusted p {p})"


def starved(gaps: Gaps) -> dict[str, Comparison]:
    """The modalities that are shown to be under-used, the widest gap first."""
    wide = {name: gap for name, gap in gaps.items() if gap.differs and gap.difference > 0}
    return dict(sorted(wide.items(), key=lambda pair: -pair[1].difference))


def lead(joint: Sequence[RunSummary]) -> Lead:
    """The modality with the largest mean contribution, against the others."""
    values = {
        name: {run.seed: run.summary["contributions"][name] for run in joint} for name in joint[0].data["modalities"]
    }
    means = {name: summarise(by_seed.values()).mean for name, by_seed in values.items()}
    means = dict(sorted(means.items(), key=lambda pair: -pair[1]))
    return Lead(means, against(values, next(iter(means)), blocks=folds_of({"": joint})), score_of({"": joint}))


def verdict(first: Lead, gaps: Gaps, n: int) -> str:
    """The verdict in words: balanced, dominated, under-used, or undecided."""
    decidable = not powerless(first.behind) and not powerless(gaps)
    balanced = decidable and not first.shown and not starved(gaps)
    opening = f"Balanced, as far as n = {n} seeds can tell. " if balanced else ""
    return f"{opening}{_dominance(first, n)} {_use(first.name, gaps, n)}"


def _dominance(first: Lead, n: int) -> str:
    """Whether one modality contributes more than every other."""
    if first.shown:
        return f"{first.name} dominates: it contributes {first.words}."
    if powerless(first.behind):
        seeds = f"cannot be told with n = {n}: {needed(first.behind)} seeds could show it"
        return f"Whether a modality dominates {seeds}; {first.name} contributes most, {first.words}."
    return f"No modality is shown to dominate: {first.name} contributes most, {first.words}."


def _use(leader: str, gaps: Gaps, n: int) -> str:
    """Which encoders learned less than they could."""
    if under_used := starved(gaps):
        parts = [f"{name}{' itself' if name == leader else ''} by {_points(gap)}" for name, gap in under_used.items()]
        return f"Under-used, since encoders trained apart learn more: {join_names(parts)}."
    if powerless(gaps):
        return f"Whether one is under-used cannot be told with n = {n}: {needed(gaps)} seeds could show it."
    widest = max(gaps, key=lambda name: gaps[name].difference)
    return f"No encoder is shown to be under-used: the widest gap is that of {widest}, {_points(gaps[widest])}."


def _points(gap: Comparison) -> str:
    ends = "" if gap.low is None or gap.high is None else f" [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"
    return f"{100 * gap.difference:.1f} points{ends} (adjusted p {format_p(gap.evidence)})"


def needed(family: Mapping[str, Comparison]) -> int:
    """How many seeds could show a difference."""
    return next(n for n in range(1, 40) if len(family) * 2 / 2**n <= LEVEL)

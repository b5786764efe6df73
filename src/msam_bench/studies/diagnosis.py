"""Is a model imbalanced? Contributions, every coalition, and what each encoder would have learned apart.

Joint training, and each modality trained apart with the same encoders, budget and seeds. A modality is under-used if a
linear probe finds less in its encoder when it was trained jointly than when it was trained apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from msam_bench.config import MethodConfig, RunConfig, validated
from msam_bench.data import source
from msam_bench.reporting import charts
from msam_bench.reporting.charts.modalities import coalitions, shares
from msam_bench.reporting.grouping import folds_of
from msam_bench.reporting.record import Record, average
from msam_bench.runs import Record as Run
from msam_bench.statistics import (
    LEVEL,
    Comparison,
    against,
    holm,
    p_text,
    paired_difference,
    powerless,
    summarise,
    words,
)

from .base import Ask, Study
from .looking import Look, looked_at
from .result import Result, Sheet

JOINT, APART = "joint", "unimodal"
GAP = 0.1
"""tau above which training data are fitted much better than test data."""

Gaps = Mapping[str, Comparison]
"""Modality -> accuracy of a probe on its encoder trained apart minus that on the jointly trained one, by seed."""


def plan(ask: Ask) -> list[RunConfig]:
    """Joint training and each modality apart."""
    (data,) = ask.data
    return ask.runs(JOINT, *(f"{APART}:modality={name}" for name in source(data).modalities))


def conclude(records: Sequence[Record]) -> Result:
    """The verdict, and what it rests on."""
    joint = [run for run in records if run.config["method"]["name"] != APART]
    looks = {run.folder: looked_at(run) for run in records}
    modalities = tuple(joint[0].data["modalities"])
    apart = {name: _apart(records, name) for name in modalities}
    gaps = _gaps(joint, apart, looks)
    groups = {joint[0].label: joint}
    return Result(
        "diagnosis",
        STUDY.question,
        _verdict(joint, gaps),
        _advice(joint, gaps, str(joint[0].config["data"])),
        [_modalities(joint, apart, looks, gaps), _coalitions(joint)],
        {"Contributions": shares(groups, modalities), "Coalitions": coalitions(groups, modalities)}
        | {"Training": [*charts.learning(groups, charts.looks(groups)), *charts.gap(groups, charts.looks(groups))]},
    )


def like(record: Run, seeds: int) -> list[RunConfig]:
    """The plan for the method and settings of a run, from its seed on."""
    config = validated(record.config)
    apart = [MethodConfig(name=APART, params={"modality": name}) for name in record.data["modalities"]]
    numbers = range(config.seed, config.seed + seeds)
    return [config.model_copy(update={"seed": n, "method": own}) for n in numbers for own in (config.method, *apart)]


def _apart(records: Sequence[Record], modality: str) -> list[Record]:
    return [run for run in records if run.label == f"{APART}:modality={modality}"]


def _gaps(
    joint: Sequence[Record], apart: Mapping[str, Sequence[Record]], looks: Mapping[Any, Look]
) -> dict[str, Comparison]:
    """Each modality's gap, one Holm family."""
    folds = folds_of({JOINT: joint})
    found = {
        name: paired_difference(
            {run.seed: looks[run.folder].probes[name] for run in runs},
            {run.seed: looks[run.folder].probes[name] for run in joint},
            blocks=folds,
        )
        for name, runs in apart.items()
    }
    adjusted = holm([one.p for one in found.values()])
    return {
        name: replace(one, adjusted=p, family=len(found))
        for (name, one), p in zip(found.items(), adjusted, strict=True)
    }


def _leader(joint: Sequence[Record]) -> tuple[str, bool]:
    """The modality with the largest mean contribution, and whether it is shown to lead the second."""
    values = {
        name: {run.seed: run.summary["contributions"][name] for run in joint} for name in joint[0].data["modalities"]
    }
    first, *others = sorted(values, key=lambda name: -sum(values[name].values()))
    found = against(values, first, blocks=folds_of({JOINT: joint}))
    return first, bool(others) and all(c.differs for c in found.values())


def _verdict(joint: Sequence[Record], gaps: Gaps) -> str:
    """Balanced, dominated and under-used, or not to be told."""
    leader, leads = _leader(joint)
    dominates = f"{leader} dominates" if leads else f"No modality is shown to dominate ({leader} contributes most)"
    starved = {name: gap for name, gap in gaps.items() if gap.differs and gap.difference > 0}
    if starved:
        return f"{dominates}, and {words([_said(name, gap) for name, gap in starved.items()])}."
    if powerless(gaps):
        return f"{dominates}. Whether a modality is under-used cannot be told with n = {len(joint)}: {_needed(gaps)}."
    widest = max(gaps, key=lambda name: gaps[name].difference)
    return f"{dominates}. No encoder is shown to be under-used: the widest gap is {_said(widest, gaps[widest])}."


def _said(name: str, gap: Comparison) -> str:
    ends = "" if gap.low is None or gap.high is None else f" [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"
    verb = "is under-used by" if gap.differs else "has a gap of"
    return f"{name} {verb} {100 * gap.difference:.1f} points{ends} (adjusted p {p_text(gap.evidence)})"


def _needed(gaps: Gaps) -> str:
    """How many seeds could show a gap."""
    count = next(n for n in range(1, 40) if len(gaps) * 2 / 2**n <= LEVEL)
    return f"{count} seeds could show it"


def _advice(joint: Sequence[Record], gaps: Gaps, data: str) -> list[str]:
    """What to try, in order, with the evidence for it."""
    starved = [name for name, gap in gaps.items() if gap.differs and gap.difference > 0]
    tau = average(run.summary["tau"] for run in joint) or 0.0
    steps = []
    if starved:
        steps.append(
            f"Give {words(starved)} a loss of its own, since its encoder learns more apart: "
            f"`msam compare --data {data} --methods joint,mmpareto,g-blending,umt`."
        )
        steps.append(f"Hold the leading modality back: `msam compare --data {data} --methods joint,ogm-ge,agm`.")
    if tau > GAP:
        flat = f"`msam compare --data {data} --methods joint,sam,msam,msam-encoder`"
        steps.append(f"tau is {tau:.2f}: look for flatter minima, {flat}.")
    return steps or ["Nothing here asks for another method than joint training."]


def _modalities(
    joint: Sequence[Record], apart: Mapping[str, Sequence[Record]], looks: Mapping[Any, Look], gaps: Gaps
) -> Sheet:
    rows = []
    for name, runs in apart.items():
        gap = gaps[name]
        rows.append(
            {
                "modality": name,
                "n": len(joint),
                "contribution train": 100 * _mean(looks[run.folder].contributions[name] for run in joint),
                "contribution test": 100 * _mean(run.summary["contributions"][name] for run in joint),
                "alone in joint %": 100 * _mean(run.summary["coalitions"][name] for run in joint),
                "trained apart %": 100 * _mean(run.summary["test_accuracy"] for run in runs),
                "probe joint %": 100 * _mean(looks[run.folder].probes[name] for run in joint),
                "probe apart %": 100 * _mean(looks[run.folder].probes[name] for run in runs),
                "gap": 100 * gap.difference,
                "low": None if gap.low is None else 100 * gap.low,
                "high": None if gap.high is None else 100 * gap.high,
                "p (Holm)": gap.evidence,
            }
        )
    return Sheet("Each modality", rows, {"p (Holm)": 4}, _CAPTION)


_CAPTION = (
    "Contributions: Shapley values of the joint model's accuracy, in points. Alone in joint: test accuracy of the "
    "joint model with this modality alone. Trained apart: the same encoder with a head of its own. Probe: test "
    "accuracy of a ridge classifier on the frozen encoder; gap: apart minus joint, paired by seed, with 95 % bootstrap "
    "interval."
)


def _coalitions(joint: Sequence[Record]) -> Sheet:
    names = joint[0].summary["coalitions"]
    rows = [{"present": name, **_summed([run.summary["coalitions"][name] for run in joint])} for name in names]
    return Sheet("Accuracy of every coalition", rows)


def _summed(values: Sequence[float]) -> dict[str, float | int | None]:
    found = summarise(values)
    return {"n": found.n, "test %": 100 * found.mean, "SD": None if found.sd is None else 100 * found.sd}


def _mean(values: Any) -> float:
    return summarise(values).mean


STUDY = Study("diagnosis", "Is one modality dominating, and is another one under-used?", plan, conclude)

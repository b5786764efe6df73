"""Is a model imbalanced? Contributions, every coalition, and what each encoder would have learned apart.

Joint training, and each modality trained apart with the same encoders, budget and seeds. A modality is under-used if a
linear probe finds less in its encoder when it was trained jointly than when it was trained apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msam_bench.analysis.grouping import folds_of
from msam_bench.analysis.run_summary import RunSummary, score_of
from msam_bench.analysis.sentences.phrases import join_names
from msam_bench.analysis.statistics import Comparison, adjust, paired_difference, powerless, summarise
from msam_bench.config.run import MethodConfig, RunConfig, validated
from msam_bench.data import source
from msam_bench.reporting import figures as charts
from msam_bench.reporting.figures.modalities import coalitions, shares
from msam_bench.reporting.result import Result
from msam_bench.reporting.table import Table
from msam_bench.runs.record import RunRecord as Run
from msam_bench.studies.advice import advice
from msam_bench.studies.base import Request, Study
from msam_bench.studies.encoder_probe import EncoderProbe, inspect_run
from msam_bench.studies.imbalance import Gaps, lead, needed, starved, verdict

JOINT, APART = "joint", "unimodal"


def plan(request: Request) -> list[RunConfig]:
    """Joint training and each modality apart."""
    (data,) = request.data
    return request.runs(JOINT, *(f"{APART}:modality={name}" for name in _several(data, source(data).modalities)))


def like(record: Run, seeds: int) -> list[RunConfig]:
    """The plan for the method and settings of a run, from its seed on.

    Raises:
        ValueError: a run of one modality.
    """
    config = validated(record.config)
    if config.method.name == APART:
        raise ValueError(
            f"Expected a run of all modalities, found {record.label} in {record.folder}; name another run."
        )
    names = _several(config.data, record.data["modalities"])
    apart = [MethodConfig(name=APART, params={"modality": name}) for name in names]
    numbers = range(config.seed, config.seed + seeds)
    return [
        config.model_copy(update={"seed": n, "method": method}) for n in numbers for method in (config.method, *apart)
    ]


def conclude(records: Sequence[RunSummary]) -> Result:
    """The verdict, and what it rests on."""
    joint = [run for run in records if run.config["method"]["name"] != APART]
    probes = {run.folder: inspect_run(run) for run in records}
    modalities = tuple(joint[0].data["modalities"])
    apart = {name: _apart(records, name) for name in modalities}
    gaps, first = _gaps(joint, apart, probes), lead(joint)
    more = max((needed(family) for family in (gaps, first.behind) if powerless(family)), default=0)
    groups = {joint[0].label: joint}
    methods = charts.series_styles(groups)
    return Result(
        "diagnosis",
        STUDY.question,
        verdict(first, gaps, len(joint)),
        advice(joint, list(starved(gaps)), first.name if first.shown else None, more),
        [_modalities(joint, apart, probes, gaps), _coalitions(joint)],
        {"Contributions": shares(groups, modalities), "Coalitions": coalitions(groups, modalities)}
        | {
            "Training": [
                *charts.learning(groups, methods),
                *charts.gap(groups, methods),
            ]
        },
        ordered=True,
    )


def _several(data: str, modalities: Sequence[str]) -> Sequence[str]:
    """The modalities, if there are some to weigh against each other."""
    if len(modalities) < 2:
        raise ValueError(
            f"A diagnosis weighs modalities against each other, but {data} has {join_names(modalities)} alone."
        )
    return modalities


def _apart(records: Sequence[RunSummary], modality: str) -> list[RunSummary]:
    return [run for run in records if run.label == f"{APART}:modality={modality}"]


def _gaps(
    joint: Sequence[RunSummary], apart: Mapping[str, Sequence[RunSummary]], probes: Mapping[Any, EncoderProbe]
) -> dict[str, Comparison]:
    """Each modality's gap, one Holm family."""
    folds = folds_of({JOINT: joint})
    gaps = {
        name: paired_difference(
            {run.seed: probes[run.folder].probes[name] for run in runs},
            {run.seed: probes[run.folder].probes[name] for run in joint},
            blocks=folds,
        )
        for name, runs in apart.items()
    }
    return adjust(gaps)


def _modalities(
    joint: Sequence[RunSummary],
    apart: Mapping[str, Sequence[RunSummary]],
    probes: Mapping[Any, EncoderProbe],
    gaps: Gaps,
) -> Table:
    rows = []
    for name, runs in apart.items():
        gap = gaps[name]
        rows.append(
            {
                "modality": name,
                "n": len(joint),
                "contribution train": 100 * _mean(probes[run.folder].contributions[name] for run in joint),
                "contribution test": 100 * _mean(run.summary["contributions"][name] for run in joint),
                "alone in joint %": 100 * _mean(run.summary["coalitions"][name] for run in joint),
                "trained apart %": 100 * _mean(run.summary["test_accuracy"] for run in runs),
                "probe joint %": 100 * _mean(probes[run.folder].probes[name] for run in joint),
                "probe apart %": 100 * _mean(probes[run.folder].probes[name] for run in runs),
                "gap": 100 * gap.difference,
                "low": None if gap.low is None else 100 * gap.low,
                "high": None if gap.high is None else 100 * gap.high,
                "p (Holm)": gap.evidence,
            }
        )
    return Table("Each modality", rows, {"p (Holm)": 4}, _caption(score_of({JOINT: joint})))


def _caption(score: str) -> str:
    """How the columns came about."""
    return (
        f"Contributions: Shapley values of the joint model's {score}, in points. Alone in joint: test {score} of the "
        "joint model with this modality alone. Trained apart: the same encoder with a head of its own. Probe: test "
        f"{score} of a ridge regression on the frozen encoder; gap: apart minus joint, paired by seed, with 95 % "
        "bootstrap interval and sign-flip p, Holm over modalities."
    )


def _coalitions(joint: Sequence[RunSummary]) -> Table:
    """The test score of each coalition; of more than six modalities, the extreme ones."""
    names, score = joint[0].summary["coalitions"], score_of({JOINT: joint})
    rows = [{"present": name, **_summed([run.summary["coalitions"][name] for run in joint])} for name in names]
    which = "every coalition" if len(names) == 2 ** len(joint[0].data["modalities"]) - 1 else "the extreme coalitions"
    return Table(f"{score[0].upper()}{score[1:]} of {which}", rows)


def _summed(values: Sequence[float]) -> dict[str, float | int | None]:
    summary = summarise(values)
    return {"n": summary.n, "test %": 100 * summary.mean, "SD": None if summary.sd is None else 100 * summary.sd}


def _mean(values: Any) -> float:
    return summarise(values).mean


STUDY = Study("diagnosis", "Is one modality dominating, and is another one under-used?", plan, conclude)

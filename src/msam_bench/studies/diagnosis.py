"""Is a model imbalanced? Contributions, every coalition, and what each encoder would have learned apart.

Joint training, and each modality trained apart with the same encoders, budget and seeds. A modality is under-used if a
linear probe finds less in its encoder when it was trained jointly than when it was trained apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msam_bench.analysis.assessment import CHANCE, chance_scores, chosen_metric, kept_predictions, run_scores
from msam_bench.analysis.balance import Balance, BalanceState, weigh
from msam_bench.analysis.baselines import constant_outputs
from msam_bench.analysis.grouping import folds_of
from msam_bench.analysis.run_summary import RunSummary, score_of
from msam_bench.analysis.sentences.balance import balance_sentences
from msam_bench.analysis.sentences.phrases import join_names
from msam_bench.analysis.statistics import summarise
from msam_bench.config.run import MethodConfig, RunConfig, validated
from msam_bench.data import source
from msam_bench.metrics.sample_metrics import Metric
from msam_bench.metrics.uncertainty import Runs, RunScores
from msam_bench.reporting import figures as charts
from msam_bench.reporting.figures.modalities import coalitions, shares
from msam_bench.reporting.result import Result
from msam_bench.reporting.table import Table
from msam_bench.runs.inference import prior
from msam_bench.runs.record import RunRecord as Run
from msam_bench.studies.advice import advice
from msam_bench.studies.base import Request, Study
from msam_bench.studies.encoder_probe import EncoderProbe, inspect_run

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
    balance = _weighed(joint, apart, probes)
    groups = {joint[0].label: joint}
    methods = charts.series_styles(groups)
    return Result(
        "diagnosis",
        STUDY.question,
        " ".join(balance_sentences(balance)),
        _advice(joint, balance),
        [_modalities(joint, apart, probes, balance), _coalitions(joint)],
        {"Contributions": shares(groups, modalities), "Coalitions": coalitions(groups, modalities)}
        | {
            "Training": [
                *charts.learning(groups, methods),
                *charts.gap(groups, methods),
            ]
        },
        ordered=True,
    )


def _weighed(
    joint: Sequence[RunSummary], apart: Mapping[str, Sequence[RunSummary]], probes: Mapping[Any, EncoderProbe]
) -> Balance:
    """The decision, over seeds and test samples where runs kept predictions."""
    metric = chosen_metric(None, score_of({JOINT: joint}))
    return weigh(
        metric.measure,
        {run.seed: run_scores(run, metric) for run in joint},
        _chance(joint, metric),
        {name: {run.seed: _contribution(run, name) for run in joint} for name in apart},
        {name: {run.seed: run_scores(run, metric) for run in runs} for name, runs in apart.items()},
        {
            name: (
                {run.seed: probes[run.folder].probes[name] for run in runs},
                {run.seed: probes[run.folder].probes[name] for run in joint},
            )
            for name, runs in apart.items()
        },
        folds_of({JOINT: joint}),
        chance_name=CHANCE[metric.kind],
        model=joint[0].label,
    )


def _contribution(run: RunSummary, modality: str) -> RunScores:
    """The Shapley value of a modality, sample by sample where the run kept predictions."""
    predictions = kept_predictions(run.folder)
    if predictions is None:
        return RunScores(float(run.summary["contributions"][modality]))
    test = predictions.splits["test"]
    return RunScores.of(test.contributions[modality], test.samples, test.groups)


def _chance(joint: Sequence[RunSummary], metric: Metric) -> Runs:
    """The scores of knowing nothing; from the data where runs kept no predictions."""
    scores = dict(chance_scores({JOINT: joint}, metric))
    for run in joint:
        if run.seed not in scores:
            dataset = source(str(run.config["data"])).load(run.seed)
            test, classes = dataset.splits["test"], bool(dataset.classes)
            outputs = constant_outputs(prior(dataset).numpy(), len(test), classes=classes)
            scores[run.seed] = metric.run_scores(outputs, test.target.numpy(), test.ids.numpy())
    return scores


def _advice(joint: Sequence[RunSummary], balance: Balance) -> list[str]:
    """What to try: nothing on balance for a model that knows nothing."""
    if balance.state is BalanceState.NOTHING:
        config = validated(dict(joint[0].config))
        return [
            f"Train a model that is better than {balance.chance_name} first: tune its learning rate, "
            f"`msam sweep --data {config.data} --fusion {config.fusion} --methods {config.method.name}`, and check "
            "that targets and inputs belong together."
        ]
    more = ENOUGH if balance.state is BalanceState.UNTESTED else 0
    return advice(joint, [] if more else list(balance.starved), balance.leader if balance.leads else None, more)


ENOUGH = 12
"""Seeds with which a diagnosis is made."""


def _several(data: str, modalities: Sequence[str]) -> Sequence[str]:
    """The modalities, if there are some to weigh against each other."""
    if len(modalities) < 2:
        raise ValueError(
            f"A diagnosis weighs modalities against each other, but {data} has {join_names(modalities)} alone."
        )
    return modalities


def _apart(records: Sequence[RunSummary], modality: str) -> list[RunSummary]:
    return [run for run in records if run.label == f"{APART}:modality={modality}"]


def _modalities(
    joint: Sequence[RunSummary],
    apart: Mapping[str, Sequence[RunSummary]],
    probes: Mapping[Any, EncoderProbe],
    balance: Balance,
) -> Table:
    rows = []
    for name, runs in apart.items():
        gap, share = balance.gaps[name], balance.contributions[name]
        low, high = (None, None) if gap.described else gap.interval
        rows.append(
            {
                "modality": name,
                "n": len(joint),
                "contribution train": 100 * _mean(probes[run.folder].contributions[name] for run in joint),
                "contribution test": 100 * _mean(run.summary["contributions"][name] for run in joint),
                "above chance": 100 * share.difference,
                "alone in joint %": 100 * _mean(run.summary["coalitions"][name] for run in joint),
                "trained apart %": 100 * _mean(run.summary["test_accuracy"] for run in runs),
                "probe joint %": 100 * _mean(probes[run.folder].probes[name].score for run in joint),
                "probe apart %": 100 * _mean(probes[run.folder].probes[name].score for run in runs),
                "gap": 100 * gap.difference,
                "low": None if low is None else 100 * low,
                "high": None if high is None else 100 * high,
                "p (adjusted)": None if gap.described else gap.adjusted,
            }
        )
    return Table("Each modality", rows, {"p (adjusted)": 4}, _caption(score_of({JOINT: joint})))


def _caption(score: str) -> str:
    """How the columns came about."""
    return (
        f"Contributions: Shapley values of the joint model's {score}, in points; above chance: less an equal share of "
        f"the {score} of knowing nothing. Alone in joint: test {score} of the "
        "joint model with this modality alone. Trained apart: the same encoder with a head of its own. Probe: test "
        f"{score} of a ridge regression on the frozen encoder; gap: apart minus joint, paired by seed, with "
        "simultaneous 95 % interval and p adjusted over modalities, over seeds and test samples where runs kept "
        "predictions."
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

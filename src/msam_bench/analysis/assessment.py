"""From finished runs to a verdict: scores sample by sample, baselines, the declared family, the best, what went wrong.

    assessment = assess(groups, "joint", diverged={"msam": (3,)})
    text(assessment.verdict)                 # msam_bench.analysis.sentences.verdict
    assessment.rows["late ensemble"]         # seed -> RunScores, a row like any other

One family is declared: every method against the reference. Baselines (each modality apart, their late ensemble) are a
second one, chance a third. Whatever else is compared is exploratory and has no words.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import fmean

from msam_bench.analysis.baselines import constant_outputs, ensemble
from msam_bench.analysis.contrasts import MARGIN, Contrast, family
from msam_bench.analysis.leader import Leader, leading
from msam_bench.analysis.run_summary import Groups, RunSummary, score_of
from msam_bench.analysis.stability import collapsed
from msam_bench.analysis.statistics import EXACT_UP_TO, Comparison, sign_flip_p
from msam_bench.analysis.verdict import ENSEMBLE, Baselines, Chance, Divergence, Verdict, alone
from msam_bench.config.resolve import label_of
from msam_bench.config.run import RunConfig
from msam_bench.metrics.sample_metrics import METRICS, Metric
from msam_bench.metrics.uncertainty import Estimate, Runs, RunScores, paired_estimate
from msam_bench.names import nearest
from msam_bench.runs.predictions import Predictions, read

Folds = Mapping[int, Hashable]


@dataclass(frozen=True)
class Rows:
    """The rows of a page, and how two of them compare.

    Args:
        scores: Row -> seed -> scores.
        margin: Smallest difference that matters.
        folds: Seed -> fold; None where seeds go round no folds.
    """

    scores: Mapping[str, Runs]
    margin: float = MARGIN
    folds: Folds | None = None

    def estimate(self, row: str, other: str) -> Estimate | None:
        """The mean of one row minus another; None where they share no seed."""
        first, second = self.scores[row], self.scores[other]
        return paired_estimate(first, second, self.folds) if first.keys() & second.keys() else None

    def comparison(self, row: str, reference: str, contrast: Contrast, sign: int = 1) -> Comparison:
        """A contrast as tables and figures show it; without interval and test where it is only described.

        Args:
            row: The row that is compared.
            reference: The other one.
            contrast: Row minus reference.
            sign: -1 where scores were negated, since lower is better.
        """
        first, second, estimate = self.scores[row], self.scores[reference], contrast.estimate
        differences = [first[seed].score - second[seed].score for seed in sorted(first.keys() & second.keys())]
        low, high = (None, None) if contrast.described else sorted(sign * end for end in contrast.interval)
        return Comparison(
            n=estimate.seeds,
            difference=sign * contrast.difference,
            low=low,
            high=high,
            p=sign_flip_p(differences),
            exact=estimate.seeds <= EXACT_UP_TO,
            seed=0,
            probability_of_improvement=estimate.wins / estimate.seeds,
            unpaired=len(first.keys() ^ second.keys()),
            adjusted=None if contrast.described else contrast.adjusted,
            family=contrast.size,
        )

    def family(self, rows: Iterable[str], reference: str) -> dict[str, Contrast]:
        """Rows against a reference, those that share a seed with it."""
        estimates = {name: self.estimate(name, reference) for name in rows if name != reference}
        return family({name: each for name, each in estimates.items() if each}, self.margin)


@dataclass(frozen=True)
class Assessment:
    """What runs show.

    Args:
        verdict: Everything that a page may state.
        rows: Every row, baselines and chance included.
        metric: What was measured.
    """

    verdict: Verdict
    rows: Rows
    metric: Metric


def assess(
    groups: Groups,
    reference: str,
    *,
    metric: str | None = None,
    margin: float = MARGIN,
    diverged: Mapping[str, Sequence[int]] | None = None,
    untuned: Sequence[str] = (),
    folds: Folds | None = None,
) -> Assessment:
    """Assesses the runs of one data set.

    Args:
        groups: Row -> its runs; see `by_row`.
        reference: The method that every other one is compared with.
        metric: One of `METRICS`; the score of the runs (accuracy, or R2) if None.
        margin: Smallest difference that matters, in the unit of the score.
        diverged: Method -> seeds of its runs that diverged, which score as chance where predictions tell what that is.
        untuned: Methods whose settings were not chosen for these data.
        folds: Seed -> fold, where seeds go round folds.

    Raises:
        ValueError: A metric that does not suit the runs, or runs without the predictions that it needs.
    """
    chosen = chosen_metric(metric, score_of(groups))
    lost = {name: seeds for name, seeds in (diverged or {}).items() if seeds}
    finished = {name: {run.seed: run_scores(run, chosen) for run in runs} for name, runs in groups.items()}
    nothing, together = chance_scores(groups, chosen), ensemble_scores(groups, chosen)
    scores = {name: _counted(finished.get(name, {}), lost.get(name, ()), nothing) for name in [*finished, *lost]}
    scores |= {ENSEMBLE: together} if together else {}
    chance_name = CHANCE[chosen.kind]
    rows = Rows({**scores, **({chance_name: nothing} if nothing else {})}, margin, folds)
    apart = {modality: row for modality, row in apart_rows(groups).items() if row != reference}
    methods = rows.family((name for name in scores if name not in (*apart.values(), ENSEMBLE)), reference)
    verdict = Verdict(
        chosen.measure,
        reference,
        methods,
        baselines=_baselines(rows, apart, reference),
        chance=_chance(rows, scores, chance_name),
        collapses={name: collapsed({seed: run.score for seed, run in runs.items()}) for name, runs in finished.items()},
        divergences={name: _divergence(rows, name, seeds, nothing, reference) for name, seeds in lost.items()},
        untuned=tuple(untuned),
        unkept=tuple(name for name, runs in scores.items() if any(run.contributions is None for run in runs.values())),
        group=next((run.data.get("group") for runs in groups.values() for run in runs), None),
    )
    return Assessment(replace(verdict, leader=_leader(rows, verdict)), rows, chosen)


CHANCE = {"classes": "the majority class", "values": "the mean", "labels": "no label"}
"""Kind of target -> what is predicted by knowing nothing."""
RUNS_METRIC = {"accuracy": "accuracy", "R2": "r2"}
"""Score of a run, as its record names it -> the metric that it is."""


def chosen_metric(name: str | None, score: str) -> Metric:
    """The metric of that name, or that of the runs.

    Raises:
        ValueError: There is none of that name, or it is of other targets than the runs'.
    """
    usual = METRICS[RUNS_METRIC[score]]
    if name is None:
        return usual
    suited = [metric.name for metric in METRICS.values() if metric.kind == usual.kind]
    if name not in METRICS:
        raise ValueError(f"Unknown metric {name!r}: {nearest(name, suited)}.")
    if name not in suited:
        raise ValueError(f"The metric {name} is not one of {usual.kind}; name one of {', '.join(suited)}.")
    return METRICS[name]


def by_row(groups: Groups) -> Groups:
    """Groups by the names of their rows: "text alone" for runs that were trained on that modality alone."""
    return {_row_of(name, runs[0]): runs for name, runs in groups.items()}


def _row_of(name: str, run: RunSummary) -> str:
    modality = run.config["method"]["params"].get("modality")
    trained_apart = run.config["method"]["name"] == "unimodal" and name == run.label
    return alone(str(modality)) if trained_apart else name


def diverged_seeds(configs: Iterable[RunConfig]) -> dict[str, tuple[int, ...]]:
    """Row -> the seeds of its runs that diverged."""
    seeds: dict[str, tuple[int, ...]] = {}
    for config in configs:
        modality = config.method.params.get("modality") if config.method.name == "unimodal" else None
        row = label_of(config) if modality is None else alone(str(modality))
        seeds[row] = (*seeds.get(row, ()), config.seed)
    return seeds


def apart_rows(groups: Groups) -> dict[str, str]:
    """Modality -> its row, for those that were trained apart."""
    modalities = next(iter(groups.values()))[0].data["modalities"]
    return {name: alone(name) for name in modalities if alone(name) in groups}


@lru_cache(maxsize=4096)
def kept_predictions(folder: Path) -> Predictions | None:
    """The predictions of a finished run, read once."""
    return read(folder)


def run_scores(run: RunSummary, metric: Metric) -> RunScores:
    """The test scores of a run, sample by sample where it kept predictions.

    Raises:
        ValueError: It kept none, and the metric is not the score that its record holds.
    """
    predictions = kept_predictions(run.folder)
    if predictions:
        test = predictions.splits["test"]
        return metric.run_scores(test.outputs, test.targets, test.samples, test.groups)
    if metric.name not in RUNS_METRIC.values():
        raise ValueError(
            f"The metric {metric.name} needs the predictions of every run, but {run.folder.name} kept none; delete its "
            "folder and run the same command to train it again."
        )
    return RunScores(float(run.summary["test_accuracy"]))


def chance_scores(groups: Groups, metric: Metric) -> Runs:
    """Seed -> the scores of knowing nothing on the samples that runs of that seed were tested on."""
    scores: dict[int, RunScores] = {}
    for run in (run for runs in groups.values() for run in runs):
        predictions = kept_predictions(run.folder) if run.seed not in scores else None
        if predictions:
            test, classes = predictions.splits["test"], predictions.kind == "classes"
            outputs = constant_outputs(predictions.prior, len(test.samples), classes=classes)
            scores[run.seed] = metric.run_scores(outputs, test.targets, test.samples, test.groups)
    return scores


def ensemble_scores(groups: Groups, metric: Metric) -> Runs:
    """Seed -> the scores of the late ensemble of all modalities trained apart; empty where one is missing."""
    modalities = next(iter(groups.values()))[0].data["modalities"]
    runs = {name: {run.seed: run for run in groups.get(alone(name), ())} for name in modalities}
    seeds = set.intersection(*(set(by_seed) for by_seed in runs.values())) if len(runs) > 1 else set()
    scores = {}
    for seed in sorted(seeds):
        kept = {name: kept_predictions(by_seed[seed].folder) for name, by_seed in runs.items()}
        tests = {name: each.splits["test"] for name, each in kept.items() if each}
        if len(tests) == len(runs):
            first = next(iter(tests.values()))
            outputs = {name: test.outputs for name, test in tests.items()}
            together = ensemble(outputs, classes=metric.kind == "classes")
            scores[seed] = metric.run_scores(together, first.targets, first.samples, first.groups)
    return scores


def _counted(finished: Runs, lost: Sequence[int], chance: Runs) -> Runs:
    """The runs of a method, those that diverged as chance where it is known."""
    return {**finished, **{seed: chance[seed] for seed in lost if seed in chance}}


def _baselines(rows: Rows, apart: Mapping[str, str], reference: str) -> Baselines | None:
    together = [ENSEMBLE] if ENSEMBLE in rows.scores else []
    contrasts = rows.family([*apart.values(), *together], reference)
    by_modality = {name: contrasts[row] for name, row in apart.items() if row in contrasts}
    return Baselines(by_modality, contrasts.get(ENSEMBLE)) if by_modality else None


def _chance(rows: Rows, scores: Iterable[str], name: str) -> Chance | None:
    if name not in rows.scores:
        return None
    mean = fmean(run.score for run in rows.scores[name].values())
    return Chance(mean, rows.family(scores, name), name)


def _divergence(rows: Rows, name: str, seeds: Sequence[int], chance: Runs, reference: str) -> Divergence:
    """What became of the runs that diverged, and the comparison without them."""
    runs, counted = rows.scores[name], all(seed in chance for seed in seeds)
    rest = {seed: run for seed, run in runs.items() if seed not in seeds}
    without = Rows({**rows.scores, "": rest}, rows.margin, rows.folds).family([""], reference)
    return Divergence(tuple(seeds), len(rest) + len(seeds), without.get("") if name != reference else None, counted)


def _leader(rows: Rows, verdict: Verdict) -> Leader | None:
    """The leader of a page; each pair of rows is compared once."""
    pair = lru_cache(maxsize=None)(rows.estimate)
    return leading(verdict.reference, verdict.contrasts, pair) if verdict.contrasts else None

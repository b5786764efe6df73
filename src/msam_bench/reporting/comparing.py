"""From the records of finished runs to the table: each method against two references, paired by seed.

table = compare(records)                              # against "joint" and "sam"
table = compare(records, reference="sam", second="")  # against "sam" alone
print(table.verdict)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from msam_bench.analysis.assessment import Assessment, apart_rows, assess, by_row
from msam_bench.analysis.contrasts import MARGIN, Contrast
from msam_bench.analysis.grouping import folds_of, grouped
from msam_bench.analysis.run_summary import Groups, RunSummary, average
from msam_bench.analysis.sentences.comparison import caption
from msam_bench.analysis.sentences.runs import notes_on, settings_note, watched
from msam_bench.analysis.sentences.verdict import text
from msam_bench.analysis.statistics import Comparison, summarise
from msam_bench.reporting.comparison_table import ComparisonRow, ComparisonTable


@dataclass(frozen=True)
class Question:
    """What is asked of runs, beside who is compared.

    Args:
        metric: What is measured; the score of the runs if None.
        margin: Smallest difference that matters, in the unit of the score.
        diverged: Method -> seeds of its runs that diverged.
        untuned: Methods whose settings were not chosen for these data.
    """

    metric: str | None = None
    margin: float = MARGIN
    diverged: Mapping[str, Sequence[int]] = field(default_factory=dict)
    untuned: Sequence[str] = ()


def compare(
    records: Iterable[RunSummary],
    reference: str = "joint",
    second: str = "sam",
    notes: Sequence[str] = (),
    question: Question | None = None,
) -> ComparisonTable:
    """Compares methods over paired seeds.

    Args:
        records: Finished runs of one data set, one for each method and seed.
        reference: Label that every method is compared with; the first method where no run has it. Its row comes first,
            that of `second` next, the others in the order of the records, baselines last.
        second: Label of a second reference, left out where no run has it.
        notes: What else a reader must know, such as which methods could not be trained.
        question: What is asked of the runs.

    Raises:
        ValueError: If there is no run, runs are of different data, or a run is there twice or without its accuracy.
    """
    question = question or Question()
    groups = by_row(grouped(records, reference, second))
    first = next(iter(groups))
    other = second if second in groups and second != first else None
    folds = folds_of(groups)
    assessment = assess(
        groups,
        first,
        metric=question.metric,
        margin=question.margin,
        diverged=question.diverged,
        untuned=question.untuned,
        folds=folds,
    )
    verdict = assessment.verdict
    chance = {verdict.chance.name: verdict.chance.contrasts[first].reversed} if verdict.chance else {}
    to_first = _comparisons(assessment, {**verdict.contrasts, **chance}, first)
    to_other = _comparisons(assessment, _exploratory(assessment, other), other or "")
    modalities = tuple(next(iter(groups.values()))[0].data["modalities"])
    values = {name: {run.seed: float(run.summary["test_accuracy"]) for run in runs} for name, runs in groups.items()}
    rows = [_row(name, groups.get(name, ()), modalities, assessment) for name in _in_order(groups, assessment)]
    return ComparisonTable(
        rows=tuple(row.compared(to_first.get(row.method), to_other.get(row.method)) for row in rows),
        data=str(next(iter(groups.values()))[0].data["name"]),
        modalities=modalities,
        seeds=tuple(sorted({run.seed for runs in groups.values() for run in runs})),
        reference=first,
        second=other,
        measure=verdict.measure,
        verdict=text(verdict),
        caption=caption(verdict),
        notes=(
            *notes,
            *notes_on(groups, values, reference, first),
            *settings_note(methods_of(groups)),
            *watched(groups),
        ),
    )


def methods_of(groups: Groups) -> Groups:
    """The groups without those of one modality apart, which are baselines."""
    apart = apart_rows(groups).values()
    return {name: runs for name, runs in groups.items() if name not in apart} or groups


def _in_order(groups: Groups, assessment: Assessment) -> list[str]:
    """The rows of the table: methods, each modality apart, their ensemble, chance."""
    return list(dict.fromkeys([*methods_of(groups), *groups, *assessment.rows.scores]))


def _exploratory(assessment: Assessment, second: str | None) -> dict[str, Contrast]:
    """The methods against a second reference; these have no words in the verdict."""
    methods = (assessment.verdict.reference, *assessment.verdict.methods)
    return assessment.rows.family(methods, second) if second else {}


def _comparisons(assessment: Assessment, contrasts: Mapping[str, Contrast], reference: str) -> dict[str, Comparison]:
    sign = assessment.verdict.measure.sign
    return {name: assessment.rows.comparison(name, reference, each, sign) for name, each in contrasts.items()}


def _row(name: str, runs: Sequence[RunSummary], modalities: Sequence[str], assessment: Assessment) -> ComparisonRow:
    coalitions = [run.summary.get("coalitions", {}) for run in runs]
    sign, scores = assessment.verdict.measure.sign, assessment.rows.scores[name]
    return ComparisonRow(
        method=name,
        n=len(scores),
        accuracy=summarise(sign * run.score for run in scores.values()),
        to_reference=None,
        to_second=None,
        tau=_mean(runs, "tau"),
        alone={modality: average(scores.get(modality) for scores in coalitions) for modality in modalities},
        gradients=_mean(runs, "gradients"),
        forwards=_mean(runs, "forwards"),
        backwards=_mean(runs, "backwards"),
        encoder_passes=_mean(runs, "encoder_passes"),
        seconds=average(run.timing.get("seconds") for run in runs),
        train_accuracy=_mean(runs, "train_accuracy"),
        last_accuracy=_mean(runs, "last_test_accuracy"),
        epoch=_mean(runs, "epoch"),
        switching=_mean(runs, "switching"),
    )


def _mean(runs: Sequence[RunSummary], key: str) -> float | None:
    return average(run.summary.get(key) for run in runs)

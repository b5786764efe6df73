"""From the records of finished runs to the table: each method against two references, paired by seed.

table = compare(records)                              # against "joint" and "sam"
table = compare(records, reference="sam", second="")  # against "sam" alone
print(table.verdict)
"""

from collections.abc import Iterable, Sequence

from msam_bench.analysis.grouping import folds_of, grouped
from msam_bench.analysis.run_summary import RunSummary, average, score_of
from msam_bench.analysis.sentences.comparison import caption, overall_verdict
from msam_bench.analysis.sentences.runs import notes_on, settings_note, watched
from msam_bench.analysis.statistics import Comparison, against, summarise
from msam_bench.reporting.comparison_table import ComparisonRow, ComparisonTable


def compare(
    records: Iterable[RunSummary], reference: str = "joint", second: str = "sam", notes: Sequence[str] = ()
) -> ComparisonTable:
    """Compares methods over paired seeds.

    Args:
        records: Finished runs of one data set, one for each method and seed.
        reference: Label that every method is compared with; the first method where no run has it. Its row comes first,
            that of `second` next, the others in the order of the records.
        second: Label of a second reference, left out where no run has it.
        notes: What else a reader must know, such as which methods could not be trained.

    Raises:
        ValueError: If there is no run, runs are of different data, or a run is there twice or without its accuracy.
    """
    groups = grouped(records, reference, second)
    first = next(iter(groups))
    other = second if second in groups and second != first else None
    values = {name: {run.seed: float(run.summary["test_accuracy"]) for run in runs} for name, runs in groups.items()}
    folds = folds_of(groups)
    to_first = against(values, first, blocks=folds)
    to_other = against(values, other, blocks=folds) if other else {}
    comparisons = [*to_first.values(), *to_other.values()]
    modalities = tuple(next(iter(groups.values()))[0].data["modalities"])
    return ComparisonTable(
        rows=tuple(_row(name, groups[name], modalities, to_first.get(name), to_other.get(name)) for name in groups),
        data=str(next(iter(groups.values()))[0].data["name"]),
        modalities=modalities,
        seeds=tuple(sorted({seed for by_seed in values.values() for seed in by_seed})),
        reference=first,
        second=other,
        score=score_of(groups),
        verdict=overall_verdict(values, first, other, to_first, to_other),
        caption=caption(comparisons, bool(folds), score_of(groups)),
        notes=(*notes, *notes_on(groups, values, reference, first), *settings_note(groups), *watched(groups)),
    )


def _row(
    name: str,
    runs: Sequence[RunSummary],
    modalities: Sequence[str],
    to_reference: Comparison | None,
    to_second: Comparison | None,
) -> ComparisonRow:
    coalitions = [run.summary.get("coalitions", {}) for run in runs]
    return ComparisonRow(
        method=name,
        n=len(runs),
        accuracy=summarise(run.summary["test_accuracy"] for run in runs),
        to_reference=to_reference,
        to_second=to_second,
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

"""All methods under late and under early fusion: accuracy, each modality alone, tau over epochs."""

from __future__ import annotations

from collections.abc import Sequence

from msam_bench.analysis.run_summary import RunSummary
from msam_bench.analysis.sentences.phrases import format_p
from msam_bench.config.run import RunConfig
from msam_bench.reporting import figures as charts
from msam_bench.reporting.figures import Figure
from msam_bench.reporting.figures.modalities import shares
from msam_bench.reporting.result import Result
from msam_bench.reporting.table import Table
from msam_bench.studies.base import Request, Study
from msam_bench.studies.tables import Compared, compared

FUSIONS = ("late", "early")
REFERENCE = "joint"


def plan(request: Request) -> list[RunConfig]:
    """Every method under both fusions; a method that refuses early fusion is left out there."""
    (data,) = request.data
    chosen = {fusion: request.fitting(data, fusion) for fusion in FUSIONS}
    return [request.run(data, m, seed, fusion) for fusion in FUSIONS for seed in request.seeds for m in chosen[fusion]]


def conclude(records: Sequence[RunSummary]) -> Result:
    """Each fusion against joint training."""
    parts = {
        fusion: compared(runs, REFERENCE)
        for fusion in FUSIONS
        if (runs := [run for run in records if run.config["fusion"] == fusion])
    }
    figures: dict[str, list[Figure]] = {}
    for fusion, part in parts.items():
        figures[f"{fusion.title()} fusion: differences"] = part.figures
        methods = charts.series_styles(part.groups, reference=part.reference)
        modalities = list(next(iter(part.groups.values()))[0].data["modalities"])
        figures[f"{fusion.title()} fusion: overfitting gap"] = charts.gap(part.groups, methods)
        figures[f"{fusion.title()} fusion: what each modality contributes"] = shares(part.groups, modalities)
    return Result(
        "fusion",
        STUDY.question,
        " ".join(f"{fusion.title()} fusion: {part.verdict}" for fusion, part in parts.items()),
        [_between(parts)] if len(parts) > 1 else [],
        [_table(fusion, part) for fusion, part in parts.items()],
        figures,
    )


def _table(fusion: str, part: Compared) -> Table:
    return part.table(f"{fusion.title()} fusion")


def _between(parts: dict[str, Compared]) -> str:
    """How methods' ranks under one fusion go with those under the other."""
    from scipy.stats import kendalltau

    late, early = (parts[fusion].means for fusion in FUSIONS)
    both = [name for name in late if name in early]
    if len(both) < 3:
        return f"{len(both)} methods ran under both fusions."
    order = kendalltau([late[name] for name in both], [early[name] for name in both])
    return (
        f"{len(both)} methods ran under both fusions; Kendall's tau of their mean accuracies is {order.statistic:+.2f} "
        f"(p {format_p(order.pvalue)})."
    )


STUDY = Study(
    "fusion",
    "What does each method do under late and under early fusion?",
    plan,
    conclude,
    methods="joint,sam,gnp,msam,msam-encoder",
)

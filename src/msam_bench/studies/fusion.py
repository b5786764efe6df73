"""All methods under late and under early fusion: accuracy, each modality alone, tau over epochs."""

from __future__ import annotations

from collections.abc import Sequence

from msam_bench.analysis.statistics import p_text
from msam_bench.config.run import RunConfig
from msam_bench.reporting import figures as charts
from msam_bench.reporting.figures import Figure
from msam_bench.reporting.figures.modalities import shares
from msam_bench.reporting.result import Result, Sheet
from msam_bench.reporting.run_summary import Record
from msam_bench.studies.base import Ask, Study
from msam_bench.studies.tables import Compared, compared

FUSIONS = ("late", "early")
REFERENCE = "joint"


def plan(ask: Ask) -> list[RunConfig]:
    """Every method under both fusions; a method that refuses early fusion is left out there."""
    (data,) = ask.data
    chosen = {fusion: ask.fitting(data, fusion) for fusion in FUSIONS}
    return [ask.run(data, m, seed, fusion) for fusion in FUSIONS for seed in ask.seeds for m in chosen[fusion]]


def conclude(records: Sequence[Record]) -> Result:
    """Each fusion against joint training."""
    parts = {
        fusion: compared(own, REFERENCE)
        for fusion in FUSIONS
        if (own := [run for run in records if run.config["fusion"] == fusion])
    }
    figures: dict[str, list[Figure]] = {}
    for fusion, found in parts.items():
        figures[f"{fusion.title()} fusion: differences"] = found.figures
        methods = charts.looks(found.groups, ink=found.reference)
        modalities = list(next(iter(found.groups.values()))[0].data["modalities"])
        figures[f"{fusion.title()} fusion: overfitting gap"] = charts.gap(found.groups, methods)
        figures[f"{fusion.title()} fusion: what each modality contributes"] = shares(found.groups, modalities)
    return Result(
        "fusion",
        STUDY.question,
        " ".join(f"{fusion.title()} fusion: {found.verdict}" for fusion, found in parts.items()),
        [_between(parts)] if len(parts) > 1 else [],
        [_sheet(fusion, found) for fusion, found in parts.items()],
        figures,
    )


def _sheet(fusion: str, found: Compared) -> Sheet:
    return found.sheet(f"{fusion.title()} fusion")


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
        f"(p {p_text(order.pvalue)})."
    )


STUDY = Study(
    "fusion",
    "What does each method do under late and under early fusion?",
    plan,
    conclude,
    methods="joint,sam,gnp,msam,msam-encoder",
)

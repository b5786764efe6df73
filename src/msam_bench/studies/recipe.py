"""Does sharpness by modality pay on top of the losses that balance modalities? The recipe, its parents, its controls.

What is asked, tested and concluded was written down before the runs: docs/studies-recipe.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from msam_bench.analysis.run_summary import RunSummary
from msam_bench.analysis.sentences.phrases import join_names
from msam_bench.analysis.statistics import Comparison, holm, paired_difference
from msam_bench.config.run import RunConfig
from msam_bench.reporting.result import Result
from msam_bench.reporting.table import Table
from msam_bench.studies.base import Request, Study
from msam_bench.studies.tables import compared

BASE = "mbsd"
RECIPE = f"msam:scope=modalities:radius=gap:of={BASE}:of_part=fused"
"""A ball a modality on the fused loss, radius by its generalisation gap; unimodal losses and penalty at theta."""

RIVALS = ("sam", BASE)
"""What the recipe has to beat: the best of both of its parents."""

PARENTS = ("joint", "auxiliary", BASE, "sam", "msam", "msam-encoder", f"sam:of={BASE}", "sam:of=auxiliary")
FORMS = (
    RECIPE,
    f"msam:scope=modalities:radius=equal:of={BASE}:of_part=fused",
    f"msam:scope=modalities:radius=shapley:of={BASE}:of_part=fused",
    f"msam:scope=modalities:radius=gap:of={BASE}",
    f"msam:scope=encoder:dominant=overfit:weight=1:of={BASE}",
)
CONTROLS = (
    f"msam-shuffled-radii:of={BASE}:of_part=fused",
    f"msam:scope=encoder:dominant=random:weight=1:of={BASE}",
    f"msam:scope=encoder:dominant=dynamic:weight=1:of={BASE}",
    f"feature-dropout:of={BASE}",
    f"feature-dropout-all:of={BASE}",
)
LONGER = (2, 3)
"""The base with so many times the epochs: two steps of it cost about what one of the recipe does."""

ASCENTS = ("sam", "asam", "msam", "msam-encoder", "msam:scope=modalities", "msam:scope=modalities:radius=gap")
BASES = ("joint", "auxiliary", BASE, "lfm", "mmpareto", "g-blending", "dgl")
GRID = (*BASES, *(f"{ascent}:of={base}" for ascent in ASCENTS for base in BASES))
"""Every base with every ascent, for exploring; ask for it by `--methods grid`."""


def plan(request: Request) -> list[RunConfig]:
    """Every method on every data set and seed, and the base with more epochs."""
    named = [name for method in request.methods for name in (GRID if method == "grid" else (method,))]
    methods = named or [*PARENTS, *FORMS, *CONTROLS]
    runs = [request.run(data, method, seed) for data in request.data for method in methods for seed in request.seeds]
    if named:
        return runs
    bases = [request.run(data, BASE, seed) for data in request.data for seed in request.seeds]
    return runs + [base.model_copy(update={"epochs": factor * base.epochs}) for factor in LONGER for base in bases]


def conclude(records: Sequence[RunSummary]) -> Result:
    """The recipe against its rivals on every data set, one family; then a table a data set."""
    sets = list(dict.fromkeys(run.config["data"] for run in records))
    tests = family({name: scores([run for run in records if run.config["data"] == name]) for name in sets})
    tables = {name: compared([run for run in records if run.config["data"] == name], BASE) for name in sets}
    return Result(
        "recipe",
        STUDY.question,
        answer(tests, len(sets)),
        [f"{name}: {table.verdict}" for name, table in tables.items()],
        [
            Table("The recipe against each rival", _rows(tests), {"p (Holm)": 4}, _CAPTION),
            *(table.table(f"On {name}") for name, table in tables.items()),
        ],
        {f"On {name}": table.figures for name, table in tables.items()},
    )


_CAPTION = "Points of test accuracy over paired seeds; one Holm family over all data sets and rivals."

Scores = Mapping[str, Mapping[int, float]]
"""Method -> seed -> test accuracy."""

Pair = tuple[str, str]
"""Data set and rival."""


def scores(records: Sequence[RunSummary]) -> Scores:
    """Test accuracy of the recipe and its rivals, at the fewest epochs that each was trained for."""
    values: dict[str, dict[int, float]] = {}
    fewest = min(run.config["epochs"] for run in records)
    for run in records:
        role = _role(run.config["method"])
        if role and run.config["epochs"] == fewest:
            values.setdefault(role, {})[run.seed] = float(run.summary["test_accuracy"])
    return values


def family(values: Mapping[str, Scores]) -> dict[Pair, Comparison]:
    """The recipe's differences to each rival on each data set, adjusted together (Holm)."""
    tests = {
        (data, rival): paired_difference(own["recipe"], own[rival])
        for data, own in values.items()
        for rival in RIVALS
        if "recipe" in own and rival in own
    }
    adjusted = holm([test.p for test in tests.values()])
    return {
        pair: replace(test, adjusted=p, family=len(tests))
        for (pair, test), p in zip(tests.items(), adjusted, strict=True)
    }


def answer(tests: Mapping[Pair, Comparison], sets: int) -> str:
    """Whether the hypothesis holds, by the rule that was written down before."""
    if not tests:
        return f"The recipe ({RECIPE}) and its rivals {join_names(RIVALS)} were not all run; nothing is concluded."
    better = {data for data, _ in tests} - {data for (data, _), test in tests.items() if not _above(test)}
    worse = sorted({data for (data, _), test in tests.items() if test.differs and test.difference < 0})
    held = len(better) > sets / 2 and not worse
    where = join_names(sorted(better)) if better else "no data set"
    harm = f" It is worse than a rival on {join_names(worse)}." if worse else ""
    return (
        f"The hypothesis {'holds' if held else 'does not hold'}: the recipe beats both {join_names(RIVALS)} on {where} "
        f"of {sets}, at an adjusted p of at most 0.05.{harm}"
    )


def _above(test: Comparison) -> bool:
    return test.differs and test.difference > 0


def _role(method: Mapping[str, Any]) -> str | None:
    """`recipe` or the name of a rival."""
    params = method["params"]
    if method["name"] in RIVALS and "of" not in params:
        return str(method["name"])
    fixed = {"scope": "modalities", "radius": "gap", "of": BASE, "of_part": "fused"}
    return "recipe" if method["name"] == "msam" and fixed.items() <= params.items() else None


def _rows(tests: Mapping[Pair, Comparison]) -> list[dict[str, Any]]:
    return [
        {
            "data": data,
            "rival": rival,
            "n": test.n,
            "difference": 100 * test.difference,
            "low": None if test.low is None else 100 * test.low,
            "high": None if test.high is None else 100 * test.high,
            "p (Holm)": test.evidence,
            "seeds won": test.probability_of_improvement,
        }
        for (data, rival), test in tests.items()
    ] or [{"data": "none", "rival": "", "n": 0}]


STUDY = Study(
    "recipe",
    "Does sharpness by modality pay on top of the losses that balance modalities?",
    plan,
    conclude,
    data="omniglot,leaves,digits6,av-digits-small",
)

"""Does it matter which modality is taken as dominant, and that the weight follows the batch?

Two families. Where the identity enters (encoder scope): the dynamic choice against each fixed modality, a random one
and the weakest. Where only the number v_d enters (loss scope): the dynamic weight against its running mean, the same
weights shuffled in time, and the gradient's share.
"""

from __future__ import annotations

from collections.abc import Sequence

from msam_bench.analysis.run_summary import RunSummary
from msam_bench.config.resolve import tuned
from msam_bench.config.run import RunConfig
from msam_bench.data import source
from msam_bench.reporting.result import Result
from msam_bench.studies.base import Request, Study
from msam_bench.studies.tables import Compared, compared

IDENTITY, WEIGHT = "msam-encoder", "msam"
_CONTROLS = ("msam-mean-share", "msam-shuffled-share", "msam-gradient-share")


def plan(request: Request) -> list[RunConfig]:
    """Both families, and joint training and SAM as references."""
    (data,) = request.data
    chosen = [*source(data).modalities, "random", "weakest"]
    identity = [IDENTITY, *(f"{IDENTITY}:dominant={name}" for name in chosen)]
    return request.runs("joint", "sam", *identity, WEIGHT, *(_like_msam(name, data, request) for name in _CONTROLS))


def _like_msam(control: str, data: str, request: Request) -> str:
    """A control with the arguments that validation chose for M-SAM."""
    chosen = tuned(data, request.fusion, WEIGHT, request.settings.get("tuned"))
    return ":".join([control, *(f"{key}={value}" for key, value in chosen.items())])


def conclude(records: Sequence[RunSummary]) -> Result:
    """Both families, each against its dynamic member."""
    identity = compared([run for run in records if run.label.startswith(IDENTITY)], IDENTITY)
    weight = compared([run for run in records if run.label.split(":")[0] in (WEIGHT, *_CONTROLS)], WEIGHT)
    overall = compared(records, "joint")
    more = {"switching": "switching"}
    return Result(
        "dominance",
        STUDY.question,
        f"{_summarise('which modality is perturbed', identity)} {_summarise('when the weight is large', weight)}",
        [identity.verdict, weight.verdict, overall.verdict],
        [
            identity.table("Which modality: encoder scope", **more),
            weight.table("Which weight: loss scope", **more),
            overall.table("All conditions"),
        ],
        {"Which modality": identity.figures, "Which weight": weight.figures, "All conditions": overall.figures},
    )


def _summarise(what: str, family: Compared) -> str:
    """One sentence on a family."""
    differing = [name for name, c in family.comparisons.items() if c.differs]
    if not differing:
        return f"No evidence that it matters {what}."
    worse = [name for name in differing if family.comparisons[name].difference < 0]
    sides = f"{len(worse)} of {len(family.comparisons)} controls are worse than {family.reference}"
    better = len(differing) - len(worse)
    return f"It matters {what}: {sides}, {better} better."


STUDY = Study(
    "dominance", "Does it matter which modality is dominant, and that the weight follows the batch?", plan, conclude
)

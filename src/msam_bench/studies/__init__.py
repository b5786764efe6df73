"""The named studies: a question each, a declarative list of runs, measurements, tables, figures, and an answer.

    for study in studies().values():
        study.name, study.question

A new study is one file with a `STUDY`, and a line here.
"""

from __future__ import annotations

from msam_bench.names import nearest
from msam_bench.studies.base import Bench, Request, Study

__all__ = ["Bench", "Request", "Study", "studies", "study"]


def studies() -> dict[str, Study]:
    """Every study by its name."""
    from msam_bench.studies import (
        convergence,
        diagnosis,
        dominance,
        flatness,
        fusion,
        normalization,
        overhead,
        rho,
        scaling,
        transfer,
    )

    modules = (
        fusion, dominance, rho, normalization, scaling, convergence, transfer, flatness, overhead, diagnosis,
    )  # fmt: skip
    return {module.STUDY.name: module.STUDY for module in modules}


def study(name: str) -> Study:
    """The study of that name.

    Raises:
        ValueError: there is none; the message has the nearest name.
    """
    known = studies()
    if name not in known:
        raise ValueError(f"Unknown study {name!r}: {nearest(name, list(known))}.")
    return known[name]

"""The named studies: a question each, a declarative list of runs, measurements, tables, figures, and an answer.

    for study in studies().values():
        study.name, study.question

A new study is one file with a `STUDY`, and its name here.
"""

from __future__ import annotations

from importlib import import_module

from msam_bench.names import nearest
from msam_bench.studies.base import Bench, Request, Study

__all__ = ["Bench", "Request", "Study", "studies", "study"]

NAMES = (
    "fusion", "dominance", "rho", "normalization", "scaling", "convergence", "transfer", "recipe",
    "flatness", "overhead", "diagnosis",
)  # fmt: skip


def studies() -> dict[str, Study]:
    """Every study by its name."""
    return {name: study(name) for name in NAMES}


def study(name: str) -> Study:
    """The study of that name.

    Raises:
        ValueError: there is none; the message has the nearest name.
    """
    if name not in NAMES:
        raise ValueError(f"Unknown study {name!r}: {nearest(name, list(NAMES))}.")
    module = import_module(f"msam_bench.studies.{name}")
    assert isinstance(module.STUDY, Study)
    return module.STUDY

"""The bench: data, runs, comparisons and reports for the methods of `msam`, behind the command `msam`.

    msam compare                 # train the methods on the embedded data, print the table, write the report
    python -m msam_bench compare

`Experiment` is its Python face, for a model, data and loaders of one's own.

    from msam_bench import Experiment
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msam_bench.experiment.experiment import Experiment as Experiment

__all__ = ["Experiment"]


def __getattr__(name: str) -> object:
    """`Experiment`, imported when it is first asked for: the command starts without it."""
    if name == "Experiment":
        return import_module("msam_bench.experiment.experiment").Experiment
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Which methods are compared: those that are named, and for `all` every one that suits the data and the fusion.

    choice = choose("all,sam:rho=0.3", suits)
    choice.methods           # ("joint", "sam", ..., "ogm-pairwise", ..., "sam:rho=0.3")
    choice.notes             # ("ogm-pairwise stands for ogm: OGM compares two modalities, found 6.", ...)

`all` is every method of the catalogue but its controls. A method that is defined for two modalities is replaced by its
extension where there are more, under the extension's own name; the methods that remain unfit are left out, and said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msam_bench.registry import methods
from msam_bench.registry import rivals as rival_names

if TYPE_CHECKING:
    from msam_bench.config.run import RunConfig
    from msam_bench.data import Dataset

ALL = "all"
_SAMPLES = 8


@dataclass(frozen=True)
class Choice:
    """The methods of a comparison.

    Args:
        methods: as one writes them, each once, in the order in which they were named.
        notes: a sentence for each method of `all` that another stands for or that is left out.
    """

    methods: tuple[str, ...]
    notes: tuple[str, ...] = ()


def choose(text: str, refusal: Callable[[str], str | None]) -> Choice:
    """The methods of a list such as `all,sam:rho=0.3`.

    Args:
        text: methods, separated by commas.
        refusal: method -> why it cannot be trained here, None if it can; asked for those of `all` only.
    """
    named = [name.strip() for name in text.split(",") if name.strip()]
    rivals, notes = _rivals(refusal) if ALL in named else ([], ())
    return Choice(tuple(dict.fromkeys(each for name in named for each in (rivals if name == ALL else [name]))), notes)


def refusal(config: RunConfig, dataset: Dataset) -> str | None:
    """Why a run's method cannot be trained on its data with its fusion, in a sentence; None if a few samples could."""
    from msam_bench.registry import build
    from msam_bench.runs.restore import model_of
    from msam_bench.training.metrics import scoring

    score = scoring(dataset)
    try:
        method = build(config.method, config.widths(dataset.modalities), dataset.outputs, score.value)
        method.on(model_of(config, dataset), score.criterion)(*dataset.splits["train"].take(slice(_SAMPLES)))
    except ValueError as error:
        return str(error)
    return None


def _rivals(refusal: Callable[[str], str | None]) -> tuple[list[str], tuple[str, ...]]:
    """The methods of `all` that can be trained, and what is to be said of the others."""
    fit, notes = [], []
    for name in rival_names():
        reason, other = refusal(name), methods()[name].extension
        if reason is None:
            fit.append(name)
        elif other and refusal(other) is None:
            fit.append(other)
            notes.append(f"{other} stands for {name}: {_briefly(reason)}")
        else:
            notes.append(f"{name} is left out: {_briefly(reason)}")
    return fit, tuple(notes)


def _briefly(reason: str) -> str:
    """The first half of a refusal: what does not fit, without the methods that would."""
    return reason.partition("; ")[0].rstrip(".") + "."

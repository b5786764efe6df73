"""What a user states about data of their own; whatever is left open is inferred, and the inference is printed.

ImportOptions(label=("emotion",), kinds={"text": "sequence"}, seconds=2.0, missing="mean")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Task = Literal["classes", "values"]
Missing = Literal["refuse", "mean", "drop"]
DecimalSign = Literal["point", "comma"]

NONE = "none"
"""The value of `split`, `group` and `id` that says there is no such column."""


@dataclass(frozen=True)
class ImportOptions:
    """Answers to what would be inferred.

    Args:
        label: Column of the class, or columns of the values to regress.
        task: Whether labels are classes or values.
        split: Column that says who trains, validates and tests; "none" leaves it to the seed.
        group: Column whose groups stay on one side of the split; "none" if there is none.
        id: Column with the samples' names, on which several files are joined; "none" if there is none.
        leave_out: Columns that are no modality.
        modalities: `name=pattern[,pattern ...]` each: which columns make a modality; then no other column does.
        kinds: Modality -> one of `msam_bench.data.modality.KINDS`.
        encoders: Modality -> the name of its encoder.
        missing: What becomes of missing values: refused; the mean of the training split, and absent where the whole
            modality is missing; or the sample is dropped.
        na: Further cells that mean a missing value, such as -999.
        decimal: The decimal sign of numbers in texts.
        least: Classes of fewer samples are dropped; None refuses those of fewer than three.
        size: Pixels of a side of pictures.
        seconds: Length of sounds.
        words: Length of texts.
        licence: Licence of the data.
        citation: What to cite.
    """

    label: tuple[str, ...] = ()
    task: Task | None = None
    split: str | None = None
    group: str | None = None
    id: str | None = None
    leave_out: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    encoders: Mapping[str, str] = field(default_factory=dict)
    missing: Missing = "refuse"
    na: tuple[str, ...] = ()
    decimal: DecimalSign | None = None
    least: int | None = None
    size: int | None = None
    seconds: float | None = None
    words: int | None = None
    licence: str = "not stated"
    citation: str = "not stated"


class Note(NamedTuple):
    """An inference: of what, which, and the option that overrides it."""

    subject: str
    text: str
    option: str

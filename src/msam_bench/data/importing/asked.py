"""What a user says of data of their own; whatever is left open is guessed, and the guess is said.

Asked(label=("emotion",), kinds={"text": "sequence"}, seconds=2.0)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Task = Literal["classes", "values"]


@dataclass(frozen=True)
class Asked:
    """Answers to what would be guessed.

    Args:
        label: The column of the class, or the columns of the values to regress.
        task: Whether labels are classes or values.
        split: The column that says who trains, validates and tests; "none" leaves it to the seed.
        group: The column whose groups stay on one side of the split; "none" if there is none.
        id: The column with the samples' names.
        leave_out: Columns that are no modality.
        kinds: Modality -> one of `msam_bench.data.modality.KINDS`.
        encoders: Modality -> the name of its encoder.
        size: Pixels of a side of pictures.
        seconds: Length of sounds.
        words: Length of texts.
        licence: Of the data.
        citation: What to cite.
    """

    label: tuple[str, ...] = ()
    task: Task | None = None
    split: str | None = None
    group: str | None = None
    id: str | None = None
    leave_out: tuple[str, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    encoders: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    seconds: float | None = None
    words: int | None = None
    licence: str = "not stated"
    citation: str = "not stated"

"""Texts as ids of words, without a vocabulary: the id is a hash of the word, so no split has to be read to know it.

ids("The cat, the hat", 5)           # int16 [5]: the, cat, the, hat, and 0 for nothing
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

from msam_bench.data.importing.column import Column, Gap
from msam_bench.data.importing.numbers import is_missing
from msam_bench.data.modality import Modality

VOCABULARY = 8192
"""Ids are below this. Of a thousand different words, about one in nine shares its id with another."""

LONGEST = 64
"""Texts are cut after this many words unless the user says otherwise."""


def words(text: str) -> list[str]:
    """Runs of letters and digits, in lower case."""
    return re.findall(r"\w+", text.lower())


def ids(text: str, length: int) -> Tensor:
    """The ids of the first words, then zeros, int16 `[length]`."""
    numbers = [1 + crc32(word.encode()) % (VOCABULARY - 1) for word in words(text)[:length]]
    return torch.tensor(numbers + [0] * (length - len(numbers)), dtype=torch.int16)


def length_for(texts: Sequence[str]) -> int:
    """The words of the longest text, up to `LONGEST`."""
    return max(1, min(LONGEST, max(len(words(text)) for text in texts)))


def build_texts(name: str, column: str, cells: Sequence[Any], length: int | None) -> Column:
    """A column of texts as a modality; a text without a word is missing.

    Args:
        name: Of the modality.
        column: Where it stands.
        cells: The texts.
        length: Words to take; as many as the longest has if None.
    """
    texts = ["" if is_missing(cell) else str(cell) for cell in cells]
    taken = length or length_for(texts)
    absent = {
        row: Gap(f"a text in column '{column}'", f"'{cells[row]}'" if cells[row] else "an empty cell")
        for row, text in enumerate(texts)
        if not words(text)
    }
    spec = Modality("tokens", dtype="int16", vocabulary=VOCABULARY)
    description = f"the first {taken} words of each text, hashed to {VOCABULARY} ids"
    recipe = {"words": taken, "hash": "crc32"}
    return Column(name, spec, lambda row: ids(texts[row], taken), description, "--words", recipe, absent)

"""Texts as ids of words, without a vocabulary: the id is a hash of the word, so no split has to be read to know it.

ids("The cat, the hat", 5)           # int16 [5]: the, cat, the, hat, and 0 for nothing
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from zlib import crc32

import torch
from torch import Tensor

VOCABULARY = 8192
"""Ids are below this. Of a thousand different words, about one in nine shares its id with another."""

LONGEST = 64
"""Texts are cut after this many words unless the user says otherwise."""


def words(text: str) -> list[str]:
    """Runs of letters and digits, in lower case."""
    return re.findall(r"\w+", text.lower())


def ids(text: str, length: int) -> Tensor:
    """The ids of the first words, then zeros, int16 `[length]`."""
    found = [1 + crc32(word.encode()) % (VOCABULARY - 1) for word in words(text)[:length]]
    return torch.tensor(found + [0] * (length - len(found)), dtype=torch.int16)


def length_for(texts: Sequence[str]) -> int:
    """The words of the longest text, up to `LONGEST`."""
    return max(1, min(LONGEST, max(len(words(text)) for text in texts)))

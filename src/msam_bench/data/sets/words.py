"""Sequences of words as a Transformer takes them: finite, padded behind, with a column that says what is a word.

padded(values, 50)                   # [words, features] -> float32 [50, features + 1]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def count_not_finite(words: Mapping[str, Any]) -> dict[str, int]:
    """Modality -> how many of its numbers are not finite."""
    import numpy as np

    return {name: int(np.size(values) - np.isfinite(values).sum()) for name, values in words.items()}


def padded(values: Any, length: int) -> Tensor:
    """Features of words `[words, features]` as `[length, features + 1]`.

    Numbers that are not finite become 0, the last column is 1 for a word and 0 for padding.
    """
    import numpy as np
    import torch

    finite = torch.from_numpy(np.nan_to_num(np.asarray(values, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0))
    result = torch.zeros(length, finite.shape[1] + 1)
    result[: len(finite), :-1] = finite
    result[: len(finite), -1] = 1.0
    return result

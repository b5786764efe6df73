"""Probabilities of classes, from logits.

log_probabilities(logits)        # [..., classes]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def log_probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithm of the softmax over the last axis `[..., classes]`."""
    shifted = logits - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))

"""What is simpler than fusion, from the predictions of runs: knowing nothing, and the late ensemble of modalities.

    ensemble({"audio": logits, "video": logits})          # log-probabilities added, [samples, classes]
    constant_outputs(prior, classes=7, samples=400)       # the majority class, or the mean, for every sample

Outputs go through the same measure as a run's, so that a baseline is a row like any other.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from msam_bench.metrics.probabilities import log_probabilities
from msam_bench.metrics.uncertainty import Floats


def ensemble(outputs: Mapping[str, Floats], *, classes: bool = True) -> Floats:
    """The late ensemble of models of one modality each: log-probabilities added, or values averaged.

    Args:
        outputs: Modality -> logits or values of the same samples, `[samples, outputs]`.
        classes: Whether these are logits of classes.

    Raises:
        ValueError: No modality, or outputs of different shapes.
    """
    shapes = {name: each.shape for name, each in outputs.items()}
    if len(set(shapes.values())) != 1:
        raise ValueError(f"An ensemble needs outputs of the same samples and classes, found the shapes {shapes}.")
    parts = [log_probabilities(each) if classes else each / len(outputs) for each in outputs.values()]
    return np.asarray(np.sum(parts, axis=0))


def constant_outputs(prior: Floats, samples: int, *, classes: bool = True) -> Floats:
    """The outputs of a model that knows nothing: the log-frequencies of the classes, or the mean, for each sample.

    Args:
        prior: Counts of the classes in the training split `[classes]`, or the mean of its values `[outputs]`.
        samples: Number of samples.
        classes: Whether these are counts of classes; one that never occurs counts half a sample.
    """
    row = np.log(np.maximum(prior, 0.5) / np.maximum(prior, 0.5).sum()) if classes else prior
    return np.tile(row, (samples, 1))

"""Metrics of classes, values and labels, each as what every test sample adds to it.

    metric = METRICS["macro-f1"]
    parts = metric.parts(logits, targets)                 # [samples], of which the mean is macro-F1
    metric.run_scores(logits, targets, samples)           # RunScores, higher is better, for `paired_estimate`

A mean over samples (accuracy, log-likelihood) has parts of its own. For every other metric M the parts are its value
plus its influence function, `part_i = M + n dM/dw_i` at sample weights of 1: their mean is M exactly, since no metric
changes when all weights are scaled, and the variance of their mean is the infinitesimal jackknife's (Jaeckel 1972). So
one test, over seeds and samples, serves all metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from msam_bench.metrics.measure import Measure
from msam_bench.metrics.probabilities import log_probabilities
from msam_bench.metrics.uncertainty import Floats, Integers, RunScores

Kind = Literal["classes", "values", "labels"]
"""Targets: a class index `[samples]`, values `[samples, outputs]`, or 0 and 1 for each label `[samples, labels]`."""
Truths = NDArray[np.bool_]
Targets = NDArray[Any]
BINS = 15
"""Bins of equal width of the expected calibration error (Guo et al., arXiv 1706.04599)."""


@dataclass(frozen=True)
class Metric:
    """One metric.

    Args:
        name: As `--metric` takes it.
        title: As tables write it.
        kind: What targets it is of.
        parts: (outputs `[samples, outputs]`, targets) -> what each sample adds, `[samples]`.
        scale: Factor to the unit of tables.
        unit: Unit of a difference in tables.
        lower: Whether lower is better.
    """

    name: str
    title: str
    kind: Kind
    parts: Callable[[Floats, Targets], Floats]
    scale: float = 100.0
    unit: str = "points"
    lower: bool = False

    @property
    def measure(self) -> Measure:
        """How its scores are written."""
        return Measure(self.title, self.scale, self.unit, -1 if self.lower else 1)

    def value(self, outputs: Floats, targets: Targets) -> float:
        """The metric of all samples."""
        return float(self.parts(outputs, targets).mean())

    def run_scores(
        self, outputs: Floats, targets: Targets, samples: Integers, groups: Integers | None = None
    ) -> RunScores:
        """What a run reached, negated where lower is better."""
        sign = -1.0 if self.lower else 1.0
        return RunScores.of(sign * self.parts(outputs, targets), samples, groups)


# ---- classes ---------------------------------------------------------------------------------------------------------


def hits(outputs: Floats, targets: Targets) -> Floats:
    """Whether each sample's class is the largest output."""
    return np.asarray(outputs.argmax(-1) == targets, np.float64)


def balanced_hits(outputs: Floats, targets: Targets) -> Floats:
    """Parts of the mean recall of the classes that occur: every class counts alike."""
    present, index, counts = np.unique(targets, return_inverse=True, return_counts=True)
    right = hits(outputs, targets)
    recall = np.bincount(index, right) / counts
    return np.asarray(recall.mean() + len(targets) * (right - recall[index]) / (len(present) * counts[index]))


def macro_f1(outputs: Floats, targets: Targets) -> Floats:
    """Parts of the mean F1 of the classes that occur among targets or predictions."""
    classes = np.arange(outputs.shape[-1])
    return _f1(outputs.argmax(-1)[:, None] == classes, targets[:, None] == classes)


def log_loss(outputs: Floats, targets: Targets) -> Floats:
    """The negative log-probability of each sample's class."""
    return -np.take_along_axis(log_probabilities(outputs), targets.astype(np.int64)[:, None], -1)[:, 0]


def calibration_error(outputs: Floats, targets: Targets) -> Floats:
    """Parts of the expected calibration error: confidence minus accuracy, by bins of confidence."""
    confidence = np.exp(log_probabilities(outputs).max(-1))
    excess = confidence - hits(outputs, targets)
    index = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    return np.asarray(np.sign(np.bincount(index, excess, BINS))[index] * excess)


def auroc(outputs: Floats, targets: Targets) -> Floats:
    """Parts of the area under the ROC curve, one class against the rest, averaged over classes."""
    return _one_against_rest(_area, outputs, targets)


def average_precision(outputs: Floats, targets: Targets) -> Floats:
    """Parts of the average precision, one class against the rest, averaged over classes."""
    return _one_against_rest(_precision, outputs, targets)


def confusion(outputs: Floats, targets: Targets) -> Integers:
    """Number of samples by true class and predicted class, `[classes, classes]`."""
    classes = outputs.shape[-1]
    pairs = targets.astype(np.int64) * classes + outputs.argmax(-1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def per_class(outputs: Floats, targets: Targets) -> list[dict[str, float]]:
    """Of each class the number of its samples, its precision, recall and F1; 0 where one is not defined."""
    table = confusion(outputs, targets)
    right, true, predicted = table.diagonal(), table.sum(1), table.sum(0)
    parts = {"precision": right / np.maximum(predicted, 1), "recall": right / np.maximum(true, 1)}
    parts["f1"] = 2 * right / np.maximum(true + predicted, 1)
    return [
        {"samples": float(true[i]), **{name: float(each[i]) for name, each in parts.items()}} for i in range(len(true))
    ]


# ---- values ----------------------------------------------------------------------------------------------------------


def r2(outputs: Floats, targets: Targets) -> Floats:
    """Parts of R2, all outputs together: 1 minus squared error over squared distance from the mean of these targets."""
    true = _columns(targets)
    error = np.square(outputs - true).sum(-1)
    spread = np.square(true - true.mean(0)).sum(-1)
    variance = float(spread.mean()) or 1.0
    value = 1 - float(error.mean()) / variance
    return np.asarray(1 + ((1 - value) * (spread - spread.mean()) - error) / variance)


def absolute_error(outputs: Floats, targets: Targets) -> Floats:
    """The mean absolute error of each sample."""
    return np.asarray(np.abs(outputs - _columns(targets)).mean(-1))


def root_squared_error(outputs: Floats, targets: Targets) -> Floats:
    """Parts of the root of the mean squared error."""
    squared = np.square(outputs - _columns(targets)).mean(-1)
    root = float(np.sqrt(squared.mean()))
    return np.asarray((root**2 + squared) / (2 * root) if root else squared)


def pearson(outputs: Floats, targets: Targets) -> Floats:
    """Parts of Pearson's correlation, averaged over outputs; 0 where one side is constant."""
    return _by_column(_correlation, outputs, _columns(targets))


def spearman(outputs: Floats, targets: Targets) -> Floats:
    """Parts of Spearman's rank correlation, averaged over outputs; 0 where one side is constant."""
    return _by_column(_rank_correlation, outputs, _columns(targets))


# ---- several labels a sample -----------------------------------------------------------------------------------------


def label_log_loss(outputs: Floats, targets: Targets) -> Floats:
    """The mean binary cross-entropy of the labels of each sample, from logits."""
    return np.asarray((np.logaddexp(0, outputs) - targets * outputs).mean(-1))


def label_macro_f1(outputs: Floats, targets: Targets) -> Floats:
    """Parts of the mean F1 of labels; a label is predicted where its logit is positive."""
    return _f1(outputs > 0, targets > 0.5)


def label_micro_f1(outputs: Floats, targets: Targets) -> Floats:
    """Parts of the F1 of all labels of all samples together."""
    predicted, true = outputs > 0, targets > 0.5
    right, total = (predicted & true).sum(-1), predicted.sum(-1) + true.sum(-1)
    if not total.any():
        return np.zeros(len(total))
    value = float(2 * right.sum() / total.sum())
    return np.asarray(value + len(total) * (2 * right - value * total) / total.sum())


def mean_average_precision(outputs: Floats, targets: Targets) -> Floats:
    """Parts of the average precision of labels, averaged over those that occur."""
    return _over_labels(_precision, outputs, targets > 0.5)


def label_auroc(outputs: Floats, targets: Targets) -> Floats:
    """Parts of the area under the ROC curve, averaged over labels."""
    return _over_labels(_area, outputs, targets > 0.5)


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "accuracy", "classes", hits),
        Metric("balanced-accuracy", "balanced accuracy", "classes", balanced_hits),
        Metric("macro-f1", "macro-F1", "classes", macro_f1),
        Metric("auroc", "AUROC", "classes", auroc),
        Metric("average-precision", "average precision", "classes", average_precision),
        Metric("nll", "negative log-likelihood", "classes", log_loss, 1.0, "nats", lower=True),
        Metric("ece", "calibration error", "classes", calibration_error, lower=True),
        Metric("r2", "R2", "values", r2),
        Metric("mae", "absolute error", "values", absolute_error, 1.0, "units", lower=True),
        Metric("rmse", "root squared error", "values", root_squared_error, 1.0, "units", lower=True),
        Metric("pearson", "Pearson's correlation", "values", pearson),
        Metric("spearman", "Spearman's correlation", "values", spearman),
        Metric("label-map", "mean average precision", "labels", mean_average_precision),
        Metric("label-auroc", "AUROC of labels", "labels", label_auroc),
        Metric("label-micro-f1", "micro-F1", "labels", label_micro_f1),
        Metric("label-macro-f1", "macro-F1 of labels", "labels", label_macro_f1),
        Metric("label-bce", "binary cross-entropy", "labels", label_log_loss, 1.0, "nats", lower=True),
    )
}
"""Every metric by the name that `--metric` takes."""


# ---- parts of one class, label or output -----------------------------------------------------------------------------


def _area(score: Floats, positive: Truths) -> Floats:
    """Of the area under the ROC curve: the share of the other side that each sample is on the right side of."""
    above, below = np.sort(score[positive]), np.sort(score[~positive])
    placed = np.where(positive, _share_below(score, below), 1 - _share_below(score, above))
    area = float(placed[positive].mean())
    sizes = np.where(positive, len(above), len(below))
    return np.asarray(area + len(score) * (placed - area) / sizes)


def _share_below(score: Floats, ordered: Floats) -> Floats:
    """The share of sorted values below each score, ties counted as half."""
    places = np.searchsorted(ordered, score, "left") + np.searchsorted(ordered, score, "right")
    return places / (2.0 * len(ordered))


def _precision(score: Floats, positive: Truths) -> Floats:
    """Of the average precision `AP = mean over positives i of TP_i / N_i`, counts at scores of at least that of i."""
    true, every = np.sort(score[positive]), np.sort(score)
    count = len(every) - np.searchsorted(every, score, "left")
    precision = (len(true) - np.searchsorted(true, score, "left")) / count
    value = float(precision[positive].mean())
    order = np.argsort(score[positive], kind="stable")
    reached = np.searchsorted(true, score, "right")
    shares, weighted = (
        np.concatenate([[0.0], np.cumsum((each / count[positive])[order])])[reached]
        for each in (np.ones(len(true)), precision[positive])
    )
    change = positive * (precision - value + shares) - weighted
    return np.asarray(value + len(score) * change / len(true))


def _correlation(first: Floats, second: Floats) -> Floats:
    if not (first.std() and second.std()):
        return np.zeros(len(first))
    x, y = ((each - each.mean()) / each.std() for each in (first, second))
    value = float((x * y).mean())
    return np.asarray(x * y + value - value * (x**2 + y**2) / 2)


def _rank_correlation(first: Floats, second: Floats) -> Floats:
    """Of the correlation of mid-ranks: its own parts, and what each sample adds to the ranks of the others."""
    ranks = [_share_below(each, np.sort(each)) for each in (first, second)]
    if not (ranks[0].std() and ranks[1].std()):
        return np.zeros(len(first))
    standard = [(each - each.mean()) / each.std() for each in ranks]
    value = float((standard[0] * standard[1]).mean())
    parts = _correlation(*ranks)
    for first_rank, other, rank, raw in zip(standard, standard[::-1], ranks, (first, second), strict=True):
        slope = (other - value * first_rank) / (len(raw) * rank.std())
        parts = parts + _sum_above(slope, raw) - (slope * rank).sum()
    return parts


def _sum_above(values: Floats, key: Floats) -> Floats:
    """For each sample the sum of `values` of the samples whose key is larger, and half of those whose key is equal."""
    order = np.argsort(key, kind="stable")
    ordered, total = key[order], np.concatenate([[0.0], np.cumsum(values[order])])
    below, up_to = (total[np.searchsorted(ordered, key, side)] for side in ("left", "right"))
    return np.asarray(total[-1] - (below + up_to) / 2)


def _f1(predicted: Truths, true: Truths) -> Floats:
    """Of the mean F1 of the columns that occur, `2 TP / (predicted + true)`; a mean of 0 where none does."""
    total = predicted.sum(0) + true.sum(0)
    occurs = total > 0
    if not occurs.any():
        return np.zeros(len(true))
    predicted, true, total = predicted[:, occurs], true[:, occurs], total[occurs]
    right = predicted & true
    value = 2 * right.sum(0) / total
    change = (2 * right - value * (predicted.astype(float) + true)) / total
    return np.asarray(value.mean() + len(true) * change.mean(-1))


def _one_against_rest(part: Callable[[Floats, Truths], Floats], outputs: Floats, targets: Targets) -> Floats:
    return _over_labels(part, np.exp(log_probabilities(outputs)), targets[:, None] == np.arange(outputs.shape[-1]))


def _over_labels(part: Callable[[Floats, Truths], Floats], outputs: Floats, positive: Truths) -> Floats:
    """Averaged over the columns that have positive and negative samples.

    Raises:
        ValueError: No column has both.
    """
    both = [column for column in range(positive.shape[1]) if 0 < positive[:, column].sum() < len(positive)]
    if not both:
        raise ValueError("A ranking metric needs samples of two classes at least, found one; name another --metric.")
    return np.asarray(np.mean([part(outputs[:, column], positive[:, column]) for column in both], axis=0))


def _by_column(part: Callable[[Floats, Floats], Floats], outputs: Floats, targets: Targets) -> Floats:
    parts = [part(outputs[:, column], targets[:, column]) for column in range(targets.shape[1])]
    return np.asarray(np.mean(parts, axis=0))


def _columns(targets: Targets) -> Floats:
    return targets.reshape(len(targets), -1)

"""Metrics against torchmetrics and scikit-learn, and their parts against the change that one more sample makes."""

import warnings

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics as sk

from msam_bench.metrics.sample_metrics import METRICS, confusion, per_class

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torchmetrics.functional import classification as tm
    from torchmetrics.functional import regression as tmr

ROUNDING = 1e-12  # sums of a few hundred float64
SINGLE = 2e-6  # torchmetrics computes in float32


def classes(seed, samples=240, count=4):
    draw = np.random.default_rng(seed)
    targets = draw.choice(count, samples, p=draw.dirichlet(np.full(count, 3.0)))
    targets[:count] = np.arange(count)
    logits = draw.normal(size=(samples, count)) + 1.2 * np.eye(count)[targets]
    return logits, targets


def values(seed, samples=200, outputs=1, tied=False):
    draw = np.random.default_rng(seed)
    targets = draw.normal(size=(samples, outputs))
    found = 0.7 * targets + draw.normal(size=(samples, outputs)) + 0.1
    return (np.round(found, 1), np.round(targets, 1)) if tied else (found, targets)


def labels(seed, samples=200, count=3, tied=False):
    draw = np.random.default_rng(seed)
    targets = (draw.random((samples, count)) < [0.2, 0.5, 0.7]).astype(float)
    found = draw.normal(size=(samples, count)) + 1.5 * targets - 0.7
    return (np.round(found, 1) if tied else found), targets


def softmax(logits):
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def positives(targets, count):
    return np.eye(count)[targets]


SKLEARN = {
    "accuracy": lambda x, y: sk.accuracy_score(y, x.argmax(-1)),
    "balanced-accuracy": lambda x, y: sk.balanced_accuracy_score(y, x.argmax(-1)),
    "macro-f1": lambda x, y: sk.f1_score(y, x.argmax(-1), average="macro"),
    "auroc": lambda x, y: sk.roc_auc_score(y, softmax(x), multi_class="ovr"),
    "average-precision": lambda x, y: sk.average_precision_score(positives(y, x.shape[1]), softmax(x)),
    "nll": lambda x, y: sk.log_loss(y, softmax(x)),
    "r2": lambda x, y: sk.r2_score(y, x, multioutput="variance_weighted"),
    "mae": lambda x, y: sk.mean_absolute_error(y, x),
    "rmse": lambda x, y: sk.mean_squared_error(y, x) ** 0.5,
    "pearson": lambda x, y: np.mean([np.corrcoef(x[:, i], y[:, i])[0, 1] for i in range(x.shape[1])]),
    "spearman": lambda x, y: np.mean([stats.spearmanr(x[:, i], y[:, i])[0] for i in range(x.shape[1])]),
    "label-map": lambda x, y: sk.average_precision_score(y, x),
    "label-auroc": lambda x, y: sk.roc_auc_score(y, x),
    "label-micro-f1": lambda x, y: sk.f1_score(y, x > 0, average="micro"),
    "label-macro-f1": lambda x, y: sk.f1_score(y, x > 0, average="macro"),
    "label-bce": lambda x, y: sk.log_loss(y.ravel(), 1 / (1 + np.exp(-x.ravel()))),
}


def tensors(outputs, targets):
    return torch.from_numpy(outputs).float(), torch.from_numpy(targets)


TORCHMETRICS = {
    "accuracy": lambda x, y: tm.multiclass_accuracy(x, y, x.shape[1], average="micro"),
    "balanced-accuracy": lambda x, y: tm.multiclass_accuracy(x, y, x.shape[1], average="macro"),
    "macro-f1": lambda x, y: tm.multiclass_f1_score(x, y, x.shape[1], average="macro"),
    "auroc": lambda x, y: tm.multiclass_auroc(x.softmax(-1), y, x.shape[1]),
    "average-precision": lambda x, y: tm.multiclass_average_precision(x.softmax(-1), y, x.shape[1]),
    "ece": lambda x, y: tm.multiclass_calibration_error(x.softmax(-1), y, x.shape[1], n_bins=15),
    "r2": lambda x, y: tmr.r2_score(x, y.float(), multioutput="variance_weighted"),
    "mae": lambda x, y: tmr.mean_absolute_error(x, y.float()),
    "rmse": lambda x, y: tmr.mean_squared_error(x, y.float(), squared=False),
    "pearson": lambda x, y: tmr.pearson_corrcoef(x, y.float()).mean(),
    "spearman": lambda x, y: tmr.spearman_corrcoef(x, y.float()).mean(),
    "label-map": lambda x, y: tm.multilabel_average_precision(x, y.long(), x.shape[1]),
    "label-auroc": lambda x, y: tm.multilabel_auroc(x, y.long(), x.shape[1]),
    "label-micro-f1": lambda x, y: tm.multilabel_f1_score(x, y.long(), x.shape[1], average="micro"),
    "label-macro-f1": lambda x, y: tm.multilabel_f1_score(x, y.long(), x.shape[1], average="macro"),
}
DRAWN = {"classes": classes, "values": values, "labels": labels}


def test_every_metric_has_an_independent_reference():
    assert set(METRICS) == SKLEARN.keys() | TORCHMETRICS.keys()


@pytest.mark.parametrize("name", SKLEARN)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_value_equals_scikit_learn(name, seed):
    outputs, targets = DRAWN[METRICS[name].kind](seed)
    assert METRICS[name].value(outputs, targets) == pytest.approx(SKLEARN[name](outputs, targets), abs=ROUNDING)


@pytest.mark.parametrize("name", TORCHMETRICS)
@pytest.mark.parametrize("seed", [0, 1])
def test_value_equals_torchmetrics(name, seed):
    outputs, targets = DRAWN[METRICS[name].kind](seed)
    expected = float(TORCHMETRICS[name](*tensors(outputs, targets)))
    assert METRICS[name].value(outputs, targets) == pytest.approx(expected, abs=SINGLE)


@pytest.mark.parametrize("name", ["label-auroc", "label-map", "spearman"])
def test_ties_are_counted_as_the_references_do(name):
    outputs, targets = DRAWN[METRICS[name].kind](5, tied=True)
    assert METRICS[name].value(outputs, targets) == pytest.approx(SKLEARN[name](outputs, targets), abs=ROUNDING)


def test_parts_of_the_calibration_error_are_its_change_where_no_bin_changes_sign():
    metric = METRICS["ece"]
    outputs, targets = classes(7, samples=400)
    confidence = softmax(outputs).max(-1)
    index, excess = (confidence * 15).astype(int), confidence - (outputs.argmax(-1) == targets)
    clear = [i for i in range(0, 400, 17) if abs(excess[index == index[i]].sum()) > 1]
    parts = metric.parts(outputs, targets)
    assert len(clear) > 5
    for i in clear:
        change = metric.value(np.append(outputs, outputs[[i]], 0), np.append(targets, targets[i])) - parts.mean()
        assert change == pytest.approx((parts[i] - parts.mean()) / 401, abs=ROUNDING)


@pytest.mark.parametrize("name", sorted(METRICS.keys() - {"ece"}))
def test_parts_are_the_change_that_one_more_copy_of_a_sample_makes(name):
    """M with a copy of sample i less M is `(part_i - M) / (n + 1)`, up to terms of 1 / n^2."""
    metric, n = METRICS[name], 400
    outputs, targets = DRAWN[metric.kind](7, samples=n)
    parts = metric.parts(outputs, targets)
    value = parts.mean()
    for i in range(0, n, 37):
        copied = [np.concatenate([each, each[i : i + 1]]) for each in (outputs, targets)]
        change = metric.value(*copied) - value
        curved = 25 * max(1.0, abs(parts[i] - value)) ** 2 / n**2
        assert change == pytest.approx((parts[i] - value) / (n + 1), abs=curved)


@pytest.mark.parametrize("name", ["macro-f1", "auroc", "average-precision", "spearman", "rmse", "label-map"])
def test_spread_of_the_parts_is_that_of_a_bootstrap(name):
    metric, n, resamples = METRICS[name], 300, 800
    outputs, targets = DRAWN[metric.kind](11, samples=n)
    draw = np.random.default_rng(0)
    again = [metric.value(outputs[rows], targets[rows]) for rows in draw.integers(0, n, (resamples, n))]
    spread = metric.parts(outputs, targets).std() / n**0.5
    assert spread == pytest.approx(np.std(again), rel=0.15)  # 800 resamples know a deviation to 2.5 %


def test_classes_that_do_not_occur_are_left_out():
    outputs, targets = classes(3, count=3)
    wider = np.concatenate([outputs, np.full((len(outputs), 1), -50.0)], 1)
    for name in ("balanced-accuracy", "macro-f1", "auroc", "average-precision"):
        assert METRICS[name].value(wider, targets) == pytest.approx(METRICS[name].value(outputs, targets), abs=1e-9)


def test_several_outputs_are_scored_together():
    outputs, targets = values(2, outputs=3)
    for name in ("r2", "mae", "rmse", "pearson", "spearman"):
        assert METRICS[name].value(outputs, targets) == pytest.approx(SKLEARN[name](outputs, targets), abs=ROUNDING)


def test_constant_predictions_rank_and_correlate_nothing():
    _, targets = values(0)
    constant = np.zeros_like(targets)
    assert METRICS["pearson"].value(constant, targets) == METRICS["spearman"].value(constant, targets) == 0
    assert METRICS["r2"].value(constant + targets.mean(), targets) == pytest.approx(0, abs=ROUNDING)
    _, drawn = classes(0)
    assert METRICS["auroc"].value(np.zeros((len(drawn), 4)), drawn) == 0.5


def test_ranking_needs_two_classes():
    with pytest.raises(ValueError, match="two classes at least, found one"):
        METRICS["auroc"].value(np.zeros((5, 2)), np.zeros(5, int))


def test_lower_is_better_is_negated_for_the_test_and_written_as_it_is():
    outputs, targets = classes(1)
    metric = METRICS["nll"]
    scores = metric.run_scores(outputs, targets, np.arange(len(targets)))
    assert scores.score == pytest.approx(-metric.value(outputs, targets))
    assert metric.measure.value(scores.score) == f"{-scores.score:.2f}"
    assert metric.measure.signed(0.25) == "-0.25"
    assert metric.measure.span(-0.1, 0.3) == ("-0.30", "+0.10")


def test_confusion_and_per_class_table():
    outputs, targets = classes(4)
    predicted = outputs.argmax(-1)
    assert (confusion(outputs, targets) == sk.confusion_matrix(targets, predicted)).all()
    precision, recall, f1, support = sk.precision_recall_fscore_support(targets, predicted)
    for i, row in enumerate(per_class(outputs, targets)):
        assert row == pytest.approx(
            {"samples": support[i], "precision": precision[i], "recall": recall[i], "f1": f1[i]}, abs=ROUNDING
        )

"""From run folders to verdicts, on folders written for the test: predictions, baselines, divergence, metrics."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from msam_bench.analysis.assessment import Rows, apart_rows, assess, by_row, chosen_metric, diverged_seeds, run_scores
from msam_bench.analysis.contrasts import Decision
from msam_bench.analysis.grouping import grouped
from msam_bench.analysis.leader import leading
from msam_bench.analysis.sentences.verdict import text
from msam_bench.analysis.verdict import ENSEMBLE
from msam_bench.config.resolve import resolve
from msam_bench.metrics.sample_metrics import METRICS
from msam_bench.metrics.uncertainty import RunScores
from msam_bench.reporting.comparing import Question, compare, methods_of
from msam_bench.reporting.comparison_page import draw
from msam_bench.runs.predictions import Predictions, SplitPredictions, write
from records import fake

SAMPLES, SEEDS = 300, range(8)
VIEWS = ("accelerometer", "gyroscope")
CHANCE = "the majority class"


def outputs(draw, targets, strength, classes):
    return draw.normal(size=(len(targets), classes)) + strength * np.eye(classes)[targets]


def written(root, method, strength, prior=(60, 40, 40), seeds=SEEDS, majority=0.45, kept=True):
    """Runs of a method on a pool, of which each seed tests a third; `strength` is how much its outputs know."""
    pool, classes = np.random.default_rng(5), len(prior)
    weights = [majority, *[(1 - majority) / (classes - 1)] * (classes - 1)]
    labels = pool.choice(classes, 3 * SAMPLES, p=weights)
    found = []
    for seed in seeds:
        config = resolve("smartwatch", "late", method, seed=seed)
        rows = np.random.default_rng([seed, 9]).permutation(3 * SAMPLES)[:SAMPLES]
        targets = labels[rows]
        draw = np.random.default_rng([seed, len(method), int(100 * strength)])
        logits = outputs(draw, targets, strength, classes)
        record = fake(config)
        folder = Path(root) / config.identity
        folder.mkdir(parents=True, exist_ok=True)
        if kept:
            split = SplitPredictions(logits, targets, rows)
            write(folder, Predictions("classes", np.array(prior, float), {"test": split}))
        accuracy = float((logits.argmax(-1) == targets).mean())
        summary = record.summary | {"test_accuracy": accuracy}
        found.append(replace(record, folder=folder, summary=summary, data=record.data | {"score": "accuracy"}))
    return found


def page(root, methods, **options):
    records = [run for method, strength in methods.items() for run in written(root, method, strength, **options)]
    return by_row(grouped(records, "joint"))


ALL = {
    "joint": 2.0,
    "sam": 2.6,
    "unimodal:modality=accelerometer": 1.2,
    "unimodal:modality=gyroscope": 0.8,
}


def test_scores_are_those_of_the_records_and_of_every_sample(tmp_path):
    groups = page(tmp_path, ALL)
    assert list(groups) == ["joint", "sam", "accelerometer alone", "gyroscope alone"]
    assert apart_rows(groups) == {view: f"{view} alone" for view in VIEWS}
    for runs in groups.values():
        for run in runs:
            scores = run_scores(run, METRICS["accuracy"])
            assert scores.score == pytest.approx(run.summary["test_accuracy"], abs=1e-12)
            assert len(scores.contributions) == SAMPLES


def test_a_page_with_every_row(tmp_path):
    found = assess(page(tmp_path, ALL), "joint")
    assert list(found.rows.scores) == [
        "joint",
        "sam",
        "accelerometer alone",
        "gyroscope alone",
        ENSEMBLE,
        CHANCE,
    ]
    words = text(found.verdict)
    assert words.startswith("Fusion pays (n = 8): joint is better than each modality alone, and better than accelero")
    assert "relevantly better: sam by" in words
    assert "This holds on data like this pool, of which each seed tests other samples." in words
    assert found.verdict.methods.keys() == {"sam"}
    assert found.verdict.methods["sam"].estimate.basis == "samples"


def test_the_ensemble_adds_log_probabilities(tmp_path):
    groups = page(tmp_path, ALL)
    found = assess(groups, "joint").rows.scores
    apart = [found[f"{view} alone"] for view in VIEWS]
    for seed in SEEDS:
        assert found[ENSEMBLE][seed].score > max(runs[seed].score for runs in apart)
    del groups["gyroscope alone"]
    assert ENSEMBLE not in assess(groups, "joint").rows.scores


def test_skewed_noise_recommends_nothing(tmp_path):
    found = assess(page(tmp_path, dict.fromkeys(ALL, 0.0), majority=0.8, prior=(80, 10, 10)), "joint")
    words = text(found.verdict)
    assert words.startswith("Nothing here is shown to be better than the majority class (")
    assert "no method is recommended" in words
    assert "is the best" not in words
    assert "highest mean" not in words


def test_runs_that_diverged_count_as_the_majority_class(tmp_path):
    groups = page(tmp_path, ALL)
    groups["sam"] = groups["sam"][:-3]
    found = assess(groups, "joint", diverged={"sam": (5, 6, 7)})
    assert found.rows.scores["sam"][6].score == pytest.approx(found.rows.scores[CHANCE][6].score)
    assert found.verdict.methods["sam"].estimate.seeds == 8
    assert (
        "sam diverged in 3 of 8 runs, which count as the majority class; without them, in its favour, it is at +"
        in (text(found.verdict))
    )


def test_a_method_that_always_diverged_is_worse_and_has_its_row(tmp_path):
    found = assess(page(tmp_path, ALL), "joint", diverged={"gnp": tuple(SEEDS)})
    assert found.verdict.methods["gnp"].outcome is Decision.RELEVANTLY_WORSE
    assert "gnp diverged in 8 of 8 runs" in text(found.verdict)


def test_rows_of_diverged_configurations():
    configs = [resolve("smartwatch", "late", name, seed=seed) for name in ("sam:rho=7", VIEW_APART) for seed in (1, 2)]
    assert diverged_seeds(configs) == {"sam:rho=7": (1, 2), "gyroscope alone": (1, 2)}


VIEW_APART = "unimodal:modality=gyroscope"


@pytest.mark.parametrize("metric", ["balanced-accuracy", "macro-f1", "auroc", "average-precision", "nll", "ece"])
def test_every_metric_of_classes_from_stored_predictions(tmp_path, metric):
    found = assess(page(tmp_path, ALL), "joint", metric=metric)
    assert found.metric.name == metric
    if metric not in ("nll", "ece"):  # whose outputs are not calibrated
        assert "relevantly better: sam by" in text(found.verdict)
    assert METRICS[metric].title == found.verdict.measure.name


def test_a_table_of_another_metric_is_written_in_its_unit(tmp_path):
    records = [run for runs in page(tmp_path, ALL).values() for run in runs]
    table = compare(records, question=Question(metric="nll"))
    assert (table.score, table.header[2]) == ("negative log-likelihood", "test")
    sam = table.rows[1]
    assert sam.accuracy.mean > 0 > sam.to_reference.difference  # lower is better
    assert f"sam by {abs(sam.to_reference.difference):.2f} nats" in table.verdict
    assert "test_negative_log_likelihood_mean" in table.csv().splitlines()[0]
    (figure,) = draw(methods_of(page(tmp_path, ALL)), table)["differences"][:1]
    assert figure.alt.startswith("Nats, with 95 % intervals: sam -")


def test_runs_without_predictions_are_judged_over_seeds_and_the_verdict_says_so(tmp_path):
    words = text(assess(page(tmp_path, ALL, kept=False), "joint").verdict)
    assert "Where runs kept no predictions (joint, sam, " in words
    assert "this holds over seeds of this pool alone" in words
    assert CHANCE not in words


def test_metrics_that_do_not_suit_are_refused():
    with pytest.raises(ValueError, match="Unknown metric 'f1': "):
        chosen_metric("f1", "accuracy")
    with pytest.raises(ValueError, match="The metric accuracy is not one of values; name one of r2, mae, rmse"):
        chosen_metric("accuracy", "R2")


def test_a_null_of_many_methods_names_no_best():
    draw, named = np.random.default_rng(0), 0
    for _ in range(200):
        base = draw.normal(0.9, 0.02, 10)
        made = {m: dict(enumerate(map(RunScores, base + draw.normal(0, 0.01, 10)))) for m in ("joint", "a", "b", "c")}
        rows = Rows(made)
        named += leading("joint", rows.family(made, "joint"), rows.estimate).best
    assert named / 200 <= 0.05


def test_comparisons_of_tables_agree_with_the_contrasts(tmp_path):
    found = assess(page(tmp_path, ALL), "joint", metric="nll")
    contrast = found.verdict.methods["sam"]
    shown = found.rows.comparison("sam", "joint", contrast, -1)
    assert (shown.difference, shown.adjusted) == (-contrast.difference, contrast.adjusted)
    assert (shown.low, shown.high) == tuple(sorted(-end for end in contrast.interval))

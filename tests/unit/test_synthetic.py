"""Generated data: what every coalition can know is what the generator says, measured without its help."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from math import factorial, log, log2
from pathlib import Path

import pytest
import torch

from msam_bench.config.resolve import resolve
from msam_bench.data import source
from msam_bench.data.base import Dataset, Split
from msam_bench.data.sets.synthetic import Synthetic, from_name, synthetic
from msam_bench.runs.executor import train

CASES = {
    "default": {},
    "redundant": {"redundancy": 1.0, "unique": 0.0},
    "unique": {"redundancy": 0.0, "unique": (0.6, 0.2)},
    "xor": {"redundancy": 0.0, "unique": 0.0, "synergy": 1.0, "classes": 2},
    "noisy xor": {"redundancy": 0.1, "unique": 0.0, "synergy": 0.6, "noise": 0.2, "classes": 2},
    "three": {
        "redundancy": 0.2,
        "unique": (0.3, 0.1, 0.0),
        "synergy": 0.3,
        "noise": 0.1,
        "classes": 3,
        "modalities": 3,
    },
    "nothing": {"redundancy": 0.0, "unique": 0.0},
}
SIZES = {"nuisance": 0, "train": 20_000, "valid": 1, "test": 20_000}


def coalitions(names: Iterable[str]) -> list[tuple[str, ...]]:
    listed = tuple(names)
    return [each for size in range(len(listed) + 1) for each in itertools.combinations(listed, size)]


def patterns(split: Split, coalition: tuple[str, ...]) -> list[tuple[float, ...]]:
    """What the coalition sees of each sample; without nuisance it is one of few patterns."""
    if not coalition:
        return [()] * len(split)
    return [tuple(row) for row in torch.cat([split.inputs[name] for name in coalition], 1).tolist()]


def learned_accuracy(dataset: Dataset, coalition: tuple[str, ...]) -> float:
    """The test accuracy of the most frequent class of each pattern in training: the best rule, for enough samples."""
    votes: dict[tuple[float, ...], Counter[int]] = {}
    train, test = dataset.splits["train"], dataset.splits["test"]
    for pattern, label in zip(patterns(train, coalition), train.target.tolist(), strict=True):
        votes.setdefault(pattern, Counter())[label] += 1
    rule = {pattern: counts.most_common(1)[0][0] for pattern, counts in votes.items()}
    hits = [
        rule.get(pattern, 0) == label
        for pattern, label in zip(patterns(test, coalition), test.target.tolist(), strict=True)
    ]
    return sum(hits) / len(hits)


def measured_bits(split: Split, coalition: tuple[str, ...]) -> float:
    """The mutual information between patterns and classes of a sample, in bits."""
    pairs = Counter(zip(patterns(split, coalition), split.target.tolist(), strict=True))
    seen, labels = Counter(patterns(split, coalition)), Counter(split.target.tolist())
    total = len(split)
    return sum(n / total * log2(n * total / seen[pattern] / labels[label]) for (pattern, label), n in pairs.items())


@pytest.mark.parametrize("case", CASES)
def test_every_coalition_can_know_what_the_generator_says(case: str) -> None:
    data = synthetic(**CASES[case], **SIZES)  # type: ignore[arg-type]
    dataset = data.load(0)
    for coalition in coalitions(data.modalities):
        expected = data.bayes_accuracy(coalition)
        error = (expected * (1 - expected) / 20_000) ** 0.5
        # Five standard errors of the test accuracy. A rule learned from 20,000 samples is at most a little worse than
        # the best one where classes are equally likely: then any rule is as good.
        assert learned_accuracy(dataset, coalition) == pytest.approx(expected, abs=5 * error + 1e-12)


@pytest.mark.parametrize("case", CASES)
def test_every_coalition_has_the_bits_that_the_generator_says(case: str) -> None:
    data = synthetic(**CASES[case], **SIZES)  # type: ignore[arg-type]
    split = data.load(1).splits["train"]
    for coalition in coalitions(data.modalities):
        # Frequencies overestimate by (patterns - 1) (classes - 1) / (2 n ln 2) (Miller 1955): below 0.003 here.
        assert measured_bits(split, coalition) == pytest.approx(data.information(coalition), abs=0.03)


@pytest.mark.parametrize("case", CASES)
def test_contributions_are_the_shapley_values_of_the_accuracies(case: str) -> None:
    data = synthetic(**CASES[case])  # type: ignore[arg-type]
    names = data.modalities
    for name in names:
        others = [each for each in names if each != name]
        expected = sum(
            factorial(len(each))
            * factorial(len(others) - len(each))
            / factorial(len(names))
            * (data.bayes_accuracy((*each, name)) - data.bayes_accuracy(each))
            for each in coalitions(others)
        )
        assert data.contributions()[name] == pytest.approx(expected, abs=1e-12)


def test_the_example_in_the_module_is_right() -> None:
    data = synthetic(redundancy=0.4, unique=(0.2, 0.0), synergy=0.2, noise=0.05)
    # "a" reads 0.4 + 0.2 of the samples and is right in 0.95 of them; the others are guessed among four classes.
    assert data.bayes_accuracy({"a"}) == pytest.approx(0.6 * 0.95 + 0.4 * 0.25)
    assert data.bayes_accuracy({"a"}) == pytest.approx(0.67)


def test_xor_is_in_no_modality_and_in_both() -> None:
    data = synthetic(0.0, 0.0, 1.0, classes=2)
    assert [data.bayes_accuracy(each) for each in ((), "a", "b", "ab")] == [0.5, 0.5, 0.5, 1.0]
    split = synthetic(0.0, 0.0, 1.0, classes=2, nuisance=0).load(0).splits["test"]
    first, second = (split.inputs[name][:, 4:].argmax(1) for name in "ab")
    assert torch.equal(first ^ second, split.target)


def test_features_of_chance_are_standard_normal_and_come_last() -> None:
    split = synthetic(nuisance=8, train=20_000).load(0).splits["train"]
    assert split.shapes == {"a": (20,), "b": (20,)}
    chance = split.inputs["a"][:, 12:]
    assert chance.mean().item() == pytest.approx(0, abs=5 / (8 * 20_000) ** 0.5)
    assert chance.std().item() == pytest.approx(1, abs=5 / (2 * 8 * 20_000) ** 0.5)
    assert set(split.inputs["a"][:, :12].unique().tolist()) == {0.0, 1.0}


def test_a_seed_draws_the_same_samples_again_and_another_seed_others() -> None:
    first, again, other = (synthetic().load(seed) for seed in (3, 3, 4))
    for part, split in first.splits.items():
        assert torch.equal(split.inputs["a"], again.splits[part].inputs["a"])
        assert torch.equal(split.target, again.splits[part].target)
    assert not torch.equal(first.splits["test"].inputs["a"], other.splits["test"].inputs["a"])
    assert not torch.equal(first.splits["train"].inputs["a"][:500], first.splits["valid"].inputs["a"])


def test_dials_have_names() -> None:
    data = source("synthetic:synergy=0.3,unique=0.1+0.2,noise=0.1,classes=3,train=50")
    assert isinstance(data, Synthetic)
    assert (data.redundancy, data.unique, data.synergy, data.noise) == (0.4, (0.1, 0.2), 0.3, 0.1)
    assert source(data.name) == data
    assert source(data.name).fingerprint == data.fingerprint != synthetic().fingerprint
    assert {part: len(split) for part, split in data.load(0).splits.items()} == data.sizes()
    assert data.sizes() == {"train": 50, "valid": 500, "test": 2000}
    assert source("synthetic") == synthetic()
    assert from_name("digits6") is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("synergie=0.3", "Synthetic data have no dial 'synergie': .*'synergy'"),
        ("synergy=much", "Expected a number for the dial 'synergy', found 'much'"),
        ("classes=2.5", "Expected a whole number for the dial 'classes', found '2.5'"),
        ("redundancy=0.9,unique=0.2", "Expected redundancy, unique and synergy to add up to 1 at most, found 1.1"),
        ("redundancy=-0.1", "Expected redundancy from 0 to 1, found -0.1"),
        ("redundancy=nan", "Expected redundancy from 0 to 1, found nan"),
        ("unique=0.1+0.1+0.1", "Expected one share of unique samples for each of 2 modalities, found 3"),
        ("noise=0.75", r"Expected a noise from 0 to below 0.75 \(pure chance\), found 0.75"),
        ("classes=1", "Expected classes from 2 to 1000, found 1"),
        ("modalities=27", "Expected modalities from 2 to 26, found 27"),
        ("train=0", "Expected train from 1 to 1e.08, found 0"),
    ],
)
def test_a_dial_out_of_range_is_refused(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        source(f"synthetic:{name}")


def test_early_fusion_learns_what_late_fusion_cannot(tmp_path: Path) -> None:
    """XOR: the cross-entropy of any sum of two modalities' logits is that of a guess at least, by symmetry.

    On 2,000 samples the best sum is below ln 2 by half a chi-squared of three degrees over n: by 0.004 once in 1,000.
    """
    name = "synthetic:redundancy=0,unique=0,synergy=1,classes=2,nuisance=0,train=400,valid=100"
    runs = {fusion: resolve(name, fusion, "joint", seed=0, epochs=20, hidden=16) for fusion in ("late", "early")}
    late, early = (train(config, tmp_path).summary for config in runs.values())
    assert late["test_loss"] > log(2) - 0.004
    assert early["test_loss"] < 0.1
    assert early["test_accuracy"] > 0.98


def test_an_unknown_modality_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected modalities among a, b, found 'c'"):
        synthetic().bayes_accuracy({"c"})

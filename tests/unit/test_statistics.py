"""The statistics against scipy, closed forms and numbers worked by hand."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from msam_bench.analysis.sentences.comparison import verdict
from msam_bench.analysis.sentences.phrases import format_p, join_names
from msam_bench.analysis.statistics import (
    Comparison,
    against,
    bootstrap_interval,
    holm,
    paired_difference,
    sign_flip_p,
    summarise,
)


def seeds(values):
    return dict(enumerate(values))


def test_summary_by_hand():
    summary = summarise([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 100.0])
    assert (summary.n, summary.mean, summary.iqm) == (8, 16.0, 4.5)
    assert summary.sd == pytest.approx(stats.tstd([1, 2, 3, 4, 5, 6, 7, 100]))


def test_summary_of_one_value_has_no_spread():
    summary = summarise([0.5])
    assert (summary.n, summary.mean, summary.sd, summary.iqm) == (1, 0.5, None, 0.5)


@pytest.mark.parametrize("values", [[], [0.1, math.nan], [math.inf]])
def test_summary_refuses_what_is_not_a_number(values):
    with pytest.raises(ValueError, match="Statistics need"):
        summarise(values)


@pytest.mark.parametrize("n", [2, 3, 6, 9, 12])
def test_sign_flip_equals_scipy(n):
    differences = np.random.default_rng(n).normal(0.3, 1.0, n)
    expected = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    assert sign_flip_p(differences) == pytest.approx(expected.pvalue, abs=1e-15)


def test_sign_flip_by_hand():
    assert sign_flip_p([1.0, 2.0, 3.0]) == 2 / 8
    assert sign_flip_p([1.0, 2.0, -3.0]) == 1.0
    assert sign_flip_p([0.1] * 6) == 2 / 64
    assert sign_flip_p([0.1, 0.2, 0.3, 0.4, 0.5, -0.1]) == pytest.approx(6 / 64)  # sums of 1.6 and twice 1.4
    assert sign_flip_p([0.0] * 6) == 1.0
    assert sign_flip_p([0.7]) == 1.0


def test_sign_flip_is_drawn_above_sixteen_pairs_with_a_recorded_seed():
    differences = np.random.default_rng(1).normal(0.2, 0.5, 18)
    signs = 1 - 2 * ((np.arange(2**18)[:, None] >> np.arange(18)) & 1)
    sums = np.abs(signs @ differences)
    exact = float(np.mean(sums >= sums[0] - 1e-12))
    drawn = sign_flip_p(differences, seed=3)
    assert drawn == sign_flip_p(differences, seed=3)
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact / 99_999) + 1e-5)
    compared = paired_difference(seeds(differences), seeds(np.zeros(18)), seed=3)
    assert (compared.exact, compared.seed, compared.p) == (False, 3, drawn)


def test_paired_difference_by_hand():
    compared = paired_difference({0: 0.9, 1: 0.8, 2: 0.7, 3: 0.6}, {0: 0.8, 1: 0.8, 2: 0.5, 3: 0.7})
    assert (compared.n, compared.unpaired, compared.strata, compared.exact) == (4, 0, 1, True)
    assert compared.difference == pytest.approx(0.05)
    assert compared.probability_of_improvement == 2.5 / 4
    assert compared.p == pytest.approx(12 / 16)
    assert compared.low < 0 < compared.high
    assert compared.interval == "bootstrap"


def test_only_common_seeds_are_paired_and_the_others_are_counted():
    compared = paired_difference({0: 1.0, 1: 2.0, 7: 99.0}, {0: 0.0, 1: 1.0, 3: -99.0, 4: 0.0})
    assert (compared.n, compared.unpaired, compared.difference) == (2, 3, 1.0)


def test_no_common_seed_is_refused():
    with pytest.raises(ValueError, match=r"common seeds, but one has \[0\] and the other \[1\]"):
        paired_difference({0: 1.0}, {1: 1.0})


@pytest.mark.parametrize("place", [0, 1])
def test_nan_is_refused_in_one_sentence(place):
    pair = [{3: 0.5}, {3: 0.5}]
    pair[place][3] = math.nan
    with pytest.raises(ValueError, match="seed 3 is nan"):
        paired_difference(*pair)


def test_one_pair_has_no_interval_and_p_one():
    compared = paired_difference({0: 0.9}, {0: 0.5})
    assert (compared.low, compared.high, compared.p, compared.interval) == (None, None, 1.0, "none")


def test_equal_differences_have_an_interval_of_no_width():
    compared = paired_difference(seeds([0.75] * 6), seeds([0.5] * 6))
    assert (compared.low, compared.high, compared.p) == (0.25, 0.25, 2 / 64)
    same = paired_difference(seeds([0.5] * 6), seeds([0.5] * 6))
    assert (same.difference, same.low, same.high, same.p, same.probability_of_improvement) == (0.0, 0.0, 0.0, 1.0, 0.5)


def test_few_pairs_get_the_interval_of_student():
    differences = [0.1, 0.4, 0.3]
    compared = paired_difference(seeds(differences), seeds([0.0] * 3))
    expected = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    assert (compared.low, compared.high) == pytest.approx(tuple(expected))
    assert compared.interval == "Student's t"


def test_interval_nears_the_interval_of_student_for_many_normal_values():
    values = np.random.default_rng(0).normal(1.0, 2.0, 400)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert bootstrap_interval([values]) == pytest.approx(tuple(expected), abs=0.03)


@pytest.mark.parametrize("sizes", [(12,), (6,), (5, 4, 3)])
def test_interval_is_the_expanded_percentile_interval_of_its_definition(sizes):
    draw = np.random.default_rng(3)
    strata = [draw.exponential(size=k) + shift for shift, k in enumerate(sizes)]
    pooled, n = np.concatenate(strata), sum(sizes)
    left = np.concatenate([(own - own.mean()) * np.sqrt(len(own) / (len(own) - 1)) for own in strata])
    means = pooled.mean() + np.sort(left[draw.integers(0, n, (100_000, n))].mean(1))
    tail = stats.norm.cdf(stats.t.ppf(0.025, n - len(sizes)))
    drawn = [means[round(tail * 100_000)], means[-round(tail * 100_000) - 1]]
    found = bootstrap_interval(strata, resamples=100_000)
    assert found == pytest.approx(drawn, abs=0.05 * (drawn[1] - drawn[0]))


def test_interval_is_the_same_for_the_same_seed_and_differs_for_another():
    values = np.random.default_rng(0).normal(size=8)
    assert bootstrap_interval([values], seed=1) == bootstrap_interval([values], seed=1)
    assert bootstrap_interval([values], seed=1) != bootstrap_interval([values], seed=2)


@pytest.mark.parametrize("shape", [(1, 6), (1, 12), (5, 2)])
def test_interval_covers_the_truth(shape):
    draw = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        low, high = bootstrap_interval(draw.normal(size=shape), resamples=999)
        hits += low <= 0 <= high
    assert hits / 400 > 0.91  # nominal 0.95


def test_blocks_take_the_difference_between_blocks_out_of_the_noise():
    draw = np.random.default_rng(0)
    fold = {seed: seed % 5 for seed in range(10)}
    method = {seed: 0.1 * fold[seed] + draw.normal(0, 0.01) for seed in range(10)}
    plain = paired_difference(method, dict.fromkeys(range(10), 0.0))
    within = paired_difference(method, dict.fromkeys(range(10), 0.0), blocks=fold)
    assert (plain.strata, within.strata) == (1, 5)
    assert within.high - within.low < 0.3 * (plain.high - plain.low)
    assert within.difference == plain.difference


def test_blocks_with_a_single_seed_are_put_aside():
    values = seeds([0.1, 0.3, 0.2, 0.5, 0.4, 0.6])
    alone = paired_difference(values, seeds([0.0] * 6), blocks={s: s % 5 for s in range(6)})
    assert alone.strata == 1
    assert alone == paired_difference(values, seeds([0.0] * 6))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_is_the_closed_test_of_bonferroni():
    ps = np.random.default_rng(0).beta(0.5, 3, 6)
    subsets = [s for size in range(1, 7) for s in itertools.combinations(range(6), size)]
    closed = [max(min(1, len(s) * min(ps[j] for j in s)) for s in subsets if i in s) for i in range(6)]
    assert holm(ps) == pytest.approx(closed)


@pytest.mark.parametrize("p", [math.nan, -0.1, 1.1])
def test_holm_refuses_what_is_no_p(p):
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, p])


def test_against_adjusts_one_family_and_leaves_out_who_shares_no_seed():
    values = {"joint": seeds([0.0] * 8), "a": seeds([1.0] * 8), "b": seeds([1.0] * 7 + [-3.0]), "c": {99: 1.0}}
    found = against(values, "joint")
    assert list(found) == ["a", "b"]
    assert found["a"].adjusted == pytest.approx(2 * found["a"].p)
    assert all(c.family == 2 for c in found.values())


def test_a_simulated_null_is_called_different_in_at_most_five_percent():
    draw = np.random.default_rng(0)
    called = 0
    for _ in range(1000):
        data = draw.normal(0.9, 0.02, (2, 8))
        compared = paired_difference(seeds(data[0]), seeds(data[1]), resamples=19)
        called += compared.differs
    assert 30 <= called <= 50  # 12 of the 256 sign patterns, 4.7 %, reach p <= 0.05: no more, and hardly less


@pytest.mark.parametrize(("n", "effect", "fewest"), [(12, 1.5, 0.95), (6, 3.0, 0.95), (12, 0.5, 0.2)])
def test_a_simulated_difference_is_found_as_often_as_by_student(n, effect, fewest):
    draw = np.random.default_rng(0)
    pairs = effect + draw.normal(size=(400, n))
    found = np.mean([sign_flip_p(own) <= 0.05 for own in pairs])
    student = np.mean([stats.ttest_1samp(own, 0).pvalue <= 0.05 for own in pairs])
    assert found >= fewest
    assert found >= student - 0.05  # Student's test is the most powerful of normal values


def test_a_simulated_null_of_many_methods_rejects_nobody():
    draw = np.random.default_rng(0)
    found = 0
    for _ in range(200):
        base = draw.normal(0.9, 0.02, 10)
        values = {name: seeds(base + draw.normal(0, 0.01, 10)) for name in ("joint", "a", "b", "c")}
        ps = [sign_flip_p([values[m][s] - values["joint"][s] for s in range(10)]) for m in ("a", "b", "c")]
        found += min(holm(ps)) <= 0.05
    assert found / 200 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_a_real_difference_is_found():
    draw = np.random.default_rng(0)
    base = draw.normal(0.9, 0.03, 12)
    better = base + 0.01 + draw.normal(0, 0.004, 12)
    found = against(
        {"joint": seeds(base), "msam": seeds(better), "sam": seeds(base + draw.normal(0, 0.004, 12))}, "joint"
    )
    assert found["msam"].differs
    assert not found["sam"].differs
    assert found["msam"].low < 0.01 < found["msam"].high
    sentence = verdict(found, "joint")
    assert sentence.startswith("Compared with joint, better: msam by 0.90 points (adjusted p 0.00098)")
    assert "no evidence of a difference: sam" in sentence
    assert "n = 12 paired seeds, exact sign-flip test, Holm over 2 comparisons" in sentence


def test_verdict_says_that_three_seeds_cannot_show_a_difference():
    found = against({"joint": seeds([0.1, 0.2, 0.3]), "msam": seeds([0.5, 0.6, 0.7])}, "joint")
    assert verdict(found, "joint") == (
        "With n = 3 paired seeds the smallest possible two-sided p is 0.25: "
        "this comparison cannot show a difference to joint at the 5 % level."
    )


def test_verdict_counts_the_family_when_it_judges_what_can_be_shown():
    draw = np.random.default_rng(0)
    values = {name: seeds(draw.normal(size=6)) for name in ("joint", "a", "b")}
    assert "is 0.031, after Holm over 2 comparisons 0.062: this comparison cannot" in verdict(
        against(values, "joint"), "joint"
    )


def test_verdict_says_no_evidence_and_how_much_would_still_fit():
    draw = np.random.default_rng(0)
    values = {name: seeds(draw.normal(0.9, 0.01, 12)) for name in ("joint", "a", "b")}
    sentence = verdict(against(values, "joint"), "joint")
    assert sentence.startswith("No evidence of a difference to joint for a and b: the 95 % intervals reach from -")
    assert sentence.count(". ") == 0


def test_verdict_reports_the_worse_as_readily():
    values = {"joint": seeds([0.9, 0.91, 0.92, 0.9, 0.93, 0.91]), "msam": seeds([0.8] * 6)}
    assert "worse: msam by 11.17 points (adjusted p 0.031)" in verdict(against(values, "joint"), "joint")


def test_verdict_of_nothing():
    assert verdict({}, "joint") == "Nothing was compared with joint."


def test_verdict_names_the_drawn_test():
    draw = np.random.default_rng(0)
    values = {"joint": seeds(draw.normal(size=20)), "a": seeds(draw.normal(5, 1, 20))}
    assert "99,999 draws of the sign-flip test" in verdict(against(values, "joint"), "joint")


def test_words():
    assert [join_names([]), join_names("a"), join_names("ab"), join_names("abc")] == ["", "a", "a and b", "a, b and c"]
    assert join_names("abcdef", most=4) == "a, b, c and 3 others"
    assert [format_p(p) for p in (1e-5, 0.00049, 0.0421, 0.5, 0.999, 1.0)] == [
        "< 0.0001", "0.00049", "0.042", "0.5", "1", "1"
    ]  # fmt: skip


def test_a_comparison_alone_is_judged_by_its_own_p():
    alone = Comparison(6, 0.1, 0.0, 0.2, 0.04, True, 0, 1.0)
    assert (alone.evidence, alone.differs, alone.smallest_p) == (0.04, True, 2 / 64)

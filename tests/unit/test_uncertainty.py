"""The two-way error, the family and equivalence: numbers worked by hand, closed forms and scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from msam_bench.analysis.contrasts import Contrast, Decision, family, sidak, size_in_words
from msam_bench.analysis.leader import leading
from msam_bench.analysis.stability import collapsed
from msam_bench.metrics.uncertainty import (
    Cells,
    Estimate,
    RunScores,
    over_folds,
    over_seeds,
    paired_estimate,
    two_way,
    variances,
)

WORKED = np.array([[1, 0, 0, 1], [1, 0, -1, 0], [1, 0, 0, 0]], float)
SEED_ONLY = [1.2, 1.0, 1.5, 0.9, 1.1, 1.4]
ALIKE = [0.1, -0.2, 0.3, 0, -0.1, 0.2, -0.1, 0.1, 0, -0.2, 0.1, 0]


def crossed(table):
    seeds, units = np.indices(table.shape)
    return Cells(seeds.ravel(), units.ravel(), table.ravel(), fixed=True)


def runs(table, ids=None, groups=None):
    return {
        seed: RunScores.of(
            np.asarray(row, float),
            np.arange(len(row)) if ids is None else np.asarray(ids[seed]),
            None if groups is None else np.asarray(groups[seed]),
        )
        for seed, row in enumerate(table)
    }


def zeros(like):
    return {s: RunScores.of(np.zeros(len(r.contributions)), r.samples, r.groups) for s, r in like.items()}


def estimated(mean, error=1.0, n=12, **more):
    return Estimate(mean, error, n - 1, n, "samples", **more)


def test_two_way_by_hand():
    cells = crossed(WORKED)
    found = variances(cells, cells.difference - 0.25)
    assert found == pytest.approx((0.020833, 0.060764, 0.029514), abs=5e-7)
    estimate = two_way(cells)
    assert (estimate.difference, estimate.freedom, estimate.seeds, estimate.units) == (0.25, 2, 3, 4)
    assert estimate.error == pytest.approx(0.246503, abs=5e-7)
    assert estimate.p == pytest.approx(2 * stats.t.sf(0.25 / estimate.error, 2))


def test_two_way_of_one_value_a_seed_is_never_below_the_error_of_seeds():
    draw = np.random.default_rng(0).normal(size=(8, 1))
    cells = Cells(np.arange(8), np.arange(8), draw[:, 0], fixed=False)
    assert two_way(cells).error == pytest.approx(float(stats.sem(draw[:, 0])))


def test_two_way_of_groups_sums_a_groups_samples():
    groups = np.array([0, 0, 1, 1])
    seeds, units = np.indices(WORKED.shape)
    cells = Cells(seeds.ravel(), groups[units.ravel()], WORKED.ravel(), fixed=True, grouped=True)
    e = WORKED - 0.25
    sums = np.stack([e[:, :2].sum(1), e[:, 2:].sum(1)], 1)
    expected = ((e.sum(1) ** 2).sum() * 3 / 2, (sums.sum(0) ** 2).sum() * 2 / 1, (sums**2).sum())
    assert variances(cells, e.ravel()) == pytest.approx([each / 144 for each in expected])
    assert (two_way(cells).freedom, two_way(cells).basis) == (1, "groups")


def test_seeds_count_alike_when_they_test_different_numbers_of_samples():
    cells = Cells(np.array([0, 0, 0, 0, 1]), np.arange(5), np.array([1.0, 1, 1, 1, 0]), fixed=False)
    assert two_way(cells).difference == 0.5


def test_pairing_takes_samples_where_both_kept_them():
    method = runs(WORKED)
    estimate = paired_estimate(method, zeros(method))
    assert estimate.error == pytest.approx(0.246503, abs=5e-7)
    assert (estimate.basis, estimate.fixed, estimate.wins) == ("samples", True, 2.5)
    bare = {seed: RunScores(run.score) for seed, run in method.items()}
    assert paired_estimate(bare, zeros(method)).basis == "seeds"
    assert paired_estimate(method, {**zeros(method), 9: RunScores(0.5)}).seeds == 3


def test_pairing_knows_a_redrawn_split_groups_and_folds():
    redrawn = runs(WORKED, ids=[[0, 1, 2, 3], [2, 3, 4, 5], [0, 2, 4, 6]])
    assert paired_estimate(redrawn, zeros(redrawn)).fixed is False
    shuffled = runs(WORKED, ids=[[0, 1, 2, 3], [3, 2, 1, 0], [0, 2, 1, 3]])
    assert paired_estimate(shuffled, zeros(shuffled)).fixed is True
    grouped = runs(WORKED, groups=[[0, 0, 1, 1]] * 3)
    assert paired_estimate(grouped, zeros(grouped)).basis == "groups"
    assert paired_estimate(grouped, zeros(grouped), {0: 0, 1: 1, 2: 2}).basis == "folds"
    assert paired_estimate(grouped, zeros(grouped), {0: 4, 1: 4, 2: 4}).basis == "groups"


def test_pairing_refuses_what_is_no_pair():
    method = runs(WORKED)
    other = runs(WORKED, ids=[[9, 8, 7, 6]] * 3)
    with pytest.raises(ValueError, match="tested on different samples"):
        paired_estimate(method, other)
    with pytest.raises(ValueError, match="Pairs need common seeds"):
        paired_estimate(method, {7: RunScores(0.1)})
    with pytest.raises(ValueError, match="finite"):
        paired_estimate({0: RunScores(math.nan)}, {0: RunScores(0.1)})


def test_folds_are_compared_by_their_means():
    differences = {0: 1.0, 1: 2.0, 2: 4.0, 3: 3.0, 4: 2.0, 5: 6.0}
    estimate = over_folds(differences, {seed: seed % 3 for seed in differences})
    means = [2.0, 2.0, 5.0]
    assert (estimate.difference, estimate.freedom, estimate.units) == (3.0, 2, 3)
    assert estimate.error == pytest.approx(float(stats.sem(means)))
    assert estimate.p == pytest.approx(float(stats.ttest_1samp(means, 0).pvalue))


def test_family_by_hand():
    contrast = Contrast(over_seeds(SEED_ONLY), size=3)
    assert contrast.p == pytest.approx(5.786e-5, abs=5e-9)
    assert contrast.adjusted == pytest.approx(1.736e-4, abs=5e-8)
    half = contrast.interval[1] - contrast.difference
    assert half / contrast.estimate.error == pytest.approx(3.51816, abs=5e-6)
    assert contrast.interval == pytest.approx((0.8506, 1.5161), abs=5e-5)


def test_equivalence_by_hand():
    contrast = Contrast(over_seeds(ALIKE), margin=0.5)
    assert contrast.equivalence_interval == pytest.approx((-0.0625, 0.0959), abs=5e-5)
    assert contrast.equivalence_p == pytest.approx(1.47e-7, abs=5e-10)
    assert contrast.outcome is Decision.EQUIVALENT
    sides = (stats.ttest_1samp(ALIKE, -0.5, alternative="greater"), stats.ttest_1samp(ALIKE, 0.5, alternative="less"))
    assert contrast.equivalence_p == pytest.approx(max(float(side.pvalue) for side in sides))


def test_one_comparison_alone_is_a_t_test():
    expected = stats.ttest_1samp(SEED_ONLY, 0)
    contrast = Contrast(over_seeds(SEED_ONLY))
    assert contrast.adjusted == pytest.approx(float(expected.pvalue))
    assert contrast.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))


@pytest.mark.parametrize("size", [1, 3, 29])
@pytest.mark.parametrize("mean", [-0.9, -0.1, 0.0, 0.3, 2.0])
def test_interval_and_p_agree_by_construction(size, mean):
    contrast = Contrast(estimated(mean, 0.3), size)
    low, high = contrast.interval
    assert (low > 0 or high < 0) == (contrast.adjusted <= 0.05)
    inner = contrast.equivalence_interval
    within = -contrast.margin < inner[0] and inner[1] < contrast.margin
    assert within == (contrast.equivalence_p <= 0.05)


@pytest.mark.parametrize(
    ("mean", "error", "outcome"),
    [
        (0.02, 0.004, Decision.RELEVANTLY_BETTER),
        (0.01, 0.004, Decision.BETTER),
        (0.002, 0.0005, Decision.NEGLIGIBLY_BETTER),
        (0.0005, 0.001, Decision.EQUIVALENT),
        (0.005, 0.004, Decision.UNDECIDED),
        (-0.002, 0.0005, Decision.NEGLIGIBLY_WORSE),
        (-0.01, 0.004, Decision.WORSE),
        (-0.02, 0.004, Decision.RELEVANTLY_WORSE),
    ],
)
def test_outcomes(mean, error, outcome):
    assert Contrast(estimated(mean, error)).outcome is outcome


def test_few_seeds_are_described_and_not_counted_in_the_family():
    found = family({"a": estimated(1.0), "b": estimated(1.0, n=5), "c": estimated(1.0)})
    assert found["b"].outcome is Decision.DESCRIBED
    assert [found[name].size for name in "abc"] == [2, 2, 2]
    assert (
        Contrast(over_folds(dict.fromkeys(range(12), 1.0), dict.fromkeys(range(12), 0))).outcome is Decision.DESCRIBED
    )


def test_no_spread_at_all():
    assert over_seeds([0.0] * 6).p == 1
    assert over_seeds([0.25] * 6).p == 0
    assert Contrast(over_seeds([0.0] * 6)).outcome is Decision.EQUIVALENT
    assert over_seeds([0.3]).p == 1
    assert Contrast(over_seeds([0.3])).interval == (-math.inf, math.inf)


def test_the_other_side_of_a_comparison():
    contrast = Contrast(estimated(0.02, 0.004, wins=9.0), 2)
    turned = contrast.reversed
    assert turned.interval == tuple(-end for end in contrast.interval[::-1])
    assert (turned.outcome, turned.adjusted, turned.estimate.wins) == (
        Decision.RELEVANTLY_WORSE,
        contrast.adjusted,
        3.0,
    )


def test_sizes_in_words():
    assert [size_in_words(points / 100, 0.005) for points in (0.4, 0.6, 2.1, -5.5)] == [
        "negligible",
        "small",
        "moderate",
        "large",
    ]
    assert sidak(1.0, 4) == 1
    assert sidak(0.01, 1) == pytest.approx(0.01)


def leader(contrasts, pairs=None):
    pairs = pairs or {}
    return leading("joint", contrasts, lambda a, b: pairs.get((a, b)))


def test_the_leader_is_the_best_only_if_every_rival_is_beaten():
    contrasts = family({"sam": estimated(0.02, 0.002), "gnp": estimated(0.01, 0.002)})
    found = leader(contrasts, {("sam", "gnp"): estimated(0.01, 0.002)})
    assert (found.name, found.rivals, found.best) == ("sam", (), True)
    found = leader(contrasts, {("sam", "gnp"): estimated(0.01, 0.02)})
    assert (found.name, found.rivals, found.best) == ("sam", ("gnp",), False)


def test_a_leader_that_is_the_reference_has_the_rivals_that_the_family_did_not_reject():
    contrasts = family({"sam": estimated(-0.02, 0.002), "gnp": estimated(-0.001, 0.002)})
    assert leader(contrasts).rivals == ("gnp",)
    assert leader({"sam": contrasts["sam"]}).best


def test_a_leader_is_not_the_best_where_the_family_is_undecided():
    """Its own p is 0.036, adjusted over two 0.07: the family's word stands."""
    contrasts = family({"sam": estimated(0.012, 0.005), "gnp": estimated(-0.02, 0.002)})
    assert contrasts["sam"].p < 0.05 < contrasts["sam"].adjusted
    assert leader(contrasts, {("sam", "gnp"): estimated(0.03, 0.002)}).rivals == ("joint",)


def test_who_is_below_the_reference_is_no_rival_of_who_is_above_it():
    contrasts = family({"sam": estimated(0.02, 0.002), "noisy": estimated(-0.02, 0.002)})
    assert leader(contrasts, {("sam", "noisy"): estimated(0.04, 0.5)}).best


def test_collapsed_runs():
    scores = dict(enumerate([0.95, 0.951, 0.949, 0.948, 0.952, 0.31]))
    found = collapsed(scores)
    assert (found.seeds, found.runs, found.rate) == ((5,), 6, 1 / 6)
    assert found.median == pytest.approx(0.9495)
    assert collapsed(dict(enumerate([0.95] * 5 + [0.949]))).seeds == ()  # nothing spreads, and nothing that matters
    assert collapsed(dict(enumerate([0.95] * 5 + [0.9]))).seeds == (5,)

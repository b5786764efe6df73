"""How often verdicts are wrong, on a few hundred simulated pages; `scripts/simulate_evidence.py` has the large tables.

Bounds are those of the scheme plus three standard errors of so many pages. Pages are drawn from fixed seeds.
"""

import importlib.util
import sys
from pathlib import Path

import pytest

from msam_bench.analysis.balance import BalanceState
from msam_bench.analysis.sentences.balance import balance_sentences

PAGES = 200


def _script():
    path = Path(__file__).parents[2] / "scripts" / "simulate_evidence.py"
    spec = importlib.util.spec_from_file_location("simulate_evidence", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulate_evidence"] = module
    spec.loader.exec_module(module)
    return module


simulate = _script()
Setting = simulate.Setting


def above(rate, pages=PAGES):
    """A bound for a share that is `rate` in truth."""
    return rate + 3 * (rate * (1 - rate) / pages) ** 0.5


@pytest.mark.parametrize("n", [12, 20])
@pytest.mark.parametrize("kind", ["similar", "different"])
@pytest.mark.parametrize("pool", [100, 500])
def test_type_one_error_on_fixed_and_redrawn_splits(n, kind, pool):
    setting = Setting(n, kind, 100, pool)
    assert simulate.rejections(setting, PAGES) <= above(0.05)


def test_a_test_over_seeds_alone_is_wrong_on_a_fixed_split():
    """What the two-way error is for: the same pages, without it."""
    assert simulate.rejections(Setting(12, "different", 100, 100), PAGES, simulate.seeds_alone) > 0.3


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("n", [12, 20])
def test_type_one_error_over_folds(n, ratio):
    assert simulate.fold_rejections(n, ratio, 1000) <= above(0.05, 1000)


@pytest.mark.parametrize("pool", [100, 500])
def test_type_one_error_with_groups(pool):
    assert simulate.rejections(Setting(12, "different", 100, pool, groups=10), PAGES) <= above(0.07)


def test_family_wise_error_and_simultaneous_coverage():
    setting = Setting(12, "different", 100, 100, methods=4)
    assert simulate.rejections(setting, PAGES) <= above(0.05)
    assert simulate.coverage(setting, PAGES) >= 1 - above(0.05)


def test_coverage_and_power_for_a_true_difference():
    """The two-way test of the scheme has power .47 for 2.4 points at n = 12."""
    setting = Setting(12, gain=0.024)
    assert simulate.coverage(setting, PAGES) >= 1 - above(0.05)
    assert simulate.rejections(setting, PAGES) >= 0.47


@pytest.mark.parametrize("pool", [100, 500])
def test_equal_modalities_are_called_dominating_in_at_most_five_of_a_hundred_worlds(pool):
    assert simulate.states("equal", Setting(12, pool=pool), 100).get(BalanceState.DOMINATED, 0) <= 0.05


def diagnosis(kind, seed=0):
    return simulate.world(kind, Setting(12, tested=400, pool=2000), simulate.np.random.default_rng(seed))


def test_synergy_is_named():
    words = " ".join(balance_sentences(diagnosis("xor")))
    assert "Synergy: joint is +4" in words
    assert "no modality alone is shown to tell anything" in words
    assert "dominates" not in words


def test_a_modality_of_noise_contributes_nothing():
    worlds = [diagnosis("noise", seed) for seed in range(40)]
    held = [low < 0 < high for low, high in (each.contributions["b"].interval for each in worlds)]
    assert sum(held) / 40 >= 1 - above(0.05, 40)
    assert sum(each.state is BalanceState.LED for each in worlds) / 40 >= 1 - above(0.05, 40)


def test_redundancy_is_named():
    assert "Redundancy: +" in " ".join(balance_sentences(diagnosis("copies")))


def test_a_starved_modality_makes_the_other_one_dominate():
    found = diagnosis("starved")
    assert (found.state, found.leader, list(found.starved)) == (BalanceState.DOMINATED, "a", ["b"])
    assert " ".join(balance_sentences(found)).startswith("a dominates: it contributes ")

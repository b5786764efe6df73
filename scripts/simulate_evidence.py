"""How often verdicts are wrong, by simulation of methods whose true difference is known.

    python scripts/simulate_evidence.py                    # some minutes: 2,000 pages a setting
    python scripts/simulate_evidence.py --pages 200 --only fixed

Whether method j is right on sample i at seed s is a probit: `base_i + own_ij + seed_sj + noise_sij > 0`, all of them
normal. Two methods have the same mean, hence the same accuracy on the population, but not on a pool of samples, where
each is by chance the better one on more of them. "Similar" methods disagree on 6 % of the samples, "different" ones on
28 %. The true difference is that on the population of samples; a test that covers seeds alone tests something else.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from msam_bench.analysis.balance import Balance, BalanceState, weigh
from msam_bench.analysis.contrasts import Contrast, family
from msam_bench.metrics.measure import Measure
from msam_bench.metrics.uncertainty import Estimate, Runs, RunScores, over_folds, over_seeds, paired_estimate

MEAN, BASE, NOISE, SEED = 1.5, 1.0, 0.2, 0.08
OWN = {"similar": 0.33, "different": 1.6}
POOL = 500


@dataclass(frozen=True)
class Setting:
    """How a page comes about.

    Args:
        seeds: Paired seeds.
        kind: How much methods differ on single samples.
        tested: Samples that each seed tests.
        pool: Samples that there are; as many as tested for one fixed split.
        groups: Groups of samples of equal size, 0 for none.
        methods: Methods beside the reference.
        gain: True difference of the first of them to the reference.
    """

    seeds: int
    kind: str = "similar"
    tested: int = 100
    pool: int = POOL
    groups: int = 0
    methods: int = 1
    gain: float = 0.0


def page(setting: Setting, draw: np.random.Generator) -> dict[str, Runs]:
    """The runs of a reference and of its rivals, "0" and on."""
    n, own = setting.seeds, OWN[setting.kind]
    spread = np.sqrt(BASE**2 + own**2 + NOISE**2 + SEED**2)
    accuracy = stats.norm.cdf(MEAN / spread)
    shifts = [0.0, stats.norm.ppf(accuracy + setting.gain) * spread - MEAN] + [0.0] * (setting.methods - 1)
    base = draw.normal(MEAN, BASE, setting.pool)
    groups = np.arange(setting.pool) * setting.groups // setting.pool if setting.groups else None
    tested = [draw.permutation(setting.pool)[: setting.tested] for _ in range(n)]
    return {
        name: _runs(base + shift + _own(own, groups, setting.pool, draw), tested, groups, draw)
        for name, shift in zip(["reference", *map(str, range(setting.methods))], shifts, strict=True)
    }


def _own(spread: float, groups: np.ndarray | None, pool: int, draw: np.random.Generator) -> np.ndarray:
    """What a method finds easy: half of its variance that of whole groups, where there are some."""
    if groups is None:
        return draw.normal(0, spread, pool)
    return draw.normal(0, spread * 0.5**0.5, groups.max() + 1)[groups] + draw.normal(0, spread * 0.5**0.5, pool)


def _runs(
    latent: np.ndarray, tested: list[np.ndarray], groups: np.ndarray | None, draw: np.random.Generator
) -> dict[int, RunScores]:
    return {
        seed: RunScores.of(
            (latent[rows] + draw.normal(0, SEED) + draw.normal(0, NOISE, len(rows)) > 0).astype(float),
            rows,
            None if groups is None else groups[rows],
        )
        for seed, rows in enumerate(tested)
    }


Estimator = Callable[[Runs, Runs], Estimate]


def seeds_alone(method: Runs, reference: Runs) -> Estimate:
    """The test that does not know of samples."""
    return over_seeds([method[seed].score - reference[seed].score for seed in method])


def contrasts(setting: Setting, pages: int, estimator: Estimator = paired_estimate) -> list[dict[str, Contrast]]:
    """The family of each of so many pages."""
    draws = (np.random.default_rng([setting.seeds, setting.pool, setting.tested, i]) for i in range(pages))
    made = (page(setting, draw) for draw in draws)
    return [
        family({name: estimator(runs, each["reference"]) for name, runs in each.items() if name != "reference"})
        for each in made
    ]


def rejections(setting: Setting, pages: int, estimator: Estimator = paired_estimate) -> float:
    """Share of pages on which some method is called better or worse: type I and family-wise error, or power."""
    return float(
        np.mean([any(c.adjusted <= 0.05 for c in each.values()) for each in contrasts(setting, pages, estimator)])
    )


def coverage(setting: Setting, pages: int) -> float:
    """Share of pages whose simultaneous intervals all hold the true difference."""
    truth = {str(i): setting.gain if i == 0 else 0.0 for i in range(setting.methods)}
    found = contrasts(setting, pages)
    return float(np.mean([all(c.interval[0] <= truth[m] <= c.interval[1] for m, c in each.items()) for each in found]))


def fold_rejections(seeds: int, ratio: float, pages: int, folds: int = 5) -> float:
    """Type I error where folds differ so many times as much as seeds."""
    draw = np.random.default_rng([seeds, int(10 * ratio)])
    of = {seed: seed % folds for seed in range(seeds)}

    def rejects() -> bool:
        offset = draw.normal(0, ratio, folds)
        return over_folds({seed: offset[of[seed]] + draw.normal() for seed in of}, of).p <= 0.05

    return float(np.mean([rejects() for _ in range(pages)]))


# ---- diagnosis -------------------------------------------------------------------------------------------------------

CHANCE = 0.5
"""Two classes of equal size."""


def world(kind: str, setting: Setting, draw: np.random.Generator) -> Balance:
    """The diagnosis of two modalities: equal, one that is noise, XOR, copies, or one that starves the other."""
    pool, n = setting.pool, setting.seeds
    labels = draw.integers(0, 2, pool)
    tested = [draw.permutation(pool)[: setting.tested] for _ in range(n)]
    strong = lambda: draw.normal(1.0, 1.0, pool)  # noqa: E731
    first, second = strong(), strong()
    together = first + second
    guess = np.zeros(pool)
    if kind == "noise":
        second, together = guess, first
    elif kind == "xor":
        first, second, together = guess, guess, draw.normal(3.0, 1.0, pool)
    elif kind == "copies":
        second, together = first, first
    elif kind == "starved":
        together = first + 0.2 * second

    def runs(latent: np.ndarray, more: float = 0.0) -> dict[int, RunScores]:
        noise = 0.6 if latent is not guess else 1.0
        return {
            seed: RunScores.of(
                (latent[rows] + draw.normal(0, SEED) + draw.normal(0, noise, len(rows)) > -more).astype(float), rows
            )
            for seed, rows in enumerate(tested)
        }

    apart = {"a": runs(first), "b": runs(second)}
    starving = kind == "starved"
    inside = {"a": runs(first), "b": runs(second - 1.0 if starving else second)}
    joint = runs(together)
    chance = {seed: RunScores.of((labels[rows] == 0).astype(float), rows) for seed, rows in enumerate(tested)}
    values = {
        name: {s: _half(joint[s], inside[name][s], inside[other][s]) for s in joint}
        for name, other in (("a", "b"), ("b", "a"))
    }
    probes = {name: (runs(first if name == "a" else second), inside[name]) for name in apart}
    return weigh(Measure(), joint, chance, values, apart, probes)


def _half(joint: RunScores, own: RunScores, other: RunScores) -> RunScores:
    """The Shapley value of one of two players, for each sample."""
    parts = 0.5 * (own.contributions + joint.contributions - other.contributions)
    return RunScores.of(parts, joint.samples)


def states(kind: str, setting: Setting, worlds: int) -> dict[BalanceState, float]:
    """Share of worlds with each decision."""
    found = [world(kind, setting, np.random.default_rng([7, i])).state for i in range(worlds)]
    return {state: found.count(state) / worlds for state in BalanceState if state in found}


# ---- tables ----------------------------------------------------------------------------------------------------------


def sampling(pages: int) -> None:
    """Type I error and power by split."""
    splits = {"redrawn": (100, POOL), "fixed": (100, 100), "mostly tested": (1600, 2000)}
    print(f"{'split':14} {'kind':10} {'n':>3} {'seeds alone':>12} {'two-way':>8} {'coverage':>9}")
    for split, (tested, pool) in splits.items():
        for kind in OWN:
            for n in (6, 12, 20):
                setting = Setting(n, kind, tested, pool)
                rates = (rejections(setting, pages, seeds_alone), rejections(setting, pages), coverage(setting, pages))
                print(f"{split:14} {kind:10} {n:>3} {rates[0]:>12.3f} {rates[1]:>8.3f} {rates[2]:>9.3f}", flush=True)


def grouped(pages: int) -> None:
    """Type I error where samples come in groups."""
    for split, pool in (("fixed", 100), ("redrawn", POOL)):
        for groups in (10, 25):
            for n in (12, 20):
                rate = rejections(Setting(n, "different", 100, pool, groups), pages)
                print(f"groups: {split:8} {groups} groups of the pool, n = {n}: {rate:.3f}", flush=True)


def families(pages: int) -> None:
    """Family-wise error and simultaneous coverage of four comparisons."""
    for split, pool in (("fixed", 100), ("redrawn", POOL)):
        for kind in OWN:
            setting = Setting(12, kind, 100, pool, methods=4)
            error, covered = rejections(setting, pages), coverage(setting, pages)
            print(f"family of 4: {split:8} {kind:10} error {error:.3f}, coverage {covered:.3f}", flush=True)


def power(pages: int) -> None:
    """Power for a true gain of 2.4 points, and coverage of it."""
    for n in (6, 12, 20):
        setting = Setting(n, gain=0.024)
        print(f"power: +2.4 points, redrawn, similar, n = {n}: two-way {rejections(setting, pages):.3f}, "
              f"coverage {coverage(setting, pages):.3f}", flush=True)  # fmt: skip


def folds(pages: int) -> None:
    """Type I error where seeds go round five folds."""
    for ratio in (0.5, 1.0, 2.0):
        rates = ", ".join(f"n = {n}: {fold_rejections(n, ratio, pages):.3f}" for n in (10, 12, 20))
        print(f"folds: spread of folds over that of seeds {ratio}: {rates}", flush=True)


def diagnoses(pages: int) -> None:
    """Decisions of a diagnosis."""
    for kind in ("equal", "noise", "xor", "copies", "starved"):
        for name, setting in {"redrawn": Setting(12), "fixed": Setting(12, pool=100)}.items():
            found = states(kind, setting, max(100, pages // 10))
            print(
                f"diagnosis: {kind:8} {name:8} { ({state.name: share for state, share in found.items()}) }", flush=True
            )


TABLES = {"split": sampling, "groups": grouped, "family": families, "power": power, "folds": folds}
TABLES["diagnosis"] = diagnoses


def main() -> None:
    """Every table, or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=2000, help="simulated pages a setting")
    parser.add_argument("--only", choices=TABLES)
    given = parser.parse_args()
    for table in [TABLES[given.only]] if given.only else TABLES.values():
        table(given.pages)


if __name__ == "__main__":
    main()

"""How sure a mean paired difference is: over seeds and test samples at once, over folds, or over seeds alone.

    estimate = paired_estimate(sam, joint)                # seed -> RunScores, for each of the two
    estimate.difference, estimate.error, estimate.freedom # mean over seeds, its standard error, degrees of freedom
    estimate.basis                                        # "samples": the test samples are drawn, too

A test over seeds alone answers "would other seeds agree", for the samples that happen to be in the pool; it says
nothing of other samples. The two-way error adds what the choice of test samples (or of groups of samples, such as
people) contributes: with `e[s, i]` the deviation of the difference of seed s on sample i from the mean, over C cells,

    V_seeds = sum_s (sum_i e)^2 / C^2 * n / (n - 1),    V_units = sum_i (sum_s e)^2 / C^2,    V_cells = sum e^2 / C^2,
    V = max(V_seeds + V_units - V_cells, V_seeds, V_units),

the variance of a mean under two crossed clusterings (Cameron, Gelbach and Miller, JBES 29, 2011), with Student's t of
n - 1 degrees of freedom, and never more than units - 1. Groups are few where samples are many, so that their variance
takes the factor of few clusters, G / (G - 1), too.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Basis = Literal["samples", "groups", "folds", "seeds"]
"""What a standard error covers beside seeds: test samples, groups of them, or folds; or seeds alone."""


@dataclass(frozen=True, eq=False)
class RunScores:
    """What one run reached on its test split; higher is better.

    Args:
        score: The score of the run, the mean of `contributions` where they are known.
        contributions: What each test sample adds, `[samples]`; None for a run that kept no predictions.
        samples: The stable id of each of these samples, `[samples]`.
        groups: The id of the group that each belongs to, `[samples]`; None where samples have no groups.
    """

    score: float
    contributions: Floats | None = None
    samples: Integers | None = None
    groups: Integers | None = None

    @classmethod
    def of(cls, contributions: Floats, samples: Integers, groups: Integers | None = None) -> RunScores:
        """The scores of a run that kept its predictions."""
        return cls(float(contributions.mean()), contributions, samples, groups)


Runs = Mapping[int, RunScores]
"""Seed -> scores of the run of one method."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Differences between two methods, one a tested cell: a seed and a sample.

    Args:
        seed: Index of the seed of each cell, `[cells]`.
        unit: Index of its sample, or of its group, `[cells]`.
        difference: Contribution of the sample in one method minus that in the other, `[cells]`.
        fixed: Whether every seed tests the same samples.
        grouped: Whether units are groups.
    """

    seed: Integers
    unit: Integers
    difference: Floats
    fixed: bool
    grouped: bool = False


@dataclass(frozen=True)
class Estimate:
    """A mean difference and how sure it is.

    Args:
        difference: Mean over seeds (over folds, where they are the basis) of one method minus the other.
        error: Its standard error; 0 where there is nothing to estimate it from.
        freedom: Degrees of freedom of its Student's t; 0 where there is nothing to estimate it from.
        seeds: Number of paired seeds.
        basis: What the error covers.
        fixed: Whether every seed tests the same samples; None where the samples are not known.
        wins: Number of seeds on which the difference is above 0, ties counted as half.
        units: Number of test samples, groups or folds that the error covers; 0 for seeds alone.
    """

    difference: float
    error: float
    freedom: int
    seeds: int
    basis: Basis
    fixed: bool | None = None
    wins: float = 0.0
    units: int = 0

    @property
    def p(self) -> float:
        """Two-sided p of "the mean difference is 0"; 1 where there is no degree of freedom."""
        from scipy.special import stdtr

        if not self.freedom:
            return 1.0
        if self.error == 0:
            return float(self.difference == 0)
        return float(2 * stdtr(self.freedom, -abs(self.difference) / self.error))


def combined(*parts: tuple[float, Runs]) -> Runs:
    """The weighted sum of the scores of runs, seed by seed over the seeds that all have.

    Contributions are kept where all of them have some, with the samples and groups of the first.
    """
    first = parts[0][1]
    seeds = [seed for seed in first if all(seed in runs for _, runs in parts)]
    return {seed: _sum([(weight, runs[seed]) for weight, runs in parts]) for seed in seeds}


def _sum(parts: Sequence[tuple[float, RunScores]]) -> RunScores:
    score = math.fsum(weight * run.score for weight, run in parts)
    weighted = [weight * run.contributions for weight, run in parts if run.contributions is not None]
    first = parts[0][1]
    if len(weighted) < len(parts):
        return RunScores(score)
    return RunScores(score, np.asarray(np.sum(weighted, axis=0)), first.samples, first.groups)


def paired_estimate(method: Runs, reference: Runs, folds: Mapping[int, Hashable] | None = None) -> Estimate:
    """The mean of method minus reference over the seeds that both have.

    Folds are the basis where seeds go round several of them; else test samples, or groups of them, where both methods
    kept their predictions; else seeds alone.

    Raises:
        ValueError: No seed is common, a score is not finite, or the two were tested on different samples.
    """
    seeds = sorted(method.keys() & reference.keys())
    if not seeds:
        raise ValueError(f"Pairs need common seeds, but one has {sorted(method)} and the other {sorted(reference)}.")
    differences = {seed: method[seed].score - reference[seed].score for seed in seeds}
    if not all(map(math.isfinite, differences.values())):
        raise ValueError(f"Statistics need finite numbers, but the differences by seed are {differences}.")
    wins = sum((d > 0) + 0.5 * (d == 0) for d in differences.values())
    if folds and len({folds.get(seed) for seed in seeds}) > 1:
        return over_folds(differences, folds, wins)
    if any(runs[seed].contributions is None for runs in (method, reference) for seed in seeds):
        return over_seeds(list(differences.values()), wins)
    return two_way(paired_cells(method, reference, seeds), wins)


def paired_cells(method: Runs, reference: Runs, seeds: Sequence[int]) -> Cells:
    """The differences of every tested sample, seed by seed.

    Raises:
        ValueError: The two were tested on different samples at a seed.
    """
    for seed in seeds:
        if not np.array_equal(_samples(method[seed]), _samples(reference[seed])):
            raise ValueError(
                f"Runs of seed {seed} were tested on different samples, so that they are no pair; train one of the "
                "two again on the data as they are now."
            )
    samples = [_samples(method[seed]) for seed in seeds]
    groups = [method[seed].groups for seed in seeds]
    known = [group for group in groups if group is not None]
    grouped = len(known) == len(seeds)
    counts = [len(tested) for tested in samples]
    return Cells(
        seed=np.repeat(np.arange(len(seeds)), counts),
        unit=np.unique(np.concatenate(known if grouped else samples), return_inverse=True)[1],
        difference=np.concatenate([_contributions(method[s]) - _contributions(reference[s]) for s in seeds]),
        fixed=all(np.array_equal(np.sort(tested), np.sort(samples[0])) for tested in samples),
        grouped=grouped,
    )


def two_way(cells: Cells, wins: float = 0.0) -> Estimate:
    """The mean over seeds, with the error of seeds crossed with samples or groups.

    Each seed counts alike: where seeds test different numbers of samples, cells are weighted by the inverse of these.
    """
    count, sizes = len(cells.difference), np.bincount(cells.seed)
    n, units = len(sizes), int(cells.unit.max()) + 1
    weight = count / (n * sizes[cells.seed])
    mean = float(weight @ cells.difference) / count
    deviation = weight * (cells.difference - mean)
    v_seeds, v_units, v_cells = variances(cells, deviation)
    if n < 2 or units < 2:
        return Estimate(mean, 0.0, 0, n, "groups" if cells.grouped else "samples", cells.fixed, wins, units)
    error = math.sqrt(max(v_seeds + v_units - v_cells, v_seeds, v_units))
    basis: Basis = "groups" if cells.grouped else "samples"
    return Estimate(mean, error, min(n, units) - 1, n, basis, cells.fixed, wins, units)


def variances(cells: Cells, deviation: Floats) -> tuple[float, float, float]:
    """The variances of the mean by seeds, by units and by cells, from weighted deviations `[cells]`."""
    n, units = int(cells.seed.max()) + 1, int(cells.unit.max()) + 1
    pairs = np.unique(cells.seed * units + cells.unit, return_inverse=True)[1]
    by_seed, by_unit, by_cell = (
        float(np.square(np.bincount(keys, deviation)).sum()) / len(deviation) ** 2
        for keys in (cells.seed, cells.unit, pairs)
    )
    few = units / max(1, units - 1) if cells.grouped else 1.0
    return by_seed * n / max(1, n - 1), by_unit * few, by_cell


def over_folds(differences: Mapping[int, float], folds: Mapping[int, Hashable], wins: float = 0.0) -> Estimate:
    """The mean of the folds' means, whose spread is the error: what differs between folds is in it."""
    means = [
        math.fsum(of_fold) / len(of_fold)
        for fold in dict.fromkeys(folds.get(seed) for seed in differences)
        if (of_fold := [difference for seed, difference in differences.items() if folds.get(seed) == fold])
    ]
    mean, error = _mean_and_error(means)
    return Estimate(mean, error, len(means) - 1, len(differences), "folds", False, wins, len(means))


def over_seeds(differences: Sequence[float], wins: float = 0.0) -> Estimate:
    """The mean over seeds, with the error of seeds alone: it does not cover the choice of test samples."""
    mean, error = _mean_and_error(differences)
    return Estimate(mean, error, len(differences) - 1, len(differences), "seeds", None, wins)


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    spread = math.fsum((value - mean) ** 2 for value in values)
    return mean, math.sqrt(spread / (len(values) - 1) / len(values)) if len(values) > 1 else 0.0


def _samples(run: RunScores) -> Integers:
    return np.empty(0, np.int64) if run.samples is None else run.samples


def _contributions(run: RunScores) -> Floats:
    return np.empty(0) if run.contributions is None else run.contributions

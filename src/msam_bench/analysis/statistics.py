"""What runs on paired seeds can show, and what they cannot.

Every method runs on the same seeds, so methods are compared seed by seed: the mean paired difference with a bootstrap
interval first, the sign-flip permutation p second (adjusted by Holm where several methods meet one reference).
`msam_bench.analysis.sentences` puts what they show into words.

    msam, joint = {0: 0.97, 1: 0.96, 2: 0.98}, {0: 0.96, 1: 0.95, 2: 0.96}
    paired_difference(msam, joint)             # difference, low, high, p, n, probability_of_improvement
    comparisons = against({"joint": joint, "msam": msam}, "joint")
"""

import itertools
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

LEVEL = 0.05  # differences are called at 5 %, intervals cover 95 %
EXACT_UP_TO = 16  # paired seeds: 65,536 sign patterns, enumerated
FLIPS = 99_999  # sign patterns drawn above that, in nine parts
RESAMPLES = 9_999  # bootstrap samples
FEWEST = 3  # degrees of freedom of a bootstrap interval, Student's t below

Seeds = Mapping[int, float]  # one value for each seed


@dataclass(frozen=True)
class Summary:
    """Values of one method over its seeds: `sd` is None for a single value, `iqm` the mean of the middle half."""

    n: int
    mean: float
    sd: float | None
    iqm: float


@dataclass(frozen=True)
class Comparison:
    """One method against a reference over the seeds both have.

    Attributes:
        n: Number of paired seeds.
        difference: Mean over seeds of method minus reference.
        low: Lower end of the 95 % interval of that mean (`bootstrap_interval`), None for one pair.
        high: Upper end, None for one pair.
        p: Two-sided sign-flip permutation p, before any adjustment.
        exact: True when every sign pattern was counted, False when patterns were drawn at random.
        seed: Seed of the bootstrap and of the drawn sign patterns.
        probability_of_improvement: Share of the paired seeds on which the method is better, ties counted as half.
        unpaired: Number of seeds left out because only one of the two has them.
        strata: Number of blocks that were strata of the bootstrap, 1 for none.
        adjusted: Holm-adjusted p, None where the comparison stands alone.
        family: Number of comparisons adjusted together.
    """

    n: int
    difference: float
    low: float | None
    high: float | None
    p: float
    exact: bool
    seed: int
    probability_of_improvement: float
    unpaired: int = 0
    strata: int = 1
    adjusted: float | None = None
    family: int = 1

    @property
    def evidence(self) -> float:
        """The p to judge by: adjusted where there is a family, else as it is."""
        return self.p if self.adjusted is None else self.adjusted

    @property
    def smallest_p(self) -> float:
        """The smallest two-sided p that so many pairs can give, before adjustment."""
        return 2.0 / 2**self.n if self.exact else 1.0 / (FLIPS + 1)

    @property
    def differs(self) -> bool:
        """Whether the difference is supported at the 5 % level."""
        return self.evidence <= LEVEL

    @property
    def interval(self) -> str:
        """How the interval was made: "bootstrap", "Student's t" or, for one pair, "none"."""
        if self.n < 2:
            return "none"
        return "bootstrap" if self.n - self.strata >= FEWEST else "Student's t"


def summarise(values: Iterable[float]) -> Summary:
    """Gives mean, standard deviation (n - 1) and interquartile mean (a quarter trimmed from each end).

    Raises:
        ValueError: If there is no value or one of them is not finite.
    """
    from scipy import stats

    numbers = _finite(enumerate(values), "value")
    mean = math.fsum(numbers) / len(numbers)
    spread = math.sqrt(math.fsum((x - mean) ** 2 for x in numbers) / (len(numbers) - 1)) if len(numbers) > 1 else None
    return Summary(len(numbers), mean, spread, float(stats.trim_mean(numbers, 0.25)))


def paired_difference(
    values: Seeds,
    reference: Seeds,
    *,
    blocks: Mapping[int, Hashable] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compares two methods over the seeds both have.

    Args:
        values: One value a seed of the method.
        reference: One value a seed of what it is compared with.
        blocks: Seed -> block (such as the subject fold): each block is a stratum of the bootstrap, so that differences
            between blocks do not count as noise. Ignored when a block has a single seed.
        resamples: Bootstrap samples.
        seed: Of the bootstrap, and of the sign patterns drawn above 16 pairs.

    Raises:
        ValueError: If a value is not finite or no seed is common.
    """
    _finite(values.items(), "value of seed")
    _finite(reference.items(), "reference value of seed")
    common = sorted(values.keys() & reference.keys())
    if not common:
        raise ValueError(f"Pairs need common seeds, but one has {sorted(values)} and the other {sorted(reference)}.")
    pairs = {s: float(values[s]) - float(reference[s]) for s in common}
    differences = list(pairs.values())
    strata = _strata(pairs, blocks)
    low, high = bootstrap_interval(strata, resamples=resamples, seed=seed)
    return Comparison(
        n=len(common),
        difference=math.fsum(differences) / len(common),
        low=low,
        high=high,
        p=sign_flip_p(differences, seed=seed),
        exact=len(common) <= EXACT_UP_TO,
        seed=seed,
        probability_of_improvement=sum((d > 0) + 0.5 * (d == 0) for d in differences) / len(common),
        unpaired=len(values.keys() ^ reference.keys()),
        strata=len(strata),
    )


def sign_flip_p(differences: Sequence[float], *, seed: int = 0) -> float:
    """Gives the two-sided p of "the sign of each difference is a coin toss": exact up to 16, drawn above.

    The sign patterns are one matrix product: the same number as `scipy.stats.permutation_test` with
    `permutation_type="samples"` gives, in a few hundredths of its second.
    """
    import numpy as np

    numbers, n = np.asarray(differences, dtype=float), len(differences)
    bound = abs(float(numbers.sum())) * (1 - 1e-12) - 1e-15
    if n <= EXACT_UP_TO:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(np.abs(signs @ numbers) >= bound))
    draw, parts = np.random.default_rng(seed), 9
    drawn = (draw.choice((-1.0, 1.0), (FLIPS // parts, n)) for _ in range(parts))
    return (1 + sum(np.count_nonzero(np.abs(signs @ numbers) >= bound) for signs in drawn)) / (FLIPS + 1)


def bootstrap_interval(
    strata: Sequence[Sequence[float]], *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float] | tuple[None, None]:
    """Gives the 95 % bootstrap interval of the mean of all values, given in strata.

    The deviations from each stratum's mean are resampled, enlarged by sqrt(k / (k - 1)) for a stratum of k, and the
    percentile level is widened to what Student's t asks for with n - strata degrees of freedom ("expanded percentile",
    Hesterberg 2015, arXiv 1411.5279): without both, intervals of few values are too narrow. With fewer than three
    degrees of freedom resampling cannot reach far enough, so that Student's t interval stands in.
    """
    import numpy as np
    from scipy import stats

    n = sum(map(len, strata))
    if n < 2:
        return None, None
    free, mean = n - len(strata), math.fsum(itertools.chain(*strata)) / n
    deviations = np.concatenate([(np.asarray(s) - np.mean(s)) * math.sqrt(len(s) / (len(s) - 1)) for s in strata])
    reach = float(stats.t.ppf(1 - LEVEL / 2, free))
    if free < FEWEST:
        half = reach * math.sqrt(float(np.mean(deviations**2)) / n)
        return mean - half, mean + half
    options = {
        "n_resamples": resamples,
        "method": "percentile",
        "confidence_level": 1 - 2 * float(stats.norm.sf(reach)),
    }
    ends = stats.bootstrap((deviations,), np.mean, rng=np.random.default_rng(seed), **options).confidence_interval
    return mean + float(ends.low), mean + float(ends.high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts p-values for being many (Holm 1979), in the order given.

    Raises:
        ValueError: If one is not a number between 0 and 1.
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise ValueError(f"A p-value lies between 0 and 1, but one of those to adjust is {p}.")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def against(
    values: Mapping[str, Seeds], reference: str, *, blocks: Mapping[int, Hashable] | None = None, seed: int = 0
) -> dict[str, Comparison]:
    """Compares every other method that shares a seed with `reference`, as one Holm family."""
    base = values[reference]
    others = {name: seeds for name, seeds in values.items() if name != reference and seeds.keys() & base.keys()}
    return adjust({name: paired_difference(seeds, base, blocks=blocks, seed=seed) for name, seeds in others.items()})


def adjust(comparisons: Mapping[str, Comparison]) -> dict[str, Comparison]:
    """Adjusts comparisons as one Holm family."""
    adjusted = holm([comparison.p for comparison in comparisons.values()])
    return {
        name: replace(comparison, adjusted=p, family=len(comparisons))
        for (name, comparison), p in zip(comparisons.items(), adjusted, strict=True)
    }


def powerless(comparisons: Mapping[str, Comparison]) -> bool:
    """Says whether there are too few pairs for any of these comparisons to show a difference, however large."""
    return min((c.family * c.smallest_p for c in comparisons.values()), default=1.0) > LEVEL


def _finite(items: Iterable[tuple[Hashable, float]], what: str) -> list[float]:
    """Gives the values, none of them missing or infinite."""
    pairs = [(key, float(value)) for key, value in items]
    for key, value in pairs:
        if not math.isfinite(value):
            raise ValueError(f"Statistics need finite numbers, but the {what} {key} is {value}.")
    if not pairs:
        raise ValueError("Statistics need at least one value, but there is none.")
    return [value for _, value in pairs]


def _strata(pairs: Seeds, blocks: Mapping[int, Hashable] | None) -> list[list[float]]:
    """Groups the differences by block, all in one group where a block would have a single value."""
    groups: dict[Hashable, list[float]] = {}
    for seed, difference in pairs.items():
        groups.setdefault(blocks.get(seed) if blocks else None, []).append(difference)
    return [*groups.values()] if min(map(len, groups.values())) > 1 else [[*pairs.values()]]

"""Do methods end in flatter minima, and where: the measurements of many runs, paired by seed.

    comparison = compare(records, measurements)   # measurements: folder -> those of a run, see measurement.py
    comparison.weaker["trace"]["msam"]              # of the non-dominant encoders, as log ratio to joint training

Measures of curvature are positive and differ by factors, so methods are compared by ratios: the mean difference of
logarithms over paired seeds, with interval and Holm-adjusted p.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msam_bench.analysis.flatness.measurement import JOINT, Measurement
from msam_bench.analysis.flatness.measures import SCORE, TAU
from msam_bench.analysis.statistics import Comparison, against, summarise

if TYPE_CHECKING:
    from msam_bench.runs.record import RunRecord

Values = dict[str, dict[int, float]]
"""Method -> seed -> value."""


@dataclass(frozen=True)
class Line:
    """One measure of one block: every method's values and how they compare with the reference.

    Args:
        view: whose loss.
        block: which weights.
        measure: a key of `MEASURES`.
        values: method -> seed -> value, those that are finite.
        errors: method -> mean error of its values, of those that have one.
        ratios: method -> comparison of the natural logarithms with the reference; empty if a value is not positive.
    """

    view: str
    block: str
    measure: str
    values: Values
    errors: dict[str, float]
    ratios: dict[str, Comparison]

    @property
    def named(self) -> str:
        """The measure, where it is of all weights under the loss of all modalities; else nothing."""
        return self.measure if (self.view, self.block) == (JOINT, "all") else ""


@dataclass(frozen=True)
class FlatnessComparison:
    """What the measurements of many runs show.

    Args:
        reference: the method that the others are compared with.
        methods: all of them, the reference first.
        modalities: in their canonical order.
        dominant: seed -> the modality that led, and how that was decided.
        lines: one for each view, block and measure.
        at: at which weights all of this was measured.
        weaker: measure -> comparison of each method's non-dominant encoders with the reference's, as log ratios.
        alone: accuracy of the non-dominant modalities alone, differences in accuracy.
        tested: method -> seed -> test accuracy of all modalities.
        accuracy: its differences.
    """

    reference: str
    methods: tuple[str, ...]
    modalities: tuple[str, ...]
    dominant: dict[int, str]
    lines: tuple[Line, ...]
    at: str
    weaker: dict[str, dict[str, Comparison]]
    alone: dict[str, Comparison]
    tested: Values
    accuracy: dict[str, Comparison]


def compare(
    records: Sequence[RunRecord],
    measurements: Mapping[Path, Sequence[Measurement]],
    reference: str = "joint",
    at: str = "at the selected weights",
) -> FlatnessComparison:
    """Compares methods over paired seeds, each measure as the ratio to the reference.

    The dominant modality of a seed is the one that led most batches of the first method that names one (M-SAM); the
    others are its non-dominant modalities, for every method of that seed.

    Raises:
        ValueError: if there are no runs, runs of several data sets, or no run of the reference.
    """
    labels = list(dict.fromkeys(record.label for record in records))
    if reference not in labels:
        raise ValueError(f"Flatness is compared with {reference}, of which there is no run; add it to the methods.")
    if len({(record.config["data"], record.config["fusion"]) for record in records}) > 1:
        raise ValueError("These runs are of different data or fusions; compare runs of one.")
    methods = (reference, *(label for label in labels if label != reference))
    lines = tuple(_lines(records, measurements, methods, reference))
    dominant = _dominant(records)
    weaker = {
        name: compared
        for name in ("ball", "adaptive", "eigenvalue", "trace")
        if (compared := _against(_weaker(lines, dominant, name, methods), reference))
    }
    tested = {line.block: line.values for line in lines if line.measure == SCORE}
    alone = _against(_alone(tested, dominant, methods), reference)
    modalities = tuple(records[0].data["modalities"])
    about = (reference, methods, modalities, dominant, lines, at, weaker)
    return FlatnessComparison(*about, alone, tested["all"], _against(tested["all"], reference))


def _lines(
    records: Sequence[RunRecord],
    measurements: Mapping[Path, Sequence[Measurement]],
    methods: Sequence[str],
    reference: str,
) -> Iterator[Line]:
    by_run = {
        (record.label, record.seed): {_key(one): one for one in measurements[record.folder]} for record in records
    }
    keys = dict.fromkeys(key for sites in by_run.values() for key in sites)
    for key in keys:
        values: Values = {method: {} for method in methods}
        errors: dict[str, list[float]] = {method: [] for method in methods}
        for (method, seed), sites in by_run.items():
            if key in sites and math.isfinite(sites[key].value):
                values[method][seed] = sites[key].value
                errors[method].append(sites[key].error)
        known = {method: [error for error in numbers if math.isfinite(error)] for method, numbers in errors.items()}
        mean = {method: sum(numbers) / len(numbers) for method, numbers in known.items() if numbers}
        compared = {} if key[2] in (SCORE, TAU) else _against(_logarithms(values), reference)
        yield Line(*key, values, mean, compared)


def _key(one: Measurement) -> tuple[str, str, str]:
    return one.view, one.block, one.measure


def _logarithms(values: Values) -> Values:
    """Natural logarithms; nothing at all if some value has none."""
    if any(value <= 0 for by_seed in values.values() for value in by_seed.values()):
        return {}
    return {method: {seed: math.log(value) for seed, value in by_seed.items()} for method, by_seed in values.items()}


def _against(values: Values, reference: str) -> dict[str, Comparison]:
    return against(values, reference) if values.get(reference) else {}


def _dominant(records: Sequence[RunRecord]) -> dict[int, str]:
    dominant: dict[int, str] = {}
    for record in sorted(records, key=lambda it: (not it.label.startswith("msam"), it.label)):
        led: dict[str, float] = {}
        for row in record.metrics:
            for key, share in row.items():
                if key.startswith("dominant/"):
                    led[key.partition("/")[2]] = led.get(key.partition("/")[2], 0.0) + share
        led = led or record.summary["contributions"]
        dominant.setdefault(record.seed, max(led, key=lambda name: led[name]))
    return dominant


def _weaker(lines: Sequence[Line], dominant: Mapping[int, str], measure: str, methods: Sequence[str]) -> Values:
    """Mean log measure over the encoders of the non-dominant modalities, under the loss of all modalities."""
    blocks = [it for it in lines if it.view == JOINT and it.measure == measure and it.block not in ("all", "fusion")]
    means: Values = {method: {} for method in methods}
    for method in methods:
        for seed, leader in dominant.items():
            sharpness = [line.values[method].get(seed, 0.0) for line in blocks if line.block != leader]
            if sharpness and min(sharpness) > 0:
                means[method][seed] = sum(map(math.log, sharpness)) / len(sharpness)
    return means


def _alone(tested: Mapping[str, Values], dominant: Mapping[int, str], methods: Sequence[str]) -> Values:
    """Mean accuracy of the non-dominant modalities, each alone."""
    means: Values = {method: {} for method in methods}
    for method in methods:
        for seed, leader in dominant.items():
            scores = [by[method].get(seed, math.nan) for name, by in tested.items() if name not in ("all", leader)]
            if scores and not math.isnan(sum(scores)):
                means[method][seed] = sum(scores) / len(scores)
    return means


def rows(study: FlatnessComparison) -> list[dict[str, Any]]:
    """The long table: one row a view, block, measure and method, unrounded."""
    table = []
    for line in study.lines:
        for method in study.methods:
            if not line.values[method]:
                continue
            summary, ratio = summarise(line.values[method].values()), line.ratios.get(method)
            where = {"loss_of": line.view, "block": line.block, "measure": line.measure, "method": method}
            mean = {"n": summary.n, "mean": summary.mean, "sd": summary.sd, "error": line.errors.get(method)}
            factors = {name: _factor(ratio, key) for name, key in _FACTORS.items()}
            table.append({**where, **mean, **factors, "p": None if ratio is None else ratio.evidence})
    return table


_FACTORS = {"ratio": "difference", "ratio_low": "low", "ratio_high": "high"}


def _factor(ratio: Comparison | None, key: str) -> float | None:
    value = None if ratio is None else getattr(ratio, key)
    return None if value is None else math.exp(value)

"""Do methods end in flatter minima, and where: the measurements of many runs, paired by seed, and an answer in words.

    study = compare(records, found)            # found: folder -> measurements, see measuring.py
    study.answer                               # "Dominant: ... msam: the non-dominant encoders are ..."

Measures of curvature are positive and differ by factors, so methods are compared by ratios: the mean difference of
logarithms over paired seeds, with interval and Holm-adjusted p.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msam_bench.statistics import Comparison, against, p_text, summarise, words

from .measuring import JOINT, Measurement

if TYPE_CHECKING:
    from msam_bench.runs import Record

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
        errors: method -> mean error of its values.
        ratios: method -> comparison of the natural logarithms with the reference; empty if a value is not positive.
    """

    view: str
    block: str
    measure: str
    values: Values
    errors: dict[str, float]
    ratios: dict[str, Comparison]


@dataclass(frozen=True)
class Study:
    """What the measurements of many runs show.

    Args:
        reference: the method that the others are compared with.
        methods: all of them, the reference first.
        modalities: in their canonical order.
        dominant: seed -> the modality that led, and how that was decided.
        lines: one for each view, block and measure.
        weaker: measure -> comparison of each method's non-dominant encoders with the reference's, as log ratios.
        alone: accuracy of the non-dominant modalities alone, differences in accuracy.
        tested: method -> seed -> test accuracy of all modalities.
        accuracy: its differences.
        answer: the non-dominant encoders in a sentence, and which modality led.
        details: a sentence or two for each method, with the numbers.
    """

    reference: str
    methods: tuple[str, ...]
    modalities: tuple[str, ...]
    dominant: dict[int, str]
    lines: tuple[Line, ...]
    weaker: dict[str, dict[str, Comparison]]
    alone: dict[str, Comparison]
    tested: Values
    accuracy: dict[str, Comparison]
    answer: str = ""
    details: tuple[str, ...] = ()


def compare(records: Sequence[Record], found: Mapping[Path, Sequence[Measurement]], reference: str = "joint") -> Study:
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
    lines = tuple(_lines(records, found, methods, reference))
    dominant = _dominant(records)
    weaker = {
        name: compared
        for name in ("ball", "adaptive", "eigenvalue", "trace")
        if (compared := _against(_weaker(lines, dominant, name, methods), reference))
    }
    alone = _against(_accuracy(records, dominant), reference)
    tested = _by_method(records, lambda record: float(record.summary["test_accuracy"]))
    modalities = tuple(records[0].data["modalities"])
    about = (reference, methods, modalities, dominant, lines, weaker)
    study = Study(*about, alone, tested, _against(tested, reference))
    return replace(study, answer=_answer(study), details=tuple(_of_method(study, name) for name in methods[1:]))


def _lines(
    records: Sequence[Record], found: Mapping[Path, Sequence[Measurement]], methods: Sequence[str], reference: str
) -> Iterator[Line]:
    by_run = {(record.label, record.seed): {_key(one): one for one in found[record.folder]} for record in records}
    keys = dict.fromkeys(key for own in by_run.values() for key in own)
    for key in keys:
        values: Values = {method: {} for method in methods}
        errors: dict[str, list[float]] = {method: [] for method in methods}
        for (method, seed), own in by_run.items():
            if key in own and math.isfinite(own[key].value):
                values[method][seed] = own[key].value
                errors[method].append(own[key].error)
        mean = {method: sum(own) / len(own) for method, own in errors.items() if own}
        yield Line(*key, values, mean, _against(_logarithms(values), reference))


def _key(one: Measurement) -> tuple[str, str, str]:
    return one.view, one.block, one.measure


def _logarithms(values: Values) -> Values:
    """Natural logarithms; nothing at all if some value has none."""
    if any(value <= 0 for own in values.values() for value in own.values()):
        return {}
    return {method: {seed: math.log(value) for seed, value in own.items()} for method, own in values.items()}


def _against(values: Values, reference: str) -> dict[str, Comparison]:
    return against(values, reference) if values.get(reference) else {}


def _dominant(records: Sequence[Record]) -> dict[int, str]:
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
            own = [line.values[method].get(seed, 0.0) for line in blocks if line.block != leader]
            if own and min(own) > 0:
                means[method][seed] = sum(map(math.log, own)) / len(own)
    return means


def _accuracy(records: Sequence[Record], dominant: Mapping[int, str]) -> Values:
    def mean(record: Record) -> float:
        weaker = [name for name in record.data["modalities"] if name != dominant[record.seed]]
        alone = [record.summary["coalitions"][name] for name in weaker]
        return sum(alone) / len(alone) if alone else math.nan

    values = _by_method(records, mean)
    return {} if any(math.isnan(value) for own in values.values() for value in own.values()) else values


def _by_method(records: Sequence[Record], read: Callable[[Record], float]) -> Values:
    values: Values = {}
    for record in records:
        values.setdefault(record.label, {})[record.seed] = read(record)
    return values


# ---- words ----------------------------------------------------------------------------------------------------------


def _answer(study: Study) -> str:
    """Whether non-dominant modalities end sharper or flatter than under the reference."""
    if len(study.methods) == 1 or len(study.modalities) == 1:
        return "There is nothing to compare: give several methods and modalities."
    leaders = [f"{name} on {count}" for name, count in Counter(study.dominant.values()).most_common()]
    return f"{_summary(study)} Dominant: {words(leaders)} of {len(study.dominant)} seeds."


def _summary(study: Study) -> str:
    """One sentence on the sharpness of the non-dominant encoders, before the numbers."""
    found = {method: [own[method] for own in study.weaker.values() if method in own] for method in study.methods[1:]}
    sharper = [method for method, own in found.items() if any(it.differs and it.difference > 0 for it in own)]
    flatter = [method for method, own in found.items() if any(it.differs and it.difference < 0 for it in own)]
    said = [f"under {words(m)} they end {how}" for m, how in ((sharper, "sharper"), (flatter, "flatter")) if m]
    taken = f"mean over these encoders by {words(list(study.weaker))}; single encoders are in the table"
    kept = f"at the 5 % level, with {len(study.dominant)} seeds ({taken})"
    if not said:
        return (
            f"No method is shown to leave the non-dominant encoders sharper or flatter than {study.reference} {kept}."
        )
    first = said[0].replace("they", "the non-dominant encoders")
    return f"By at least one measure, {' and '.join([first, *said[1:]])} than under {study.reference} {kept}."


def _of_method(study: Study, method: str) -> str:
    sharp = [_ratio(name, own[method]) for name, own in study.weaker.items() if method in own]
    if not sharp:
        return f"{method}: no measure could be compared."
    alone = study.alone.get(method)
    cost = "" if alone is None else f" Alone, those modalities are {_points(alone)}."
    whole = study.accuracy.get(method)
    together = "" if whole is None else f" All modalities together are {_points(whole)}."
    return f"{method}: the non-dominant encoders are {words(sharp)}.{cost}{together}"


def _ratio(measure: str, found: Comparison) -> str:
    factor = math.exp(found.difference)
    ends = [f"{math.exp(end):.2f}" for end in (found.low, found.high) if end is not None]
    verdict = ("sharper" if factor > 1 else "flatter") if found.differs else "not shown to differ"
    return f"{verdict} by {measure} (x {factor:.2f}{_within(ends)}, p = {p_text(found.evidence)})"


def _points(found: Comparison) -> str:
    ends = [f"{100 * end:+.2f}" for end in (found.low, found.high) if end is not None]
    verdict = ("more" if found.difference > 0 else "less") + " accurate" if found.differs else "not shown to differ"
    return f"{verdict} ({100 * found.difference:+.2f} points{_within(ends)}, p = {p_text(found.evidence)})"


def _within(ends: Sequence[str]) -> str:
    return f" [{', '.join(ends)}]" if ends else ""


def correlations(study: Study) -> str:
    """Whether flatter runs were more accurate, over all runs: Kendall's tau of each measure with the test accuracy."""
    from scipy.stats import kendalltau

    found = []
    for line in study.lines:
        pairs = [
            (value, study.tested[method][seed]) for method, own in line.values.items() for seed, value in own.items()
        ]
        if (line.view, line.block) == (JOINT, "all") and len(pairs) > 2:
            found.append(f"{line.measure} {kendalltau(*zip(*pairs, strict=True)).statistic:+.2f}")
    return (
        f"Rank correlation with the test accuracy over all runs (Kendall's tau; -1: flatter is better): {words(found)}."
    )


def rows(study: Study) -> list[dict[str, Any]]:
    """The long table: one row a view, block, measure and method, unrounded."""
    table = []
    for line in study.lines:
        for method in study.methods:
            if not line.values[method]:
                continue
            own, ratio = summarise(line.values[method].values()), line.ratios.get(method)
            where = {"loss_of": line.view, "block": line.block, "measure": line.measure, "method": method}
            mean = {"n": own.n, "mean": own.mean, "sd": own.sd, "error": line.errors[method]}
            factors = {name: _factor(ratio, key) for name, key in _FACTORS.items()}
            table.append({**where, **mean, **factors, "p": None if ratio is None else ratio.evidence})
    return table


_FACTORS = {"ratio": "difference", "ratio_low": "low", "ratio_high": "high"}


def _factor(ratio: Comparison | None, key: str) -> float | None:
    value = None if ratio is None else getattr(ratio, key)
    return None if value is None else math.exp(value)

"""Metrics over epochs as a mean and a band over seeds, thinned to a number of points that a page can hold.

curves(groups, "tau")["msam"].points[-1]                       # (epoch, mean, low, high)
by_modality(groups, "contribution", modalities)["msam"]["audio"]
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msam_bench.analysis.run_summary import Groups, RunSummary
from msam_bench.reporting.figures.palette import SeriesStyle

MOST_POINTS = 4_000  # in one section of the page, epochs are thinned out above


@dataclass(frozen=True)
class Series:
    """One line: points (epoch, mean, low, high)."""

    points: list[tuple[float, float, float, float]] = field(default_factory=list)


def curves(groups: Groups, key: str, scale: float = 1.0) -> dict[str, Series]:
    """Gives, for each method that reports `key`, its mean and standard deviation over seeds at each epoch."""
    by_method = {name: _curve(runs, key, scale) for name, runs in groups.items()}
    return {name: series for name, series in by_method.items() if series.points}


def by_modality(groups: Groups, key: str, modalities: Sequence[SeriesStyle]) -> dict[str, dict[str, Series]]:
    """Gives method -> modality -> its curve, for the methods that have any."""
    by_method = {
        name: {
            style.name: series for style in modalities if (series := _curve(runs, f"{key}/{style.name}", 1.0)).points
        }
        for name, runs in groups.items()
    }
    shown = {name: series for name, series in by_method.items() if series}
    return dict(zip(shown, thinned([*shown.values()]), strict=True))


def thinned(panels: Sequence[Mapping[str, Series]]) -> list[dict[str, Series]]:
    """Keeps every k-th epoch, always with the last, where the panels of a section would have too many points."""
    step = math.ceil(sum(len(s.points) for series in panels for s in series.values()) / MOST_POINTS)
    return [
        {name: Series(s.points[(len(s.points) - 1) % max(1, step) :: max(1, step)]) for name, s in series.items()}
        for series in panels
    ]


def _curve(runs: Sequence[RunSummary], key: str, scale: float) -> Series:
    values: dict[float, list[float]] = {}
    for run in runs:
        for row in run.metrics:
            if (value := row.get(key)) is not None and math.isfinite(value):
                values.setdefault(row["epoch"], []).append(scale * value)
    return Series([(epoch, *_band(seen)) for epoch, seen in sorted(values.items())])


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Gives the mean, and the mean minus and plus one standard deviation (zero for a single value)."""
    mean = math.fsum(values) / len(values)
    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / max(1, len(values) - 1))
    return mean, mean - sd, mean + sd


def _band(values: Sequence[float]) -> tuple[float, float, float]:
    """Gives what `spread` gives, cut to the values seen: no band leaves the range that an accuracy has."""
    mean, low, high = spread(values)
    return mean, max(low, min(values)), min(high, max(values))

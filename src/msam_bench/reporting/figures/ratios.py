"""How many times as sharp as the reference: one figure a measure, a row for each block of weights and method.

ratios(comparison, "eigenvalue")
"""

from __future__ import annotations

import math

from msam_bench.analysis.flatness.comparison import FlatnessComparison
from msam_bench.analysis.flatness.measurement import JOINT
from msam_bench.analysis.flatness.measures import MEASURES
from msam_bench.reporting.figures.drawing import Figure
from msam_bench.reporting.figures.intervals import interval, intervals
from msam_bench.reporting.figures.palette import series_styles

MEASURES_SHOWN = ("ball", "adaptive", "eigenvalue", "trace")


def ratios(comparison: FlatnessComparison, measure: str) -> Figure | None:
    """Draws the ratios of one measure with their 95 % intervals, under the loss of all modalities; None without any."""
    lines = [line for line in comparison.lines if line.view == JOINT and line.measure == measure and line.ratios]
    rows = [
        interval(method, f"{line.block}: {method}", ratio, math.exp) | {"differs": ratio.differs}
        for line in lines
        for method, ratio in line.ratios.items()
    ]
    if not rows:
        return None
    title = f"{MEASURES[measure][0].partition(' (')[0]}, ratio to {comparison.reference}"
    unit = f"times {comparison.reference}, 95 % interval; filled: p <= 0.05"
    alt = "; ".join(f"{row['r']} {row['y']:.2f}" for row in rows)
    methods = series_styles(comparison.methods, reference=comparison.reference)
    return intervals(title, rows, methods, unit, f"{alt}.", ratio=True, name=f"ratios-{measure}")

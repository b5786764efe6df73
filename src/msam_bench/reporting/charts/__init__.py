"""From runs to figures: each one a Vega-Lite specification, a text alternative and the numbers behind it.

There is one function for each section of the page. Importing them is cheap: altair is imported when a figure is drawn.

    methods = looks(["joint", "msam"], ink="joint")
    for figure in learning({"joint": runs, "msam": others}, methods):
        figure.title, figure.alt, figure.spec
"""

from msam_bench.reporting.charts.curves import MOST_POINTS
from msam_bench.reporting.charts.drawing import Figure
from msam_bench.reporting.charts.epochs import contributions, dominance, gap, learning, strengths
from msam_bench.reporting.charts.foremost import MOST, foremost
from msam_bench.reporting.charts.lines import lines
from msam_bench.reporting.charts.methods import cost, differences, seeds
from msam_bench.reporting.charts.modalities import coalitions, shares
from msam_bench.reporting.charts.palette import Look, looks

__all__ = [
    "MOST",
    "MOST_POINTS",
    "Figure",
    "Look",
    "coalitions",
    "contributions",
    "cost",
    "differences",
    "dominance",
    "foremost",
    "gap",
    "learning",
    "lines",
    "looks",
    "seeds",
    "shares",
    "strengths",
]

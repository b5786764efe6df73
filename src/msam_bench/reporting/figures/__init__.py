"""From runs to figures: each one a Vega-Lite specification, a text alternative and the numbers behind it.

There is one function for each section of the page. Importing them is cheap: altair is imported when a figure is drawn.

    methods = series_styles(["joint", "msam"], reference="joint")
    for figure in learning({"joint": runs, "msam": others}, methods):
        figure.title, figure.alt, figure.spec
"""

from msam_bench.reporting.figures.curves import MOST_POINTS
from msam_bench.reporting.figures.drawing import Figure
from msam_bench.reporting.figures.epochs import contributions, dominance, gap, learning, strengths
from msam_bench.reporting.figures.highlight import MOST, highlight_top
from msam_bench.reporting.figures.lines import lines
from msam_bench.reporting.figures.methods import cost, differences, seeds
from msam_bench.reporting.figures.modalities import coalitions, shares
from msam_bench.reporting.figures.palette import SeriesStyle, series_styles

__all__ = [
    "MOST",
    "MOST_POINTS",
    "Figure",
    "SeriesStyle",
    "coalitions",
    "contributions",
    "cost",
    "differences",
    "dominance",
    "gap",
    "highlight_top",
    "learning",
    "lines",
    "looks",
    "seeds",
    "series_styles",
    "shares",
    "strengths",
]

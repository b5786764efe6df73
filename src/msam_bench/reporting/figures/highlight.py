"""The names that stand out of many: those of the lowest ranks are coloured, the others grey.

    training, validation = highlight_top([lines("Training", ...), lines("Validation", ...)])
    training.bold  # ("joint", "sam", "msam"), the same in both

A layer that shows only these filters by `BOLD`; the page's legend changes which they are.
"""

from collections.abc import Iterable
from dataclasses import replace

from msam_bench.reporting.figures.drawing import Figure

MOST = 7
"""Names that stand out at a time: ink and six colours."""
BOLD = "indexof(bold, datum.g) >= 0"
"""Whether the row of a figure is of a name that stands out."""


def highlight_top(figures: Iterable[Figure]) -> list[Figure]:
    """Highlights the same names in all figures of a section: those of the lowest ranks that any figure draws."""
    panels = list(figures)
    styles = {style.name: style for figure in panels for style in figure.drawn}
    bold = tuple(style.name for style in sorted(styles.values(), key=lambda style: style.rank)[:MOST])
    parameter = {"params": [{"name": "bold", "value": [*bold]}]}
    return [replace(figure, bold=bold, spec=figure.spec | parameter) for figure in panels]

"""Figures of modalities at the selected epoch: Shapley shares, and the score of every coalition.

shares(groups, ["audio", "image"])      # Shapley shares, methods by modalities
coalitions(groups, ["audio", "image"])  # test score, a panel for each size of a coalition
"""

from collections.abc import Sequence

from msam_bench.analysis.run_summary import Groups, average, score_of
from msam_bench.reporting.figures.drawing import Axes, Figure
from msam_bench.reporting.figures.heatmap import heat, value_range


def shares(groups: Groups, modalities: Sequence[str]) -> list[Figure]:
    """Draws the Shapley share of each modality in the test score, methods by modalities."""
    cells = [
        (name, modality, 100 * mean)
        for name, runs in groups.items()
        for modality in modalities
        if (mean := average(run.summary.get("contributions", {}).get(modality) for run in runs)) is not None
    ]
    if not cells:
        return []
    highest = max(cells, key=lambda cell: cell[2])
    text = f"The largest share is {highest[2]:.1f} points, of {highest[1]} under {highest[0]}."
    axes = Axes("", "", (min(0.0, value_range(cells)[0]), value_range(cells)[1]), unit=" points")
    return [heat(f"Shapley share in the test {score_of(groups)} (points)", cells, [*groups], [*modalities], axes, text)]


def coalitions(groups: Groups, modalities: Sequence[str]) -> list[Figure]:
    """Draws the test score of every coalition, one panel for each size; rows are what there is more of."""
    names = dict.fromkeys(key for runs in groups.values() for run in runs for key in run.summary.get("coalitions", {}))
    cells = [
        (coalition, method, 100 * mean)
        for coalition in names
        for method, runs in groups.items()
        if (mean := average(run.summary.get("coalitions", {}).get(coalition) for run in runs)) is not None
    ]
    sizes = sorted({_size(name) for name, *_ in cells})
    panels = [[cell for cell in cells if _size(cell[0]) == size] for size in sizes]
    turned = len(groups) > max((len({cell[0] for cell in panel}) for panel in panels), default=0)
    return [_coalitions_of(panel, [*groups], modalities, value_range(cells), turned) for panel in panels]


def _coalitions_of(
    cells: Sequence[tuple[str, str, float]],
    methods: Sequence[str],
    modalities: Sequence[str],
    domain: tuple[float, float],
    turned: bool,
) -> Figure:
    size, best = _size(cells[0][0]), max(cells, key=lambda cell: cell[2])
    text = f"The highest of these coalitions is {best[0]} with {best[2]:.1f} % under {best[1]}."
    title = f"{size} modalit{'y alone' if size == 1 else 'ies together'}"
    named = [(_short(coalition, modalities), method, value) for coalition, method, value in cells]
    rows, axes = [*dict.fromkeys(cell[0] for cell in named)], Axes("", "", domain, unit=" %")
    if turned:
        return heat(
            title, [(method, coalition, value) for coalition, method, value in named], methods, rows, axes, text
        )
    return heat(title, named, rows, methods, axes, text)


def _short(coalition: str, modalities: Sequence[str]) -> str:
    """Names a coalition by who is absent where that is shorter."""
    absent = [modality for modality in modalities if modality not in coalition.split("+")]
    without = f"all but {'+'.join(absent)}" if absent else f"all {len(modalities)}"
    return without if len(without) < len(coalition) else coalition


def _size(coalition: str) -> int:
    return coalition.count("+") + 1

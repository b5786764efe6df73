"""The page of a comparison: the verdict, the table, every figure, configuration and environment of the runs.

figures = draw(groups, table)
html = render_comparison(groups, table, figures, "msam compare")
"""

import itertools
from collections.abc import Mapping

from msam_bench.analysis.run_summary import Groups
from msam_bench.analysis.sentences.phrases import MISSING, format_number, format_p
from msam_bench.analysis.settings import machine, settings
from msam_bench.analysis.statistics import Comparison
from msam_bench.reporting import figures as charts
from msam_bench.reporting.comparing import methods_of
from msam_bench.reporting.comparison_table import ComparisonTable
from msam_bench.reporting.page import Figures, render


def render_comparison(groups: Groups, table: ComparisonTable, figures: Figures, command: str) -> str:
    """Renders the page; the figures go in as data, which the script draws."""
    methods = methods_of(groups)
    shared, differing = settings(methods)
    given = {name: _given(name, differing) for name in methods}
    return render(
        "report.html.j2",
        figures,
        table=table,
        columns=[(group, [*columns]) for group, columns in itertools.groupby(table.columns, lambda one: one.group)],
        score=table.score[0].upper() + table.score[1:],
        groups=methods,
        every=groups,
        styles=[style for styles in _styles(methods, table) for style in styles],
        most=charts.MOST,
        more=_more(table),
        shared=shared,
        differing={name: words for name, words in given.items() if words},
        machine=machine(groups),
        command=command,
    )


def _given(name: str, differing: Mapping[str, Mapping[str, str]]) -> str:
    """Writes the settings of a method that others do not share in a line, without the prefixes of their keys."""
    keys = {key: key.removeprefix("method.").removeprefix("params.") for key in differing}
    values = {short: differing[key].get(name) for key, short in keys.items()}
    return ", ".join(f"{key} {value}" for key, value in values.items() if value not in (None, name))


def _styles(groups: Groups, table: ComparisonTable) -> tuple[list[charts.SeriesStyle], list[charts.SeriesStyle]]:
    """The styles of methods and of modalities in every figure; of many methods, the most accurate stand out."""
    means = {row.method: row.accuracy.mean for row in table.rows}
    order = sorted(groups, key=lambda name: -means[name]) if len(groups) > charts.MOST else [*groups]
    first = [table.reference, *([table.second] if table.second else [])]
    ranked = [name for name in dict.fromkeys([*first, *order]) if name in groups]
    styles = {style.name: style for style in charts.series_styles(ranked, reference=table.reference)}
    return [styles[name] for name in groups], charts.series_styles(table.modalities)


def draw(groups: Groups, table: ComparisonTable) -> Figures:
    """Draws the figures of every section of the page."""
    methods, modalities = _styles(groups, table)
    scale, unit = table.measure.scale, table.measure.unit
    to_first = {row.method: row.to_reference for row in table.rows if row.to_reference and row.method in groups}
    to_other = {row.method: row.to_second for row in table.rows if row.to_second and row.method in groups}
    return {
        "differences": [
            *charts.differences(to_first, table.reference, methods, scale, unit),
            *charts.differences(to_other, table.second or "", methods, scale, unit),
        ],
        "seeds": charts.seeds(groups, methods),
        "learning": charts.learning(groups, methods),
        "gap": charts.gap(groups, methods),
        "contributions": charts.contributions(groups, modalities),
        "dominance": charts.dominance(groups, modalities),
        "strength": charts.strengths(groups, methods),
        "coalitions": charts.coalitions(groups, table.modalities),
        "shares": charts.shares(groups, table.modalities),
        "cost": charts.cost(groups, methods),
    }


def _more(table: ComparisonTable) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Gives a second table: what a referee asks for next."""
    titles = ("method", "interquartile mean %", "train %", "test % at the last epoch", "selected epoch", "switching %")
    names = [table.reference, *([table.second] if table.second else [])]
    paired = [
        f"{title} {name}"
        for name in names
        for title in ("seeds paired with", "P(better) than", "sign-flip p over seeds of this pool, to")
    ]
    rows = []
    for row in table.rows:
        pairs = [row.to_reference, *([row.to_second] if table.second else [])]
        scores = (format_number(v, 100) for v in (row.accuracy.iqm, row.train_accuracy, row.last_accuracy))
        rest = (format_number(row.epoch, digits=1), format_number(row.switching, 100, 1))
        rows.append((row.method, *scores, *rest, *(cell for pair in pairs for cell in _pair_cells(pair))))
    return (*titles, *paired), tuple(rows)


def _pair_cells(pair: Comparison | None) -> tuple[str, str, str]:
    """Writes the number of paired seeds, the share of them on which the method is better, and the sign-flip p."""
    if pair is None:
        return MISSING, MISSING, MISSING
    return str(pair.n), f"{pair.probability_of_improvement:.2f}", format_p(pair.p)

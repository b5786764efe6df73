"""The page: one HTML file with every table and figure that needs no network.

    figures = draw(groups, table)
    html = render(groups, table, figures, "msam compare")

The figures go in as data. Importing this module is cheap: jinja2 is imported when a page is rendered.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence

from msam_bench.reporting import figures as charts
from msam_bench.reporting.cells import number, pair_cells
from msam_bench.reporting.run_summary import Groups
from msam_bench.reporting.settings import machine, settings
from msam_bench.reporting.table import Column, Table
from msam_bench.reporting.templating import environment
from msam_bench.reporting.vega import scripts

Figures = Mapping[str, Sequence[charts.Figure]]
"""Section of the page -> its figures."""


def render(groups: Groups, table: Table, figures: Figures, command: str) -> str:
    """Renders the page; the figures go in as data, which the script draws."""
    templates = environment()
    templates.filters["groupby_run"] = _groups_of
    methods, modalities = _looks(groups, table)
    shared, differing = settings(groups)
    given = {name: _given(name, differing) for name in groups}
    return templates.get_template("report.html.j2").render(
        table=table,
        score=table.score[0].upper() + table.score[1:],
        groups=groups,
        figures=figures,
        looks=[*methods, *modalities],
        specs={f"{section}-{i}": figure.spec for section, own in figures.items() for i, figure in enumerate(own)},
        most=charts.MOST,
        more=_more(table),
        shared=shared,
        differing={name: words for name, words in given.items() if words},
        machine=machine(groups),
        command=command,
        script=scripts(),
    )


def _given(name: str, differing: Mapping[str, Mapping[str, str]]) -> str:
    """Writes what a method was given in a line, its arguments by their own names."""
    own = {key.removeprefix("method.").removeprefix("params."): values.get(name) for key, values in differing.items()}
    return ", ".join(f"{key} {value}" for key, value in own.items() if value not in (None, name))


def _looks(groups: Groups, table: Table) -> tuple[list[charts.Look], list[charts.Look]]:
    """How methods and modalities are told apart in every figure; of many methods, the most accurate stand out."""
    means = {row.method: row.accuracy.mean for row in table.rows}
    order = sorted(means, key=lambda name: -means[name]) if len(means) > charts.MOST else [*means]
    first = [table.reference, *([table.second] if table.second else [])]
    found = {look.name: look for look in charts.looks(dict.fromkeys([*first, *order]), ink=table.reference)}
    return [found[name] for name in groups], charts.looks(table.modalities)


def draw(groups: Groups, table: Table) -> Figures:
    """Draws the figures of every section of the page."""
    methods, modalities = _looks(groups, table)
    to_first = {row.method: row.to_reference for row in table.rows if row.to_reference}
    to_other = {row.method: row.to_second for row in table.rows if row.to_second}
    return {
        "differences": [
            *charts.differences(to_first, table.reference, methods),
            *charts.differences(to_other, table.second or "", methods),
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


def _groups_of(columns: Iterable[Column]) -> list[tuple[str, list[Column]]]:
    """Gives the runs of columns that stand under one title."""
    return [(group, [*own]) for group, own in itertools.groupby(columns, key=lambda column: column.group)]


def _more(table: Table) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Gives a second table: what a referee asks for next."""
    titles = ("method", "interquartile mean %", "train %", "test % at the last epoch", "selected epoch", "switching %")
    names = [table.reference, *([table.second] if table.second else [])]
    asked = [
        f"{title} {name}" for name in names for title in ("seeds paired with", "P(better) than", "unadjusted p to")
    ]
    rows = []
    for row in table.rows:
        pairs = [row.to_reference, *([row.to_second] if table.second else [])]
        own = (number(v, 100) for v in (row.accuracy.iqm, row.train_accuracy, row.last_accuracy))
        rest = (number(row.epoch, digits=1), number(row.switching, 100, 1))
        rows.append((row.method, *own, *rest, *(cell for pair in pairs for cell in pair_cells(pair))))
    return (*titles, *asked), tuple(rows)

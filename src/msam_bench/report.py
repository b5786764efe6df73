"""From run records to evidence: one table, one sentence, one page that needs no network.

`compare` turns records into a `Table` of plain values that the terminal, the page, Markdown and CSV all show; its
`verdict` says in words what the evidence supports. `write_report` writes the page with every figure, and the table
beside it.

    table = compare(records)                                # against "joint" and "sam", paired by seed
    print(table.verdict)
    write_report(records, Path("results"), "msam compare")  # results/report.html, table.md, table.csv
"""

import contextlib
import csv
import io
import itertools
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from msam_bench import charts
from msam_bench.statistics import (
    FLIPS,
    RESAMPLES,
    Comparison,
    Summary,
    against,
    best_method,
    p_text,
    powerless,
    summarise,
    verdict,
    words,
)

NOTHING = "–"  # what a cell shows that has no value


class Record(Protocol):
    """One finished run, as its folder holds it."""

    @property
    def folder(self) -> Path:
        """Where the run lies."""
        ...

    @property
    def label(self) -> str:
        """The method as the user named it, such as "sam:rho=0.1"."""
        ...

    @property
    def seed(self) -> int:
        """The seed, which pairs runs of different methods."""
        ...

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration."""
        ...

    @property
    def data(self) -> Mapping[str, Any]:
        """Name, fingerprint, modalities, classes, sizes and, where there are folds, fold of the data."""
        ...

    @property
    def environment(self) -> Mapping[str, Any]:
        """Versions and machine."""
        ...

    @property
    def summary(self) -> Mapping[str, Any]:
        """Accuracies, gap, coalitions, contributions and cost at the selected epoch."""
        ...

    @property
    def timing(self) -> Mapping[str, Any]:
        """Seconds of the run."""
        ...

    @property
    def metrics(self) -> Sequence[Mapping[str, float]]:
        """One row an epoch."""
        ...


Groups = dict[str, list[Record]]  # method -> its runs, in the order of the records


@dataclass(frozen=True)
class Row:
    """One method of the table; accuracies between 0 and 1, None where nothing was recorded."""

    method: str
    n: int
    accuracy: Summary
    to_reference: Comparison | None
    to_second: Comparison | None
    tau: float | None
    alone: Mapping[str, float | None]
    gradients: float | None
    seconds: float | None
    train_accuracy: float | None
    last_accuracy: float | None
    epoch: float | None
    switching: float | None


@dataclass(frozen=True)
class Column:
    """One column as shown: the group it stands under, its title there, its title alone, and its cells as text."""

    group: str
    title: str
    alone: str
    text: Callable[[Row], str] = field(repr=False)


@dataclass(frozen=True)
class Table:
    """The comparison: a row for each method, what it is compared with, and what that shows in words."""

    rows: tuple[Row, ...]
    data: str
    modalities: tuple[str, ...]
    seeds: tuple[int, ...]
    reference: str
    second: str | None
    verdict: str
    caption: str
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns as shown, percent and points as units."""
        shown = [
            Column("", "method", "method", lambda row: row.method),
            Column("", "n", "n", lambda row: str(row.n)),
            Column("test accuracy, %", "mean", "test %", lambda row: _number(row.accuracy.mean, 100)),
            Column("test accuracy, %", "SD", "SD", lambda row: _number(row.accuracy.sd, 100)),
            *_difference_columns(self.reference, lambda row: row.to_reference),
            *(_difference_columns(self.second, lambda row: row.to_second) if self.second else ()),
            Column("", "tau", "tau", lambda row: _number(row.tau, digits=3)),
            *(_alone_column(modality) for modality in self.modalities),
            Column("cost of a run", "gradients", "gradients", lambda row: _number(row.gradients, digits=0)),
            Column("cost of a run", "seconds", "seconds", lambda row: _number(row.seconds, digits=1)),
        ]
        return tuple(shown)

    @property
    def header(self) -> tuple[str, ...]:
        """The column titles, each understandable alone."""
        return tuple(column.alone for column in self.columns)

    @property
    def cells(self) -> tuple[tuple[str, ...], ...]:
        """The rows as text, in the order of the header."""
        return tuple(tuple(column.text(row) for column in self.columns) for row in self.rows)

    def markdown(self) -> str:
        """Gives the table as Markdown: the verdict, the notes, the rows, the caption."""
        lines = [_line(self.header), _line(["---", *["---:"] * (len(self.header) - 1)]), *map(_line, self.cells)]
        notes = [f"- {_plain(note)}" for note in self.notes]
        parts = [_plain(self.verdict), *(["\n".join(notes)] if notes else []), "\n".join(lines), _plain(self.caption)]
        return "\n\n".join(parts) + "\n"

    def csv(self) -> str:
        """Gives the table as CSV with every value unrounded, accuracies between 0 and 1."""
        rows = [self._values(row) for row in self.rows]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def _values(self, row: Row) -> dict[str, Any]:
        return {
            "method": row.method,
            "n": row.n,
            **{f"test_accuracy_{key}": getattr(row.accuracy, key) for key in ("mean", "sd", "iqm")},
            **_comparison_values("reference", self.reference, row.to_reference),
            **_comparison_values("second", self.second or "", row.to_second),
            "tau": row.tau,
            **{f"alone_{modality}": row.alone.get(modality) for modality in self.modalities},
            **{key: getattr(row, key) for key in ("gradients", "seconds", "train_accuracy", "last_accuracy", "epoch")},
            "switching": row.switching,
        }


def compare(records: Iterable[Record], reference: str = "joint", second: str = "sam") -> Table:
    """Compares methods over paired seeds.

    Args:
        records: Finished runs of one data set, one for each method and seed.
        reference: Label that every method is compared with; the first method where no run has it. Its row comes first,
            that of `second` next, the others in the order of the records.
        second: Label of a second reference, left out where no run has it.

    Raises:
        ValueError: If there is no run, runs are of different data, or a run is there twice or without its accuracy.
    """
    groups = _grouped(records, reference, second)
    first = next(iter(groups))
    other = second if second in groups and second != first else None
    values = {name: {run.seed: float(run.summary["test_accuracy"]) for run in runs} for name, runs in groups.items()}
    folds = _folds(groups)
    to_first = against(values, first, blocks=folds)
    to_other = against(values, other, blocks=folds) if other else {}
    found = [*to_first.values(), *to_other.values()]
    modalities = tuple(next(iter(groups.values()))[0].data["modalities"])
    return Table(
        rows=tuple(_row(name, groups[name], modalities, to_first.get(name), to_other.get(name)) for name in groups),
        data=str(next(iter(groups.values()))[0].data["name"]),
        modalities=modalities,
        seeds=tuple(sorted({seed for own in values.values() for seed in own})),
        reference=first,
        second=other,
        verdict=_verdict(values, first, other, to_first, to_other),
        caption=_caption(found, bool(folds)),
        notes=(*_notes(groups, values, reference, first), *_settings_note(groups)),
    )


def write_report(records: Iterable[Record], path: Path, command: str) -> Path:
    """Writes `report.html`, `table.md` and `table.csv` into a folder and gives the path of the page.

    Each file appears whole or not at all, and nothing is written when the runs cannot be compared.

    Args:
        records: Finished runs of one data set, one for each method and seed.
        path: The folder, created where it does not exist.
        command: The command that reproduces the runs, shown as it is.

    Raises:
        ValueError: As `compare`, and if `path` is not a folder.
    """
    records = list(records)
    table = compare(records)
    page = _page(_grouped(records, table.reference, table.second), table, command)
    if path.exists() and not path.is_dir():
        raise ValueError(f"A report is written into a folder, but {path} is a file; name a folder.")
    path.mkdir(parents=True, exist_ok=True)
    for name, text in (("table.md", table.markdown()), ("table.csv", table.csv()), ("report.html", page)):
        _write(path / name, text)
    return path / "report.html"


def _grouped(records: Iterable[Record], *first: str | None) -> Groups:
    """Groups runs by method, the references first, refusing what cannot be compared."""
    groups: Groups = {}
    for record in records:
        _check(record)
        groups.setdefault(record.label, []).append(record)
    if not groups:
        raise ValueError("There is nothing to compare: no finished run was given.")
    runs = [run for own in groups.values() for run in own]
    for key, what in (("name", "different data"), ("fingerprint", "data with different fingerprints")):
        found = sorted({str(run.data[key]) for run in runs})
        if len(found) > 1:
            raise ValueError(f"These runs are of {what} ({words(found)}); compare runs of the same data.")
    for label, own in groups.items():
        for seed in {run.seed for run in own}:
            twice = [run.folder.name for run in own if run.seed == seed]
            if len(twice) > 1:
                raise ValueError(f"{label} has more than one run of seed {seed} ({words(twice)}); compare one a seed.")
    return {label: groups[label] for label in dict.fromkeys([*first, *groups]) if label in groups}


def _check(record: Record) -> None:
    accuracy = record.summary.get("test_accuracy")
    if not isinstance(accuracy, int | float) or not math.isfinite(accuracy):
        raise ValueError(
            f"A comparison needs the test accuracy of every run, but run {record.folder.name} ({record.label}, "
            f"seed {record.seed}) has {accuracy}; finish it or leave it out."
        )


def _folds(groups: Groups) -> dict[int, Any] | None:
    """Gives seed -> fold, None where the data have no folds."""
    folds: dict[int, Any] = {}
    for run in (run for runs in groups.values() for run in runs):
        fold = run.data.get("fold")
        if folds.setdefault(run.seed, fold) != fold:
            raise ValueError(
                f"Runs of seed {run.seed} are of fold {folds[run.seed]} and of fold {fold}, "
                "so that they are no pair; compare runs whose folds go with their seeds."
            )
    return folds if any(fold is not None for fold in folds.values()) else None


def _row(
    name: str,
    runs: Sequence[Record],
    modalities: Sequence[str],
    to_reference: Comparison | None,
    to_second: Comparison | None,
) -> Row:
    coalitions = [run.summary.get("coalitions", {}) for run in runs]
    return Row(
        method=name,
        n=len(runs),
        accuracy=summarise(run.summary["test_accuracy"] for run in runs),
        to_reference=to_reference,
        to_second=to_second,
        tau=_mean(runs, "tau"),
        alone={modality: charts.average(own.get(modality) for own in coalitions) for modality in modalities},
        gradients=_mean(runs, "gradients"),
        seconds=charts.average(run.timing.get("seconds") for run in runs),
        train_accuracy=_mean(runs, "train_accuracy"),
        last_accuracy=_mean(runs, "last_test_accuracy"),
        epoch=_mean(runs, "epoch"),
        switching=_mean(runs, "switching"),
    )


def _mean(runs: Sequence[Record], key: str) -> float | None:
    return charts.average(run.summary.get(key) for run in runs)


def _verdict(
    values: Mapping[str, Mapping[int, float]],
    reference: str,
    second: str | None,
    to_reference: Mapping[str, Comparison],
    to_second: Mapping[str, Comparison],
) -> str:
    """Says what the comparisons with both references show, and names a best method only where it is supported."""
    if len(values) == 1:
        return f"Only {reference} was run: there is nothing to compare it with."
    if to_second and powerless(to_reference) and powerless(to_second):
        sentences = [verdict(to_reference, f"{reference} or {second}")]
    else:
        sentences = [verdict(to_reference, reference), *([verdict(to_second, second)] if second else [])]
    leader, rivals = best_method(values)
    pairs = len(values) * (len(values) - 1) // 2
    if not rivals and pairs > 1:
        sentences.append(
            f"{leader} is the best: it beats every other method, also when all {pairs} pairs are corrected for."
        )
    elif rivals:
        mean = 100 * summarise(values[leader].values()).mean
        sentences.append(
            f"No method is shown to be the best: {leader} has the highest mean ({mean:.2f} %), "
            f"but is not shown to beat {words(rivals)}."
        )
    return " ".join(sentences)


def _notes(groups: Groups, values: Mapping[str, Mapping[int, float]], wanted: str, reference: str) -> list[str]:
    """Says what a reader must know before trusting the table."""
    notes = []
    if reference != wanted:
        notes.append(f"No method is called {wanted}, so that the first one, {reference}, is the reference.")
    for name in groups:
        left_out = len(values[name].keys() ^ values[reference].keys())
        if not values[name].keys() & values[reference].keys():
            notes.append(f"{name} shares no seed with {reference} and is not compared with it.")
        elif left_out:
            common = len(values[name].keys() & values[reference].keys())
            notes.append(
                f"{name} and {reference} share {common} seeds; {left_out} that only one of them has are left out."
            )
    return notes


def _settings_note(groups: Groups) -> list[str]:
    """Says which settings differ between methods apart from the method itself."""
    differing = [key for key in _settings(groups)[1] if key != "method" and not key.startswith("method.")]
    if not differing:
        return []
    return [f"Besides the method, these settings differ between methods: {words(differing)}."]


def _settings(groups: Groups) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Splits the configuration into settings that all methods share and those that differ, by method."""
    found: dict[str, dict[str, set[str]]] = {}
    for name, runs in groups.items():
        for run in runs:
            for key, value in _flat(run.config).items():
                found.setdefault(key, {}).setdefault(name, set()).add(value)
    found.pop("seed", None)
    texts = {key: {n: ", ".join(sorted(own)) for n, own in by_name.items()} for key, by_name in found.items()}
    same = {k for k, by_name in texts.items() if len(by_name) == len(groups) and len(set(by_name.values())) == 1}
    return {k: next(iter(texts[k].values())) for k in texts if k in same}, {k: texts[k] for k in texts if k not in same}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Writes a nested mapping as dotted keys and text."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return flat


def _caption(found: Sequence[Comparison], folds: bool) -> str:
    """Says how every column came about."""
    parts = [
        "Test accuracy in evaluation mode at the epoch selected on validation data; mean and standard deviation over n "
        "seeds. tau: |train - test| / test at that epoch. A modality's own column: test accuracy when only that "
        "modality is present. Gradients: gradient evaluations of a run; seconds: wall-clock time of a run."
    ]
    if found:
        sizes = sorted({c.family for c in found})
        test = "exact" if all(c.exact for c in found) else f"with {FLIPS:,} drawn sign patterns (seed {found[0].seed})"
        parts.append(
            f"Differences: mean of the paired differences over common seeds, with its 95 % {_interval(found, folds)}. "
            f"p: two-sided sign-flip permutation test, {test}, Holm-adjusted over the {words(map(str, sizes))} "
            f"comparison{'s' if sizes != [1] else ''} of its column."
        )
    return " ".join(parts)


def _interval(found: Sequence[Comparison], folds: bool) -> str:
    """Says which interval was made."""
    if all(c.n < 2 for c in found):
        return "interval (none: there is a single pair)"
    if any(c.interval == "Student's t" for c in found):
        return "interval (Student's t where pairs are too few to resample, else bootstrap)"
    strata = max(c.strata for c in found)
    kind = f"bootstrap interval ({RESAMPLES:,} resamples, seed {found[0].seed}"
    if folds:
        kind += f", stratified by {strata} folds" if strata > 1 else ", not stratified: some fold has a single seed"
    return kind + ")"


def _difference_columns(name: str, of: Callable[[Row], Comparison | None]) -> tuple[Column, Column]:
    group = f"difference to {name}, points"
    return (
        Column(group, "mean [95 % interval]", f"to {name} [95 %]", lambda row: _difference(of(row))),
        Column(group, "p (Holm)", f"p ({name})", lambda row: NOTHING if (c := of(row)) is None else p_text(c.evidence)),
    )


def _alone_column(modality: str) -> Column:
    text: Callable[[Row], str] = lambda row: _number(row.alone.get(modality), 100, 1)  # noqa: E731
    return Column("accuracy of each modality alone, %", modality, f"{modality} %", text)


def _difference(comparison: Comparison | None) -> str:
    if comparison is None:
        return NOTHING
    mean = f"{100 * comparison.difference:+.2f}"
    if comparison.low is None or comparison.high is None:
        return mean
    return f"{mean} [{100 * comparison.low:+.2f}, {100 * comparison.high:+.2f}]"


def _comparison_values(place: str, name: str, comparison: Comparison | None) -> dict[str, Any]:
    keys = ("difference", "low", "high", "p", "adjusted", "n", "unpaired", "probability_of_improvement")
    return {place: name} | {f"to_{place}_{key}": getattr(comparison, key, None) for key in keys}


def _number(value: float | None, scale: float = 1.0, digits: int = 2) -> str:
    return NOTHING if value is None else f"{scale * value:,.{digits}f}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_plain, cells))} |"


def _plain(text: str) -> str:
    """Keeps a name from being read as Markdown's table bars or as HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _page(groups: Groups, table: Table, command: str) -> str:
    """Renders the page; the figures go in as data, which the script draws."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["groupby_run"] = _groups_of
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    methods, modalities = charts.looks(groups, ink=table.reference), charts.looks(table.modalities)
    figures = _figures(groups, table, methods, modalities)
    shared, differing = _settings(groups)
    return environment.get_template("report.html.j2").render(
        table=table,
        groups=groups,
        figures=figures,
        looks=[*methods, *modalities],
        specs={f"{section}-{i}": figure.spec for section, own in figures.items() for i, figure in enumerate(own)},
        most_bands=charts.MOST_BANDS,
        more=_more(table),
        shared=shared,
        differing=differing,
        machine=_machine(groups),
        command=command,
        script=_vega(),
    )


def _figures(
    groups: Groups, table: Table, methods: Sequence[charts.Look], modalities: Sequence[charts.Look]
) -> dict[str, list[charts.Figure]]:
    """Draws the figures of every section of the page."""
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
        own = (_number(v, 100) for v in (row.accuracy.iqm, row.train_accuracy, row.last_accuracy))
        rest = (_number(row.epoch, digits=1), _number(row.switching, 100, 1))
        rows.append((row.method, *own, *rest, *(cell for pair in pairs for cell in _pair_cells(pair))))
    return (*titles, *asked), tuple(rows)


def _pair_cells(pair: Comparison | None) -> tuple[str, str, str]:
    if pair is None:
        return NOTHING, NOTHING, NOTHING
    return str(pair.n), f"{pair.probability_of_improvement:.2f}", p_text(pair.p)


def _machine(groups: Groups) -> dict[str, str]:
    """Gives the environment of the runs, every value where runs differ."""
    found: dict[str, dict[str, None]] = {}
    for run in (run for runs in groups.values() for run in runs):
        for key, value in _flat(run.environment).items():
            found.setdefault(key, {})[value] = None
    return {key: "; ".join([*values][:5]) + "; ..." * (len(values) > 5) for key, values in found.items()}


def _vega() -> str:
    """Gives the scripts that draw the figures, kept in the user's cache because bundling them takes seconds."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = home / "msam" / f"vega-{version('vl-convert-python')}.js"
    with contextlib.suppress(OSError):
        return kept.read_text(encoding="utf-8")
    import vl_convert

    script = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).replace("</script", "<\\/script")
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        _write(kept, script)
    return script


def _write(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, encoding="utf-8", newline="\n", delete=False) as unfinished:
        try:
            unfinished.write(text)
            unfinished.close()
            Path(unfinished.name).chmod(0o644)
            Path(unfinished.name).replace(path)
        except BaseException:
            Path(unfinished.name).unlink(missing_ok=True)
            raise

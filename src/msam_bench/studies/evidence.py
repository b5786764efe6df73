"""What speaks for a method: finished runs beside those at hand, else the results that ship with msam.

known = evidence(joint, ["umt", "mmpareto"])
known.best(3)                                # the methods with the highest mean difference first
known.words(["umt"])                         # "on these data, over joint (n = 12): umt +1.70 [-2.12, +7.19] points"

Shipped are the tables of all methods that `msam compare` wrote into `docs/results`: the package has links to them, so
that the wheel holds what the documentation shows, and the repository holds it once.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from msam_bench.analysis.grouping import folds_of
from msam_bench.analysis.run_summary import RunSummary
from msam_bench.analysis.sentences.phrases import format_difference
from msam_bench.analysis.statistics import Comparison, paired_difference
from msam_bench.names import stem
from msam_bench.runs import record as runs

Comparisons = Mapping[str, Comparison]
"""Method -> how it compared."""


@dataclass(frozen=True)
class Evidence:
    """How methods compared, here and elsewhere.

    Args:
        reference: what the runs at hand are of.
        here: on the data and seeds at hand.
        elsewhere: data set -> methods there, over joint training in late fusion.
    """

    reference: str
    here: Comparisons
    elsewhere: Mapping[str, Comparisons]

    def mean(self, name: str) -> float:
        """Mean difference of a method: here if it was run here, else over the data sets elsewhere; -inf if unknown."""
        means = [
            table[name].difference
            for table in ([self.here] if name in self.here else self.elsewhere.values())
            if name in table
        ]
        return sum(means) / len(means) if means else -math.inf

    def best(self, names: Sequence[str], most: int) -> list[str]:
        """The methods with the highest means, those that are ahead if any is, else the first alone."""
        ranked = sorted(names, key=self.mean, reverse=True)
        return [name for name in ranked if self.mean(name) > 0][:most] or ranked[:1]

    def words(self, names: Sequence[str]) -> str:
        """What is known of these methods, and from where."""
        parts = [_summarise(f"on these data, over {self.reference}", self.here, names)]
        missing = [name for name in names if name not in self.here]
        parts += [
            _summarise(f"in the shipped results on {data}, late fusion, over joint", table, missing)
            for data, table in self.elsewhere.items()
        ]
        return "; ".join(part for part in parts if part) or "no result that ships with msam, and no run here, has them"


def evidence(joint: Sequence[RunSummary], names: Sequence[str]) -> Evidence:
    """What speaks for these methods over the runs of a diagnosis; its own data set alone if that one is shipped."""
    shipped, name = _shipped(), str(joint[0].data["name"])
    alike = {name: shipped[name]} if name in shipped and joint[0].config["fusion"] == "late" else shipped
    here = {name: comparison for name in names if (comparison := _here(joint, name))}
    return Evidence(joint[0].label, here, alike)


def _summarise(where: str, table: Comparisons, names: Sequence[str]) -> str:
    known = [name for name in names if name in table]
    if not known:
        return ""
    low, high = (pick(table[name].n for name in known) for pick in (min, max))
    count = f"n = {low}" if low == high else f"n = {low} to {high}"
    return f"{where} ({count}): {', '.join(f'{name} {format_difference(table[name])}' for name in known)} points"


def _here(joint: Sequence[RunSummary], name: str) -> Comparison | None:
    """A method's finished runs beside the runs at hand, on the same seeds with the same settings, over these."""
    known = {run.seed: run for run in joint}
    groups: dict[str, dict[int, RunSummary]] = {}
    for run in _beside(joint[0], name):
        other = known.get(run.seed)
        if other and run.data["fingerprint"] == other.data["fingerprint"] and _shared(run) == _shared(other):
            chosen = json.dumps([run.config[key] for key in ("method", "optimizer")])
            groups.setdefault(chosen, {})[run.seed] = run
    if not groups:
        return None
    most = max(groups.values(), key=len)
    return paired_difference(_scores(most.values()), _scores(joint), blocks=folds_of({name: joint}))


def _scores(records: Iterable[RunSummary]) -> dict[int, float]:
    return {run.seed: float(run.summary["test_accuracy"]) for run in records}


def _beside(run: RunSummary, name: str) -> Iterator[RunSummary]:
    """The finished runs of a method in the same folder of runs."""
    pattern = f"{stem(str(run.config['data']))}-{run.config['fusion']}-{name}-s*-*/run.json"
    for path in sorted(run.folder.parent.glob(pattern)):
        record = runs.read(path.parent)
        if record.status == "finished" and record.label == name:
            yield record


def _shared(run: RunSummary) -> dict[str, Any]:
    """The settings that methods compared with each other have in common; each may be tuned in the others."""
    return {key: run.config[key] for key in run.config if key not in ("method", "optimizer", "snapshots")}


@cache
def _shipped() -> dict[str, Comparisons]:
    """Data set -> its shipped table of all methods, late fusion."""
    folder = resources.files("msam_bench.studies").joinpath("shown")
    files = sorted((file for file in folder.iterdir() if file.name.endswith("-late.csv")), key=lambda file: file.name)
    return {file.name.removesuffix("-late.csv"): _table(file.read_text()) for file in files}


def _table(text: str) -> Comparisons:
    """The comparisons with joint training of a table that `msam compare` wrote."""
    return {row["method"]: _comparison(row) for row in csv.DictReader(text.splitlines()) if row["to_reference_n"]}


def _comparison(row: Mapping[str, str]) -> Comparison:
    n, p = int(row["to_reference_n"]), float(row["to_reference_p"])
    mean, low, high = (float(row[f"to_reference_{key}"]) for key in ("difference", "low", "high"))
    better = float(row["to_reference_probability_of_improvement"])
    return Comparison(n, mean, low, high, p, True, 0, better, adjusted=float(row["to_reference_adjusted"]))

"""The data sets of the bench, one file each, by name; and prepared stores, by name or by path.

    source("digits6").load(seed=0).splits["train"]
    source("data/mine").load(seed=0)

Importing this package imports no torch: only `load` does.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from msam_bench.data.base import SPLITS, Dataset, Source, Split
from msam_bench.data.modality import Modality
from msam_bench.data.sets.regrouped import regrouped, split_name
from msam_bench.data.sets.synthetic import from_name
from msam_bench.data.store.manifest import NAME
from msam_bench.data.store.prepared import opened, prepared
from msam_bench.names import nearest
from msam_bench.registry import load, plugins, submodules

__all__ = ["SPLITS", "Dataset", "Modality", "Source", "Split", "names", "registered", "source"]


@cache
def registered() -> dict[str, Source]:
    """Every data set that msam or another package registers, by its name; those that ship with msam come first."""
    shipped = [
        each
        for module in submodules("msam_bench.data.sets")
        for each in vars(module).values()
        if isinstance(each, Source)
    ]
    known: dict[str, Source] = {}
    for each in (*sorted(shipped, key=_place), *plugins("msam.datasets").values()):
        if not isinstance(each, Source):
            raise ValueError(f"Expected an msam_bench.data.Source as a registered data set, found {each!r}.")
        if known.setdefault(each.name, each) is not each:
            raise ValueError(f"Two data sets are called {each.name!r}; remove one of the packages that add them.")
    return known


def _place(each: Source) -> tuple[bool, bool, str]:
    """The key that orders data sets: those that ship, the two of the examples before the others, then by name."""
    return bool(each.where), each.name not in ("digits6", "smartwatch"), each.name


def names() -> list[str]:
    """The names of all data sets that are registered, then of the others that are prepared here."""
    return list(dict.fromkeys([*registered(), *prepared()]))


def source(name: str) -> Source:
    """The data set of that name: one that is registered, one that is prepared here, or the prepared store at that path.

    NAMExM is a data set of vectors with its features in M equal modalities; `synthetic:DIAL=VALUE,...` is generated;
    `package.module:name` is a `Source` there, or an `Experiment`, of which the data are these.

    Raises:
        ValueError: There is none (the message has the nearest name), or its store is damaged.
    """
    known, stores = registered(), prepared()
    if name in known:
        return known[name]
    if name in stores:
        return opened(stores[name])
    if generated := from_name(name):
        return generated
    if "/" in name or (Path(name) / NAME).is_file():
        return opened(Path(name))
    if ":" in name:
        return _loaded(name)
    parts = split_name(name)
    if parts and parts[0] in known:
        return regrouped(known[parts[0]], parts[1])
    advice = nearest(name, names(), otherwise="see 'msam data list'")
    raise ValueError(f"Expected one of the data sets {', '.join(names())}, found '{name}': {advice}.")


def _loaded(location: str) -> Source:
    """The source at `package.module:name`, or that of the experiment there."""
    from msam_bench.data.problems.source import problem_source

    if (own := problem_source(location, source)) is not None:
        return own
    each = load(location, "a data set")
    if not isinstance(each, Source):
        raise ValueError(f"Expected an msam_bench Experiment or data.Source at {location!r}, found {each!r}.")
    return each

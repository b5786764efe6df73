"""The search space: for every method the same number of listed trials, and the ranges that they span.

listed("sam")                  # [{"rho": 0.02}, {"rho": 0.05}, ..., {"rho": 2.0}], one a trial
opening("sam")                 # the same, coarse ones first
ranges("sam")                  # {"rho": (0.02, 2.0)}
listed("sam:of=mbsd")          # [{"rho": 0.02, "of.weight": 0.1}, ...], without what is given

The i-th trial takes the i-th value of each list of `Method.search`; what is not listed keeps its default. Values are
those of the paper or the authors' code where they give any, widened to seven; a method without a setting of its own is
tried at seven learning rates. What is counted in epochs was published for a hundred and more, and is scaled down for
the short runs here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msam_bench.config.run import parse_method
from msam_bench.registry import methods

Number = int | float


def space() -> dict[str, dict[str, list[Number]]]:
    """Method -> setting -> its value in each listed trial; extensions are those of what they extend."""
    return {
        name: {key: list(values) for key, values in entry.search.items()}
        for name, entry in methods().items()
        if entry.search and not entry.extends
    }


def listed(method: str) -> list[dict[str, Any]]:
    """The listed trials of a method, an extension's being those of what it extends.

    Raises:
        ValueError: the space has none of that method.
    """
    lists = _lists(method)
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def opening(method: str) -> list[dict[str, Any]]:
    """The listed trials in the order in which a search takes them: every other, then those between."""
    trials = listed(method)
    return trials[::2] + trials[1::2]


def ranges(method: str) -> dict[str, tuple[Number, Number]]:
    """Setting -> its least and greatest listed value, both integers where the setting is one."""
    return {name: (min(values), max(values)) for name, values in _lists(method).items()}


def _lists(method: str) -> Mapping[str, tuple[Number, ...]]:
    lists = _searched(method)
    if not lists:
        raise ValueError(
            f"There is nothing to search for {method!r}; name methods without arguments, of {', '.join(space())}."
        )
    return lists


def _searched(text: str) -> dict[str, tuple[Number, ...]]:
    """Setting -> values, of a method as one writes it and of the one that it takes its gradient of."""
    config = parse_method(text)
    if config.name not in methods():
        return {}
    lists = dict(methods()[config.name].search)
    base = methods().get(str(config.params.get("of", "")))
    if base is not None:
        lists |= {f"of.{key}": values for key, values in base.search.items() if key != "lr"}
    return {key: values for key, values in lists.items() if key not in config.params}

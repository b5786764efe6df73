"""The search space: for every method the same number of listed trials, and the ranges that they span.

listed("sam")                  # [{"rho": 0.02}, {"rho": 0.05}, ..., {"rho": 2.0}], one a trial
opening("sam")                 # the same, coarse ones first
ranges("sam")                  # {"rho": (0.02, 2.0)}
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any

from msam_bench.registry import EXTENSIONS

Number = int | float


@cache
def space() -> dict[str, dict[str, list[Number]]]:
    """Method -> setting -> its value in each listed trial."""
    return tomllib.loads(resources.files("msam_bench.config").joinpath("search_space.toml").read_text())


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


def _lists(method: str) -> dict[str, list[Number]]:
    extended = {extension: name for name, extension in EXTENSIONS.items()}
    try:
        return space()[extended.get(method, method)]
    except KeyError:
        raise ValueError(
            f"There is nothing to search for {method!r}; name methods without arguments, of {', '.join(space())}."
        ) from None

"""Names, p-values, numbers and differences as text.

join_names(["joint", "sam", "msam"])   # "joint, sam and msam"
format_number(0.9612, 100)             # "96.12"
format_difference(comparison)          # "+0.42 [+0.10, +0.73]"
"""

from collections.abc import Iterable

from msam_bench.analysis.statistics import Comparison

MISSING = "–"
"""Stands where there is no value."""


def format_p(p: float) -> str:
    """Writes a p-value with two significant digits."""
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}" if p < 0.995 else "1"


def join_names(names: Iterable[str], most: int = 8) -> str:
    """Joins names as a sentence does: "a, b and c", or "a, b and 7 others" where there are more than `most`."""
    names = list(names)
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} others"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def format_number(value: float | None, scale: float = 1.0, digits: int = 2) -> str:
    """Writes a value, scaled and rounded."""
    return MISSING if value is None else f"{scale * value:,.{digits}f}"


def format_difference(comparison: Comparison | None, scale: float = 100.0) -> str:
    """Writes a mean difference, in points if not said otherwise, with its interval where there is one."""
    if comparison is None:
        return MISSING
    mean = f"{scale * comparison.difference:+.2f}"
    if comparison.low is None or comparison.high is None:
        return mean
    return f"{mean} [{scale * comparison.low:+.2f}, {scale * comparison.high:+.2f}]"

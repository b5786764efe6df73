"""How a value reads in a cell: a number, a difference with its interval, what is missing.

number(0.9612, 100)                    # "96.12"
difference(comparison)                 # "+0.42 [+0.10, +0.73]"
number(None) == difference(None) == NOTHING
"""

from msam_bench.analysis.statistics import Comparison, p_text

NOTHING = "–"  # what a cell shows that has no value


def number(value: float | None, scale: float = 1.0, digits: int = 2) -> str:
    """Writes a value, scaled and rounded."""
    return NOTHING if value is None else f"{scale * value:,.{digits}f}"


def difference(comparison: Comparison | None) -> str:
    """Writes a mean difference in points, with its interval where there is one."""
    if comparison is None:
        return NOTHING
    mean = f"{100 * comparison.difference:+.2f}"
    if comparison.low is None or comparison.high is None:
        return mean
    return f"{mean} [{100 * comparison.low:+.2f}, {100 * comparison.high:+.2f}]"


def pair_cells(pair: Comparison | None) -> tuple[str, str, str]:
    """Writes the number of paired seeds, the share of them on which the method is better, and the unadjusted p."""
    if pair is None:
        return NOTHING, NOTHING, NOTHING
    return str(pair.n), f"{pair.probability_of_improvement:.2f}", p_text(pair.p)

"""How a score is written: its name, its unit, and which way is better.

Measure().value(0.7210)        # "72.10 %"
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """How a score and a difference of scores are written.

    Args:
        name: What it is, such as accuracy.
        scale: Factor from the score to what is written.
        unit: Unit of a written difference.
        sign: 1 where higher is better; -1 where scores were negated to make it so.
    """

    name: str = "accuracy"
    scale: float = 100.0
    unit: str = "points"
    sign: int = 1

    def value(self, score: float) -> str:
        """A score, such as "72.10 %"."""
        return f"{self.sign * self.scale * score:.2f}{' %' if self.scale == 100 else ''}"

    def amount(self, difference: float) -> str:
        """The size of a difference, such as "1.26 points"."""
        return f"{self.scale * abs(difference):.2f} {self.unit}"

    def signed(self, difference: float) -> str:
        """A difference with its sign, such as "+1.26"."""
        return f"{self.sign * self.scale * difference + 0.0:+.2f}"

    def span(self, low: float, high: float) -> tuple[str, str]:
        """An interval from its lower to its upper end."""
        ends = sorted((low, high), key=lambda end: self.sign * end)
        return self.signed(ends[0]), self.signed(ends[1])

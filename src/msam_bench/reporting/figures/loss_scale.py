"""The scale that all panels of a loss surface share: colours, heights, ticks and level lines.

scale = LossScale.of(surfaces)             # logarithmic where losses span more than a factor of ten
axes.pcolormesh(..., norm=scale.norm, cmap="viridis")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msam_bench.analysis.flatness.surfaces import LossSurface

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

LEVELS = 9


@dataclass(frozen=True)
class LossScale:
    """Losses from the lowest to the highest of all panels.

    Args:
        low: the lowest.
        high: the highest; above `low`.
        unit: of the losses.
    """

    low: float
    high: float
    unit: str

    @classmethod
    def of(cls, surfaces: Sequence[LossSurface]) -> LossScale:
        """The scale of all finite losses; with room around losses that are all the same."""
        values = [value for surface in surfaces for value in surface.values]
        low, high = min(values), max(values)
        if high <= low:
            low, high = low - abs(low) / 20 - 1e-9, high + abs(high) / 20 + 1e-9
        return cls(low, high, surfaces[0].unit)

    @property
    def logarithmic(self) -> bool:
        """Whether equal ratios, not equal differences, are equally far."""
        return self.low > 0 and self.high / self.low > 10

    @property
    def title(self) -> str:
        """What the colours mean."""
        return f"Training loss ({self.unit}{', logarithmic scale' if self.logarithmic else ''})"

    @property
    def norm(self) -> Normalize:
        """Losses to [0, 1]."""
        from matplotlib.colors import LogNorm, Normalize

        return (LogNorm if self.logarithmic else Normalize)(self.low, self.high)

    @property
    def colours(self) -> ScalarMappable:
        """Losses to colours: viridis, which reads in grey and for the colour-blind."""
        from matplotlib.cm import ScalarMappable

        return ScalarMappable(self.norm, "viridis")

    @property
    def levels(self) -> list[float]:
        """The losses of the level lines, equally far from each other on the scale."""
        return [float(self.norm.inverse((k + 0.5) / LEVELS)) for k in range(LEVELS)]

    @property
    def ticks(self) -> list[float]:
        """Round losses; the ends where there are not two round ones."""
        from matplotlib.ticker import LogLocator, MaxNLocator

        locators = [LogLocator(), LogLocator(subs=(1, 2, 5))] if self.logarithmic else [MaxNLocator(5)]
        for locator in locators:
            inside = [float(v) for v in locator.tick_values(self.low, self.high) if self.low <= v <= self.high]
            if len(inside) > 1:
                return inside
        return [self.low, self.high]

    def draw_bar(self, axes: Axes, orientation: str) -> None:
        """Fills axes with the colours, their numbers and their title."""
        figure = axes.get_figure()
        assert figure is not None
        bar = figure.colorbar(self.colours, cax=axes, orientation=orientation, ticks=self.ticks, label=self.title)
        bar.ax.minorticks_off()
        bar.set_ticklabels([f"{tick:.3g}" for tick in self.ticks])

"""Drawing by matplotlib: reproducible SVG for the page and for a file, PNG beside it.

with plot(320, 300) as canvas:
    axes = canvas.add_axes(...)
    drawing = finish(canvas)
drawing.on_page                 # SVG in the page's text colour
drawing.files("contours")       # "contours.svg" and "contours.png", on white

Text stays text, identifiers come from a fixed salt and no date is written, so the same numbers give the same bytes.
Importing this module is cheap: matplotlib is imported when a figure is drawn.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msam_bench.reporting.figures.palette import INK, INK_ON_PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
_STYLE: dict[str, Any] = dict.fromkeys(_INKED, INK_ON_PAPER) | {
    **dict.fromkeys(("axes3d.xaxis.panecolor", "axes3d.yaxis.panecolor", "axes3d.zaxis.panecolor"), "none"),
    "axes.facecolor": "none",
    "font.size": 9,
    "grid.linewidth": 0.5,
    "legend.handlelength": 4.0,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "svg.fonttype": "none",
    "svg.hashsalt": "msam",
    "text.parse_math": False,
}
_NO_DATE = {"svg": {"Date": None, "Creator": None, "Format": None, "Type": None}, "png": {"Software": None}}


@dataclass(frozen=True)
class Drawing:
    """A drawing as SVG and PNG, dark on white."""

    svg: str
    png: bytes

    @property
    def on_page(self) -> str:
        """The SVG without its head, in the page's text colour and on the page's background."""
        body = self.svg[self.svg.index("<svg") :].replace(INK_ON_PAPER, INK)
        body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)  # a rule for every element of the page
        return re.sub(r'<g id="patch_1">.*?</g>', "", body, count=1, flags=re.DOTALL)  # the white paper

    def files(self, name: str) -> dict[str, bytes | str]:
        """Both files under their names."""
        return {f"{name}.svg": self.svg, f"{name}.png": self.png}


@contextmanager
def plot(width: float, height: float) -> Iterator[Canvas]:
    """Gives an empty canvas of a size in points, in one style whatever the user's own settings of matplotlib are."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context():
        mpl.rcdefaults()
        settings: Any = mpl.rcParams
        settings.update(_STYLE)
        yield Canvas(figsize=(width / 72, height / 72), facecolor="white")


def finish(canvas: Canvas) -> Drawing:
    """Renders a canvas; to be called inside `plot`."""
    streams = {kind: io.BytesIO() for kind in _NO_DATE}
    for kind, stream in streams.items():
        canvas.savefig(stream, format=kind, metadata=_NO_DATE[kind], dpi=144 if kind == "png" else 72)
    return Drawing(streams["svg"].getvalue().decode(), streams["png"].getvalue())


def place(canvas: Canvas, left: float, top: float, width: float, height: float, **options: Any) -> Axes:
    """Adds axes whose frame is given in points from the upper left corner."""
    wide, high = 72 * canvas.get_figwidth(), 72 * canvas.get_figheight()
    return canvas.add_axes((left / wide, 1 - (top + height) / high, width / wide, height / high), **options)


def write_text(canvas: Canvas, left: float, top: float, text: str) -> None:
    """Writes text whose upper left corner is given in points."""
    wide, high = 72 * canvas.get_figwidth(), 72 * canvas.get_figheight()
    canvas.text(left / wide, 1 - top / high, text, va="top", fontsize=8, linespacing=1.4)

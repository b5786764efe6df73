"""The figures as pictures that stand alone, for a paper or a slide: SVG and PNG, on paper, with their legend.

files = pictures({"learning": charts.learning(groups, methods)})
files["learning-0.svg"], files["learning-0.png"]

Importing this module is cheap: vl_convert is imported when a picture is drawn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from msam_bench.reporting.figures import Figure
from msam_bench.reporting.figures.palette import INK, INK_ON_PAPER

WIDTH = 640
_CHANNELS = ("color", "strokeDash", "shape")
_LEGEND = {"title": None, "orient": "bottom", "columns": 5, "labelFontSize": 12, "labelLimit": 240, "symbolOpacity": 1}
_POINTS = {"symbolSize": 50, "symbolDash": [1, 0], "symbolStrokeWidth": 0}
_LINES = {"symbolSize": 500, "symbolType": "stroke", "symbolStrokeWidth": 2}
FEW = 24
"""So many pictures are drawn here sooner than processes begin."""


def pictures(figures: Mapping[str, Sequence[Figure]], executor: Executor | None = None) -> dict[str, bytes | str]:
    """Draws every figure of every section that has a specification, here or by an executor.

    A figure without a name of its own has that of its section and place: section-0.svg, section-0.png and so on.
    """
    named = {
        figure.name or f"{section}-{place}": figure
        for section, panels in figures.items()
        for place, figure in enumerate(panels)
        if figure.spec
    }
    drawings = (executor.map if executor and len(named) > FEW else map)(drawn, named, named.values())
    return {name: content for files in drawings for name, content in files.items()}


def drawn(name: str, figure: Figure, scale: float = 2.0) -> dict[str, bytes | str]:
    """One figure as SVG and as PNG.

    Args:
        name: of the files, without ending.
        figure: what to draw.
        scale: pixels of the PNG for each unit of the SVG.
    """
    import vl_convert

    svg = _flat(str(vl_convert.vegalite_to_svg(standing_alone(figure))))
    return {f"{name}.svg": svg, f"{name}.png": bytes(vl_convert.svg_to_png(svg, scale=scale))}


def _flat(svg: str) -> str:
    """The same drawing with opacity in fill and stroke: an element with its own is drawn on a canvas first, slowly."""
    return re.sub(r' opacity="([^"]*)"', r' fill-opacity="\1" stroke-opacity="\1"', svg.replace(' opacity="1"', ""))


def standing_alone(figure: Figure) -> dict[str, Any]:
    """The specification with what the page gives it otherwise: a width, paper, ink, a title and a legend."""
    spec: dict[str, Any] = json.loads(json.dumps(figure.spec).replace(INK, INK_ON_PAPER))
    title = {"color": INK_ON_PAPER, "subtitleColor": INK_ON_PAPER, "fontSize": 14, "anchor": "start"}
    axis = {**spec["config"]["axis"], "labelLimit": 0}
    config = {**spec["config"], "background": "white", "font": "sans-serif", "axis": axis, "title": title}
    grey = [style.name for style in figure.drawn if figure.bold and style.name not in figure.bold]
    spec |= {"width": WIDTH, "config": config, "title": {"text": figure.title}}
    for layer in spec["layer"]:  # what only a pointer finds
        layer["encoding"].pop("tooltip", None)
        layer["mark"].pop("point", None) if (layer["mark"].get("point") or {}).get("opacity") == 0 else None
    if grey:
        spec["title"]["subtitle"] = f"Grey: {len(grey)} other{'s' if len(grey) > 1 else ''}"
    if figure.drawn:
        config["legend"] = {"labelColor": INK_ON_PAPER}
        named = [style.name for style in figure.drawn if style.name not in grey]
        _explain([layer["encoding"] for layer in spec["layer"]], named)
    return spec


def _explain(encodings: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """Gives colour, dash and marker the same legend, so that they share one; markers come before dashes."""
    used = {channel for encoding in encodings for channel in encoding}
    kind = _POINTS if "shape" in used else _LINES
    for encoding in encodings:
        for channel in _CHANNELS:
            if "field" in encoding.get(channel, {}):
                shown = channel != "strokeDash" or "shape" not in used
                encoding[channel]["legend"] = {**_LEGEND, **kind, "values": [*names]} if shown else None

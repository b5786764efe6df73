"""Draws the packages of the library and of the bench, and who imports whom, from the code: docs/architecture.svg.

python scripts/draw_architecture.py

A row is a layer: a package imports what lies below it. The layers of the bench are those of the import contract in
`pyproject.toml`; those of the library follow from its imports.
"""

from __future__ import annotations

import tomllib
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"
OUTPUT = ROOT / "docs" / "architecture.svg"
LEFT, WIDTH, HEIGHT, GAP, ROW = 20, 130, 46, 14, 86


def package_of(module: str) -> str:
    """The room of a module: the package or file directly below its root."""
    return ".".join(module.split(".")[:2])


def imports() -> dict[str, set[str]]:
    """Package -> the packages of the same root that it imports, type checks left out."""
    edges: dict[str, set[str]] = {}
    for root in ("msam", "msam_bench"):
        graph = grimp.build_graph(root, exclude_type_checking_imports=True, cache_dir=None)
        for module in graph.modules - {root, f"{root}.__main__"}:
            reached = {package_of(each) for each in graph.find_modules_directly_imported_by(module)}
            edges.setdefault(package_of(module), set()).update(reached - {package_of(module), root})
    return edges


def depths(edges: dict[str, set[str]], root: str) -> list[list[str]]:
    """The rooms of one root in rows, the ones that import most on top."""
    rooms = [room for room in edges if room.split(".")[0] == root]
    level: dict[str, int] = {}

    def depth(room: str, path: tuple[str, ...] = ()) -> int:
        if room not in level:
            below = [depth(each, (*path, room)) for each in edges[room] if each not in path]
            level[room] = 1 + max(below, default=-1)
        return level[room]

    for room in rooms:
        depth(room)
    return [sorted(room for room in rooms if level[room] == row) for row in range(max(level[r] for r in rooms), -1, -1)]


def contract_layers(edges: dict[str, set[str]]) -> list[list[str]]:
    """The layers of the bench as the import contract states them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["type"] == "layers")
    return [[room.strip() for room in layer.split("|") if room.strip() in edges] for layer in layers]


def draw(title: str, rows: list[list[str]], edges: dict[str, set[str]], top: float) -> tuple[list[str], float]:
    """One root as SVG elements, and how low it reaches."""
    places = {}
    wide = max(map(len, rows)) * (WIDTH + GAP)
    for number, row in enumerate(rows):
        offset = LEFT + (wide - len(row) * (WIDTH + GAP)) / 2
        places |= {room: (offset + i * (WIDTH + GAP), top + 34 + number * ROW) for i, room in enumerate(row)}
    arrows = [arrow(places[room], places[target]) for room in places for target in sorted(edges[room] & places.keys())]
    boxes = [line for room, place in places.items() for line in box(room, *place)]
    heading = f'<text x="{LEFT}" y="{top + 14}" class="title">{escape(title)}</text>'
    return [heading, *arrows, *boxes], top + 34 + len(rows) * ROW


def arrow(above: tuple[float, float], below: tuple[float, float]) -> str:
    """An import as a curve from the bottom of one box to the top of another."""
    x, y, to_x, to_y = above[0] + WIDTH / 2, above[1] + HEIGHT, below[0] + WIDTH / 2, below[1]
    return f'<path d="M{x},{y} C{x},{y + 24} {to_x},{to_y - 24} {to_x},{to_y}" class="edge"/>'


def box(room: str, x: float, y: float) -> list[str]:
    """A package as a box with its name and size."""
    middle = x + WIDTH / 2
    return [
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" class="room"/>',
        f'<text x="{middle}" y="{y + 20}" class="name">{escape(room.split(".", 1)[1])}</text>',
        f'<text x="{middle}" y="{y + 36}" class="size">{size(room)}</text>',
    ]


def size(room: str) -> str:
    """How many files a room has."""
    path = SRC / room.replace(".", "/")
    files = list(path.rglob("*.py")) if path.is_dir() else []
    return f"{len(files)} files" if files else "1 file"


STYLE = (
    "text{font-family:sans-serif;fill:#1f2933}.title{font-size:16px;font-weight:bold}"
    ".name{font-size:14px;text-anchor:middle}.size{font-size:11px;text-anchor:middle;fill:#52606d}"
    ".room{fill:#eef4fb;stroke:#2f6db3}.edge{fill:none;stroke:#9fb3c8;stroke-width:1}"
)


def main() -> None:
    """Writes the picture."""
    edges = imports()
    library, bench = depths(edges, "msam"), contract_layers(edges)
    upper, reach = draw("msam: the library", library, edges, 10)
    lower, low = draw("msam_bench: the bench", bench, edges, reach + 20)
    wide = 2 * LEFT + max(map(len, [*library, *bench])) * (WIDTH + GAP)
    label = "Packages of the library and of the bench in layers, with their imports"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {low}" role="img" aria-label="{label}">'
    background = f'<rect width="{wide}" height="{low}" fill="#fff"/>'
    lines = [head, f"<style>{STYLE}</style>", background, *upper, *lower, "</svg>"]
    OUTPUT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(OUTPUT)


if __name__ == "__main__":
    main()

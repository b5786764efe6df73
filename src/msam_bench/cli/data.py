"""`msam data`: which data sets there are and what is in them."""

from __future__ import annotations

from .app import data_app
from .screen import console, line, new_grid


@data_app.command(name="list")
def list_data() -> None:
    """Name, modalities, classes, sizes and licence of every data set."""
    from msam_bench.data import sources

    grid = new_grid("name", "modalities", "classes", "train / valid / test", "licence")
    for name, source in sources().items():
        sizes = " / ".join(f"{size:,}" for size in source.sizes().values())
        grid.add_row(name, ", ".join(source.modalities), str(len(source.classes)), sizes, source.licence)
    console.print(grid)


@data_app.command(name="show")
def show_data(name: str) -> None:
    """What a data set is, where it comes from, how to cite it, and what a sample looks like.

    Args:
        name: Name of a data set.
    """
    from msam_bench.data import source

    found = source(name)
    dataset = found.load(seed=0)
    for title in ("name", "summary", "origin", "licence", "citation"):
        line(title, getattr(found, title))
    line("classes", ", ".join(found.classes))
    line("split keeps together", found.group or "nothing; samples are drawn one by one")
    for split, part in dataset.splits.items():
        line(split, f"{len(part):,} samples")
    for modality, shape in dataset.shapes.items():
        line(modality, f"{list(shape)} per sample")
    line("fingerprint", dataset.fingerprint)

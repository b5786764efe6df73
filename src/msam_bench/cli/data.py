"""`msam data`: which data sets there are, what is in them, and how published ones are prepared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.cli.app import data_app
from msam_bench.cli.data_facts import show_counts, show_prepared
from msam_bench.cli.screen import console, counting, line, new_grid

if TYPE_CHECKING:
    from msam_bench.data import Dataset, Source

_WIDE = 400
"""Columns of a list that no terminal shows."""


@data_app.command(name="list")
def list_data() -> None:
    """Name, modalities, classes, sizes and licence of every data set, whether it is here and where to get it."""
    from msam_bench.data import names, registered

    grid = new_grid("name", "modalities", "classes", "train / valid / test", "licence", "here")
    for name in names():
        grid.add_row(name, *_row(name))
    console.print(grid, width=None if console.is_terminal else _WIDE, crop=False)
    elsewhere = {name: source.where for name, source in registered().items() if source.where}
    if elsewhere:
        console.print("\nWhere to get what does not ship with msam:")
    for name, where in elsewhere.items():
        line(name, where)


def _row(name: str) -> list[str]:
    """The cells of a data set in the list."""
    from msam_bench.data import source

    try:
        dataset = source(name)
        sizes = " / ".join(f"{size:,}" for size in dataset.sizes().values())
        classes = str(len(dataset.classes)) if dataset.classes else "values"
        return [", ".join(dataset.modalities), classes, sizes, dataset.licence, dataset.status()]
    except ValueError:
        return ["", "", "", "", f"damaged; msam data verify {name} says how"]


@data_app.command(name="show")
def show_data(name: str) -> None:
    """What a data set is, where it comes from, how to cite it, and what a sample looks like.

    Args:
        name: Name of a data set, or path of a prepared one.
    """
    from msam_bench.data import source

    dataset = source(name)
    for title in ("name", "summary", "origin", "where", "licence", "citation"):
        if text := getattr(dataset, title):
            line(title, text)
    line("here", dataset.status())
    line("classes", ", ".join(dataset.classes) or "none; values are regressed")
    line("split keeps together", dataset.group or "nothing; samples are drawn one by one")
    _show_choices(dataset)
    if not dataset.here:
        for split, size in dataset.sizes().items():
            line(split, f"{size:,} samples")
        return
    loaded = dataset.load(seed=0)
    for split, part in loaded.splits.items():
        line(split, f"{len(part):,} samples")
    _show_balance(loaded)
    _show_samples(loaded)


def _show_choices(dataset: Source) -> None:
    """The recipes and protocols of a published data set."""
    from msam_bench.data.sets.official import Official

    if isinstance(dataset, Official):
        for title, choices in (("recipe", dataset.recipes), ("split", dataset.protocols)):
            for choice, text in choices.items():
                line(f"--{title} {choice}", text)


def _show_samples(dataset: Dataset) -> None:
    from msam.presence import SUFFIX

    for modality, spec in dataset.modality_specs.items():
        partial = modality + SUFFIX in dataset.splits["train"].presence
        lacking = f", absent from {_absent(dataset, modality + SUFFIX):,} samples" if partial else ""
        line(modality, f"{spec.kind} {list(spec.shape)}, stored as {spec.dtype}{lacking}")
    line("fingerprint", dataset.fingerprint)


def _absent(dataset: Dataset, mask: str) -> int:
    """How many samples lack a modality."""
    parts = dataset.splits.values()
    masks = (part.presence[mask] if part.rows is None else part.presence[mask][part.rows] for part in parts)
    return sum(int((~mask_of_part).sum()) for mask_of_part in masks)


def _show_balance(dataset: Dataset) -> None:
    """How many samples each class has, and what always naming the largest one scores."""
    import torch

    target = torch.cat([part.target for part in dataset.splits.values()])
    if not dataset.classes:
        return
    known, last = (target >= 0) & (target < len(dataset.classes)), len(dataset.classes) - 1
    if not bool(known.all()):
        outside = int(target[~known][0])
        raise ValueError(f"Expected classes from 0 to {last} in {dataset.name}, found {outside}; prepare it again.")
    show_counts(dict(zip(dataset.classes, target.bincount(minlength=len(dataset.classes)).tolist(), strict=True)))


@data_app.command(name="prepare")
def prepare_data(
    name: str,
    source: Path,
    *,
    recipe: str | None = None,
    split: str | None = None,
    rename: str | None = None,
    into: Path | None = None,
) -> None:
    """Turn the files that others publish into a prepared data set. Stopped, the same command goes on where it was.

    Args:
        name: Name of a published data set (see `msam data list`).
        source: Folder of the downloaded files.
        recipe: How samples become tensors (see `msam data show NAME`); the first if not given.
        split: Who is in which split (see `msam data show NAME`); the first if not given.
        rename: Another name, to keep several recipes side by side.
        into: Folder of prepared data sets; data, or what MSAM_DATA names, if not given.
    """
    from msam_bench.data import registered
    from msam_bench.data import source as named
    from msam_bench.data.sets.official import Official
    from msam_bench.data.store.prepared import root

    dataset = registered().get(name) or named(name)
    if not isinstance(dataset, Official):
        status = dataset.status()
        raise ValueError(f"Expected a published data set to prepare, found {name} ({status}): use it as it is.")
    folder = (into or root()) / (rename or name)
    with counting("samples") as watch:
        manifest = dataset.prepare(source, recipe, split, folder, watch)
    show_prepared(folder, manifest)


@data_app.command(name="verify")
def verify_data(name: str) -> None:
    """Read every byte of a data set again and check it.

    Args:
        name: Name of a data set, or path of a prepared one.
    """
    from msam_bench.data import source

    dataset = source(name)
    with counting("bytes") as watch:
        dataset.verify(watch)
    line(name, f"is as it was prepared; fingerprint {dataset.fingerprint[:12]}")

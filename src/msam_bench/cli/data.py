"""`msam data`: which data sets there are, what is in them, and how others become one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from msam_bench.cli.app import data_app
from msam_bench.cli.screen import console, counting, line, new_grid
from msam_bench.names import stem

_WIDE = 400
"""Columns of a list that no terminal shows."""
_SHOWN = 12
"""Classes whose samples are counted on the screen."""
_UNEVEN = 3.0
"""A largest class of so many times the samples of the smallest is warned of."""

if TYPE_CHECKING:
    from msam_bench.data import Dataset, Source
    from msam_bench.data.store.manifest import Manifest


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
    return sum(int((~own).sum()) for own in masks)


def _show_balance(dataset: Dataset) -> None:
    """How many samples each class has, and what always naming the largest one scores."""
    import torch

    target = torch.cat([part.target for part in dataset.splits.values()])
    if dataset.classes:
        show_counts(dict(zip(dataset.classes, target.bincount(minlength=len(dataset.classes)).tolist(), strict=True)))


def show_counts(counts: dict[str, int]) -> None:
    """Samples of each class, the largest first, and how uneven they are."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    total, (largest, most), (smallest, least) = sum(counts.values()), ordered[0], ordered[-1]
    shown = ordered if len(ordered) <= _SHOWN else [*ordered[: _SHOWN // 2], *ordered[-_SHOWN // 2 :]]
    listed = [f"{name} {count:,} ({100 * count / total:.1f} %)" for name, count in shown]
    if len(shown) < len(ordered):
        listed.insert(_SHOWN // 2, "...")
    line("samples of a class", ", ".join(listed))
    line("majority class", f"'{largest}': always naming it is right in {100 * most / total:.1f} % of all samples")
    if most >= _UNEVEN * max(least, 1):
        line(
            "warning",
            f"class '{largest}' has {most / max(least, 1):.1f} times the samples of '{smallest}': accuracy hides what "
            "happens to the small ones; compare it with the majority's",
        )


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


def show_prepared(folder: Path, manifest: Manifest) -> None:
    """What was prepared."""
    line("prepared", folder)
    for split, count in manifest.counts.items():
        line(split, f"{count:,} samples")
    for modality, spec in manifest.header.modalities.items():
        lacking = ", absent from some samples" if modality in manifest.header.partial else ""
        line(modality, f"{spec.kind} {list(spec.shape)}, stored as {spec.dtype}{lacking}")
    line("fingerprint", manifest.fingerprint)


Columns = Annotated[tuple[str, ...], Parameter(negative=())]


@Parameter(name="*")
@dataclass(frozen=True)
class Stated:
    """What is known of data of one's own; whatever is left open is inferred, and the inference is printed."""

    label: Columns = ()
    "Column of the class, or columns of the values to regress."
    task: Literal["classes", "values"] | None = None
    "Whether labels are classes or values; texts and whole numbers are classes if not given."
    split: str | None = None
    "Column that says train, valid or test; none to leave the split to the seed."
    group: str | None = None
    "Column whose groups (subjects, speakers) stay on one side of the split; none for none."
    id: str | None = None
    "Column with the samples' names, on which several files are joined; none for none."
    leave_out: Columns = ()
    "Columns that are no modality."
    modality: Columns = ()
    "Columns of a modality, such as left=v1_* (several patterns: left=v1_*,w1_*); then no other column is one."
    missing: Literal["refuse", "mean", "drop"] = "refuse"
    "Missing values: refuse; mean of the training split, and absent where a whole modality is missing; drop the sample."
    na: Columns = ()
    "Further cells that mean a missing value, such as -999."
    decimal: Literal["point", "comma"] | None = None
    "Decimal sign of numbers in texts; seen from the cells if not given."
    least: int | None = None
    "Drop classes of fewer samples; classes of fewer than three are refused if not given."
    kind: dict[str, str] | None = None
    "Kind of a modality, such as --kind.notes sequence."
    encoder: dict[str, str] | None = None
    "Encoder of a modality, such as --encoder.face resnet18."
    size: int | None = None
    "Pixels of a side of pictures."
    seconds: float | None = None
    "Length of sounds."
    words: int | None = None
    "Length of texts."
    licence: str = "not stated"
    "Licence of the data."
    citation: str = "not stated"
    "What to cite."


@data_app.command(name="import")
def import_data(
    *sources: Path,
    name: str,
    stated: Stated = Stated(),
    into: Path | None = None,
    replace: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Turn data of your own into a prepared data set: arrays, a table, or a folder with a table of its files.

    Args:
        sources: npz, npy, safetensors, mat, h5, csv, tsv or parquet files, or a folder with one table; train.npz,
            valid.npz and test.npz are splits, files that share a column of ids are joined on it, others lie side by
            side.
        name: What to call it.
        stated: What is known of it.
        into: Folder of prepared data sets; data, or what MSAM_DATA names, if not given.
        replace: Let other data under that name give way, once these are built.
    """
    from msam_bench.data import registered
    from msam_bench.data.importing import ImportOptions, plan_import
    from msam_bench.data.store.prepared import root

    if name in registered() or stem(name) != name:
        raise ValueError(f"Expected a name of letters, digits and .+=- that no data set of msam has, found '{name}'.")
    known = asdict(stated)
    kinds, encoders, modalities = known.pop("kind") or {}, known.pop("encoder") or {}, known.pop("modality")
    plan = plan_import(sources, name, ImportOptions(**known, kinds=kinds, encoders=encoders, modalities=modalities))
    for note in plan.notes:
        line(note.subject, f"{note.text}   ({note.option})")
    folder = (into or root()) / name
    with counting("samples") as watch:
        manifest = plan.build(folder, watch, replace)
    show_prepared(folder, manifest)
    if manifest.header.classes:
        show_counts(_class_counts(manifest))
    for text in plan.warnings:
        line("warning", text)
    _show_next(name if into is None else str(folder))


def _class_counts(manifest: Manifest) -> dict[str, int]:
    """Samples of each class in all splits together."""
    counts = map(sum, zip(*manifest.per_class.values(), strict=True))
    return dict(zip(manifest.header.classes, counts, strict=True))


def _show_next(data: str) -> None:
    """The settings that runs start from, and what to do with the data."""
    from msam_bench.config.resolve import defaults

    optimizer = defaults(data).get("run", {}).get("optimizer", {})
    if optimizer:
        line("settings", f"untuned: {optimizer['name']}, lr {optimizer['lr']:g}   (--optimizer, --lr)")
    line("next", f"msam diagnose --data {data}   (who contributes, and whether fusion pays)")
    line("", f"msam sweep --data {data}      (settings chosen on validation)")
    line("", f"msam compare --data {data}    (all methods under the same settings)")

"""`msam data`: which data sets there are, what is in them, and how others become one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from msam_bench.cli.app import data_app
from msam_bench.cli.screen import console, counting, line, new_grid
from msam_bench.names import stem

if TYPE_CHECKING:
    from msam_bench.data import Source
    from msam_bench.data.store.manifest import Manifest


@data_app.command(name="list")
def list_data() -> None:
    """Name, modalities, classes, sizes and licence of every data set, whether it is here and where to get it."""
    from msam_bench.data import names, registered

    grid = new_grid("name", "modalities", "classes", "train / valid / test", "licence", "here")
    for name in names():
        grid.add_row(name, *_row(name))
    console.print(grid)
    elsewhere = {name: source.where for name, source in registered().items() if source.where}
    if elsewhere:
        console.print("\nWhere to get what does not ship with msam:")
    for name, where in elsewhere.items():
        line(name, where)


def _row(name: str) -> list[str]:
    """What the list says of a data set."""
    from msam_bench.data import source

    try:
        found = source(name)
        sizes = " / ".join(f"{size:,}" for size in found.sizes().values())
        classes = str(len(found.classes)) if found.classes else "values"
        return [", ".join(found.modalities), classes, sizes, found.licence, found.status()]
    except ValueError:
        return ["", "", "", "", f"damaged; msam data verify {name} says how"]


@data_app.command(name="show")
def show_data(name: str) -> None:
    """What a data set is, where it comes from, how to cite it, and what a sample looks like.

    Args:
        name: Name of a data set, or path of a prepared one.
    """
    from msam_bench.data import source

    found = source(name)
    for title in ("name", "summary", "origin", "where", "licence", "citation"):
        if said := getattr(found, title):
            line(title, said)
    line("here", found.status())
    line("classes", ", ".join(found.classes) or "none; values are regressed")
    line("split keeps together", found.group or "nothing; samples are drawn one by one")
    for split, size in found.sizes().items():
        line(split, f"{size:,} samples")
    _show_choices(found)
    if found.here:
        _show_samples(found)


def _show_choices(found: Source) -> None:
    """The recipes and protocols of a published data set."""
    from msam_bench.data.sets.official import Official

    if isinstance(found, Official):
        for title, choices in (("recipe", found.recipes), ("split", found.protocols)):
            for choice, says in choices.items():
                line(f"--{title} {choice}", says)


def _show_samples(found: Source) -> None:
    dataset = found.load(seed=0)
    for modality, look in dataset.modality_specs.items():
        line(modality, f"{look.kind} {list(look.shape)}, stored as {look.dtype}")
    line("fingerprint", dataset.fingerprint)


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

    found = registered().get(name) or named(name)
    if not isinstance(found, Official):
        raise ValueError(f"Expected a published data set to prepare, found {name} ({found.status()}): use it as it is.")
    folder = (into or root()) / (rename or name)
    with counting("samples") as watch:
        manifest = found.prepare(source, recipe, split, folder, watch)
    show_prepared(folder, manifest)


@data_app.command(name="verify")
def verify_data(name: str) -> None:
    """Read every byte of a data set again and check it.

    Args:
        name: Name of a data set, or path of a prepared one.
    """
    from msam_bench.data import source

    found = source(name)
    with counting("bytes") as watch:
        found.verify(watch)
    line(name, f"is as it was prepared; fingerprint {found.fingerprint[:12]}")


def show_prepared(folder: Path, manifest: Manifest) -> None:
    """What was prepared, and what can be done with it."""
    line("prepared", folder)
    for split, count in manifest.counts.items():
        line(split, f"{count:,} samples")
    for modality, look in manifest.header.modalities.items():
        line(modality, f"{look.kind} {list(look.shape)}, stored as {look.dtype}")
    line("fingerprint", manifest.fingerprint)


Columns = Annotated[tuple[str, ...], Parameter(negative=())]


@Parameter(name="*")
@dataclass(frozen=True)
class Said:
    """What is known of data of one's own; whatever is left open is guessed, and the guess is printed."""

    label: Columns = ()
    "Column of the class, or columns of the values to regress."
    task: Literal["classes", "values"] | None = None
    "Whether labels are classes or values."
    split: str | None = None
    "Column that says train, valid or test; none to leave the split to the seed."
    group: str | None = None
    "Column whose groups (subjects, speakers) stay on one side of the split; none for none."
    id: str | None = None
    "Column with the samples' names."
    leave_out: Columns = ()
    "Columns that are no modality."
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
def import_data(*sources: Path, name: str, said: Said = Said(), into: Path | None = None) -> None:
    """Turn data of your own into a prepared data set: arrays, a table, or a folder with a table of its files.

    Args:
        sources: npz, npy, safetensors, csv, tsv or parquet files, or a folder with one table; train.npz, valid.npz and
            test.npz are splits, other files lie side by side.
        name: What to call it.
        said: What is known of it.
        into: Folder of prepared data sets; data, or what MSAM_DATA names, if not given.
    """
    from msam_bench.data import registered
    from msam_bench.data.importing import Asked, planned
    from msam_bench.data.store.building import build
    from msam_bench.data.store.prepared import root

    if name in registered() or stem(name) != name:
        raise ValueError(f"Expected a name of letters, digits and .+=- that no data set of msam has, found '{name}'.")
    known = asdict(said)
    kinds, encoders = known.pop("kind") or {}, known.pop("encoder") or {}
    made = planned(sources, name, Asked(**known, kinds=kinds, encoders=encoders))
    for what, how, option in made.said:
        line(what, f"{how}   ({option})")
    folder = (into or root()) / name
    with counting("samples") as watch:
        manifest = build(folder, made.header, made.plan, made.read, watch)
    show_prepared(folder, manifest)
    line("next", f"msam compare --data {name if into is None else folder}")

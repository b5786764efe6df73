"""`msam data import`: data of the user's own become a prepared data set."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from msam_bench.cli.app import data_app
from msam_bench.cli.data_facts import show_counts, show_prepared
from msam_bench.cli.screen import counting, line
from msam_bench.names import stem

if TYPE_CHECKING:
    from msam_bench.data.store.manifest import Manifest

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

"""From sources and options to everything that building a store needs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from msam_bench.data.importing.column import Column
from msam_bench.data.importing.joining import read_sources
from msam_bench.data.importing.labels import label_columns, unlabelled
from msam_bench.data.importing.missing import absent_modalities, check_complete, fill_empty_samples, incomplete
from msam_bench.data.importing.modalities import Modalities, build_columns, encoder_of
from msam_bench.data.importing.options import ImportOptions, Note
from msam_bench.data.importing.roles import Roles, assign_roles
from msam_bench.data.importing.saved import is_saved, read_saved
from msam_bench.data.importing.sources import RawSamples
from msam_bench.data.importing.splitting import SHARES, plan_split
from msam_bench.data.store.building import Plan, build
from msam_bench.data.store.manifest import Header, Manifest, sha256_of

VERSION = 2
"""Raised whenever the way from sources to tensors changes: what an older msam has built is then built anew."""


@dataclass(frozen=True)
class ImportPlan:
    """What is to be built.

    Args:
        header: What the store records of itself.
        plan: Who is in which split.
        columns: The modalities.
        notes: What was inferred.
        warnings: What may make the result worthless.
        digest: A hash of all sources, which tells corrected ones from those of before.
    """

    header: Header
    plan: Plan
    columns: tuple[Column, ...]
    notes: tuple[Note, ...]
    warnings: tuple[str, ...]
    digest: str

    def read(self, row: int) -> dict[str, Tensor]:
        """The tensors of a sample, without the modalities that it lacks."""
        return {column.name: column.read(row) for column in self.columns if row not in column.absent}

    def build(
        self,
        folder: Path,
        progress: Callable[[int, int], None] = lambda done, total: None,
        replace_other: bool = False,
    ) -> Manifest:
        """Builds the store.

        Args:
            folder: Where it will lie.
            progress: Called with the number of samples done, and of all.
            replace_other: Whether a store of other data under that name gives way, once this one is finished.

        Raises:
            ValueError: A sample that cannot be stored, other data under that name, a full disk.
        """
        return build(
            folder, self.header, self.plan, self.read, progress, sources=self.digest, replace_other=replace_other
        )


def plan_import(sources: Sequence[Path], name: str, options: ImportOptions) -> ImportPlan:
    """Reads the sources, infers what is not stated, and plans; decodes only what an inference needs.

    Raises:
        ValueError: Sources that are missing, damaged, or do not tell what is to be learned.
    """
    raw, options = _read(sources, options)
    raw = _without_unlabelled(raw, options)
    raw, roles, modalities = _complete(_without_small_classes(raw, options), options)
    plan, split, uneven = plan_split(roles, absent_modalities(modalities.columns, len(raw.places)))
    header = Header(
        name=name,
        summary=f"{len(raw.places):,} samples imported from {raw.title}.",
        modalities={column.name: column.spec for column in modalities.columns},
        classes=roles.labels.classes,
        licence=options.licence,
        citation=options.citation,
        origin=f"imported from {raw.title}",
        recipe={column.name: dict(column.recipe) for column in modalities.columns},
        split="drawn" if roles.split is None else "given",
        group=roles.group_name,
        shares=SHARES,
        partial=tuple(column.name for column in modalities.columns if column.absent),
        imputed=tuple(column.name for column in modalities.columns if column.gaps),
    )
    notes = (roles.labels.note, split, *raw.notes, *_role_notes(roles), *map(_modality_note, modalities.columns))
    notes += tuple(Note(column, f"left out: {reason}", "--modality") for column, reason in modalities.left_out.items())
    digest = _digest(raw, modalities.columns, options)
    warnings = (*modalities.warnings, *_alike(roles.labels.classes), *_shortened(uneven))
    return ImportPlan(header, plan, tuple(modalities.columns), notes, warnings, digest)


def _read(sources: Sequence[Path], options: ImportOptions) -> tuple[RawSamples, ImportOptions]:
    """The samples; a data set that Hugging Face's `datasets` saved tells what its columns are."""
    if len(sources) != 1 or not is_saved(sources[0]):
        return read_sources(sources, options), options
    saved = read_saved(sources[0], options.size, options.seconds)
    kinds = {name: kind for name, kind in saved.kinds.items() if name not in options.leave_out}
    raw = RawSamples(saved.cells, saved.arrays, saved.places, None, sources[0].name, files=saved.files, na=options.na)
    return raw, replace(options, kinds={**kinds, **options.kinds})


def _without_unlabelled(raw: RawSamples, options: ImportOptions) -> RawSamples:
    """The samples that have a label, if others are to be dropped."""
    if options.missing != "drop":
        return raw
    return _without(raw, set(unlabelled(raw, label_columns(raw, options))), "without a label", "--missing")


def _without_small_classes(raw: RawSamples, options: ImportOptions) -> RawSamples:
    """The samples of classes that are large enough, if others are to be dropped."""
    if options.least is None:
        return raw
    roles = assign_roles(raw, options)
    counts = Counter(roles.labels.targets if roles.labels.classes else ())
    small = {row for row, target in enumerate(roles.labels.targets) if 0 < counts[target] < options.least}
    return _without(raw, small, f"of classes of fewer than {options.least}", "--least")


def _complete(raw: RawSamples, options: ImportOptions) -> tuple[RawSamples, Roles, Modalities]:
    """The samples that are kept, with their roles and modalities."""
    roles = assign_roles(raw, options)
    modalities = build_columns(raw, roles, options)
    if options.missing == "drop" and (rows := incomplete(modalities.columns)):
        raw = _without(raw, set(rows), "that lack a value", "--missing")
        roles = assign_roles(raw, options)
        modalities = build_columns(raw, roles, options)
    if options.missing == "mean":
        modalities = replace(modalities, columns=fill_empty_samples(modalities.columns, len(raw.places)))
    check_complete(modalities.columns, raw.places, options.missing)
    return raw, roles, modalities


def _without(raw: RawSamples, rows: set[int], what: str, option: str) -> RawSamples:
    if not rows:
        return raw
    kept = [row for row in range(len(raw.places)) if row not in rows]
    if not kept:
        raise ValueError(f"Expected samples to keep in {raw.title}, found all {len(rows):,} {what}: see {option}.")
    note = Note("dropped", f"{len(rows):,} of {len(raw.places):,} samples {what}", option)
    return replace(raw.take(kept), notes=(*raw.notes, note))


def _role_notes(roles: Roles) -> list[Note]:
    """What was inferred of groups."""
    if roles.group is None or roles.group_name is None:
        return []
    return [Note("group", f"column {roles.group_name}: {len(set(roles.group)):,} different", "--group")]


def _modality_note(column: Column) -> Note:
    filled = f"; {_counted(len(column.gaps))} with values filled by the training mean" if column.gaps else ""
    lacking = f"; absent from {_counted(len(column.absent))}" if column.absent else ""
    text = f"{column.description}; encoder {encoder_of(column.spec)}{filled}{lacking}"
    return Note(column.name, text, f"{column.options}, --encoder")


def _counted(count: int) -> str:
    return f"{count:,} sample{'s' * (count != 1)}"


def _alike(classes: Sequence[str]) -> list[str]:
    """Warnings of classes that differ in capitals or blanks alone."""
    first: dict[str, str] = {}
    warnings = []
    for name in classes:
        other = first.setdefault("".join(name.lower().split()), name)
        if other != name:
            warnings.append(f"classes '{other}' and '{name}' differ in capitals or blanks alone: write them alike")
    return warnings


def _shortened(warnings: Sequence[str]) -> list[str]:
    """The first few warnings, and how many more there are."""
    few = 5
    return [*warnings[:few], *([f"and {len(warnings) - few} more such"] if len(warnings) > few else [])]


def _digest(raw: RawSamples, columns: Sequence[Column], options: ImportOptions) -> str:
    """A hash of all that decides the values beside the header: the content of every file that is read."""
    files = dict.fromkeys([*raw.files, *(path for column in columns for path in column.files)])
    text = "\n".join([f"{VERSION} {options.decimal} {options.na}", *(sha256_of(path) for path in files)])
    return hashlib.sha256(text.encode()).hexdigest()

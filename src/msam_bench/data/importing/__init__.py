"""The user's own data: from arrays, a table or a folder to a plan that `building.build` turns into a prepared store.

made = planned([Path("folder")], "mine", Asked(label=("emotion",)))
for what, how, option in made.said: ...              # what was guessed, and what overrides it
build(Path("data/mine"), made.header, made.plan, made.read)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from msam_bench.data.base import SPLITS
from msam_bench.data.importing.asked import Asked
from msam_bench.data.importing.column import Column
from msam_bench.data.importing.modalities import columns, encoder_of
from msam_bench.data.importing.raw import Raw, found
from msam_bench.data.importing.roles import Roles, Said, assigned
from msam_bench.data.importing.saved import is_saved, read_saved
from msam_bench.data.splits import drawn, drawn_groups
from msam_bench.data.store.building import Plan, Sample
from msam_bench.data.store.manifest import ALL, Header

__all__ = ["Asked", "Imported", "planned"]

SHARES = (0.1, 0.2)
"""Of validation and test, where the seed draws the split; of validation, where a split is given without one."""


@dataclass(frozen=True)
class Imported:
    """What is to be built.

    Args:
        header: What the store says of itself.
        plan: Who is in which split.
        columns: The modalities.
        said: What was guessed: of what, how, and the option that overrides it.
    """

    header: Header
    plan: Plan
    columns: tuple[Column, ...]
    said: tuple[Said, ...]

    def read(self, row: int) -> dict[str, Tensor]:
        """The tensors of a sample."""
        return {column.name: column.read(row) for column in self.columns}


def planned(sources: Sequence[Path], name: str, asked: Asked) -> Imported:
    """Looks at the sources, guesses what is not asked for, and plans; decodes only what a guess needs.

    Raises:
        ValueError: Sources that are missing, damaged, or do not say what is to be learned.
    """
    raw, asked = _raw(sources, asked)
    roles = assigned(raw, asked)
    made = columns(raw, roles, asked)
    plan, split = _split(roles)
    header = Header(
        name=name,
        summary=f"{len(raw.places):,} samples imported from {raw.title}.",
        modalities={column.name: column.look for column in made},
        classes=roles.classes,
        licence=asked.licence,
        citation=asked.citation,
        origin=f"imported from {raw.title}",
        recipe={column.name: dict(column.recipe) for column in made},
        split=split[0],
        group=roles.group_name,
        shares=SHARES,
    )
    return Imported(header, plan, tuple(made), (*roles.said, split[1], *map(_said, made)))


def _raw(sources: Sequence[Path], asked: Asked) -> tuple[Raw, Asked]:
    """What lies in the sources; a data set that Hugging Face's `datasets` saved says what its columns are."""
    if len(sources) != 1 or not is_saved(sources[0]):
        return found(sources), asked
    saved = read_saved(sources[0], asked.size, asked.seconds)
    kinds = {name: kind for name, kind in saved.kinds.items() if name not in asked.leave_out}
    raw = Raw(saved.cells, saved.arrays, saved.places, None, sources[0].name)
    return raw, replace(asked, kinds={**kinds, **asked.kinds})


def _said(column: Column) -> Said:
    return column.name, f"{column.says}; encoder {encoder_of(column.look)}", f"{column.overrides}, --encoder"


def _split(roles: Roles) -> tuple[Plan, tuple[str, Said]]:
    """The plan, the name of its protocol, and what is said of it."""
    samples = [
        Sample(ident, row, label, None if roles.group is None else roles.group[row])
        for row, (ident, label) in enumerate(zip(roles.ids, roles.labels, strict=True))
    ]
    whole = "" if roles.group is None else f", each {roles.group_name} on one side"
    if roles.split is None:
        _check_drawable(roles)
        says = f"drawn by the seed: 70 % train, 10 % validate, 20 % test{whole}"
        return {ALL: samples}, ("drawn", ("split", says, "--split, --group"))
    parts = {part: [sample for sample, own in zip(samples, roles.split, strict=True) if own == part] for part in SPLITS}
    says = f"as given{whole}"
    if not parts["valid"] and parts["train"]:
        parts |= _carved(parts["train"], bool(roles.classes))
        says += ", and a tenth of train validates"
    return parts, ("given", ("split", says, "--split none, --group none"))


def _check_drawable(roles: Roles) -> None:
    units = len(roles.labels) if roles.group is None else len(set(roles.group))
    if units < len(SPLITS):
        what = "samples" if roles.group is None else f"of '{roles.group_name}'"
        raise ValueError(f"Expected three or more different {what} to draw a split from, found {units}: add some.")


def _carved(train: Sequence[Sample], classes: bool) -> Mapping[str, list[Sample]]:
    """A validation part out of train, always the same one."""
    shares = (SHARES[0], 0.0)
    if train[0].group is not None:
        rows = drawn_groups([sample.group for sample in train], shares, seed=0)
    else:
        rows = drawn([sample.label if classes else 0 for sample in train], shares, seed=0)
    return {part: [train[row] for row in sorted(rows[part])] for part in ("train", "valid")}

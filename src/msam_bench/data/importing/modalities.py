"""Which columns are modalities, and what each of them is.

    plan = build_columns(raw, roles, ImportOptions(modalities=("left=v1_*", "right=v2_*")))
    for column in plan.columns:
        column.name, column.spec.kind, column.description, column.read(0)
    plan.left_out                 # column -> why it is no modality
    plan.warnings                 # columns of names that alone tell the class

Columns of names of files become what the files are, arrays what their shape says, columns of numbers vectors, and other
texts ids of words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from msam_bench.data.importing.claims import claimed, name_prefixes
from msam_bench.data.importing.column import Column
from msam_bench.data.importing.endings import has_files
from msam_bench.data.importing.files import build_from_files
from msam_bench.data.importing.numeric import build_arrays, build_vector
from msam_bench.data.importing.options import ImportOptions
from msam_bench.data.importing.roles import Roles
from msam_bench.data.importing.sources import RawSamples
from msam_bench.data.importing.texts import build_texts
from msam_bench.data.importing.unclaimed import left_out, looks_like_files, separating
from msam_bench.data.modality import Modality
from msam_bench.encoders import encoders, takes, usual_encoder
from msam_bench.names import nearest


@dataclass(frozen=True)
class Modalities:
    """What becomes of the columns that have no role.

    Args:
        columns: The modalities, in the order of the columns.
        left_out: Column -> why it is no modality.
        warnings: What may make them worthless.
    """

    columns: list[Column]
    left_out: Mapping[str, str]
    warnings: list[str]


def build_columns(raw: RawSamples, roles: Roles, options: ImportOptions) -> Modalities:
    """The modalities of some samples.

    Raises:
        ValueError: None, an option that names a modality that is not there, or a column that cannot be one.
    """
    check_known(options.leave_out, [*raw.columns, *raw.omitted], "a column")
    members = claimed(raw, roles, options)
    reasons = {} if members else left_out(raw, roles, options)
    free = [name for name in raw.columns if name not in (*roles.columns, *options.leave_out)]
    if members:
        claims = {column for columns in members.values() for column in columns}
        reasons = {name: "no --modality names it" for name in free if name not in claims}
    names = [name for name in free if name not in reasons]
    groups = members or _groups(raw, names)
    columns = [each for name, group in groups.items() for each in _build(raw, name, group, options)]
    columns = [column for column in columns if column.name not in options.leave_out]
    _check_columns(columns, raw, reasons, options)
    tested = [name for name in names if name in raw.cells and not _is_files(raw, name)]
    chosen = [_with_encoder(column, options.encoders.get(column.name)) for column in columns]
    return Modalities(chosen, reasons, separating(raw, roles, tested))


def encoder_of(spec: Modality) -> str:
    """The encoder that a modality gets."""
    return spec.encoder or usual_encoder(spec.kind)


def check_known(names: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raises a ValueError for a name that is not known."""
    known = list(known)
    for name in names:
        if name not in known:
            raise ValueError(f"Expected {what} among {', '.join(known)}, found '{name}': {nearest(name, known)}.")


def _groups(raw: RawSamples, names: Sequence[str]) -> dict[str, list[str]]:
    """Modality -> its columns: files and arrays alone, numbers by the beginnings of their names, then texts."""
    files = [name for name in names if name in raw.cells and _is_files(raw, name)]
    plain = [name for name in names if name in raw.cells and name not in files and raw.numbers(name).is_numeric]
    arrays = [name for name in names if name in raw.arrays]
    texts = [name for name in names if name in raw.cells and name not in files and name not in plain]
    groups: dict[str, list[str]] = {}
    for key, members in [
        *((name, [name]) for name in (*files, *arrays)),
        *name_prefixes(plain).items(),
        *((name, [name]) for name in texts),
    ]:
        name = to_identifier(key)
        if name in groups:
            raise ValueError(
                f"Expected modalities of different names, found '{name}' of column {groups[name][0]} and of column "
                f"{members[0]}: name them by --modality NAME=PATTERN."
            )
        groups[name] = members
    return groups


def to_identifier(name: str) -> str:
    """The name in letters, digits, - and _, beginning with a letter, and none that torch uses."""
    from torch.nn import ModuleDict

    plain = re.sub(r"[^\w-]+", "-", name).strip("-")
    plain = plain if plain.replace("-", "_").isidentifier() else f"column-{plain}".strip("-")
    return f"{plain}-input" if hasattr(ModuleDict(), plain) or plain == "target" else plain


def _is_files(raw: RawSamples, name: str) -> bool:
    cells = raw.cells[name]
    return raw.folder is not None and (has_files(cells) or looks_like_files(cells))


def _build(raw: RawSamples, name: str, members: Sequence[str], options: ImportOptions) -> list[Column]:
    """The modality, or for videos the two modalities, of some columns."""
    first, kind = members[0], options.kinds.get(name)
    if len(members) > 1 or (first in raw.cells and not _is_files(raw, first) and raw.numbers(first).is_numeric):
        if odd := [member for member in members if member in raw.arrays or not raw.numbers(member).is_numeric]:
            raise ValueError(
                f"Expected columns of numbers to make the modality '{name}', found '{odd[0]}': give it one of its own."
            )
        return [build_vector(raw, name, members)]
    if first in raw.arrays:
        return [build_arrays(name, raw.arrays[first], kind, raw.places)]
    if _is_files(raw, first):
        return build_from_files(raw, name, first, options)
    return [build_texts(name, first, raw.cells[first], options.words)]


def _check_columns(
    columns: Sequence[Column], raw: RawSamples, reasons: Mapping[str, str], options: ImportOptions
) -> None:
    if not columns:
        listed = "; ".join(f"{name} ({reason})" for name, reason in reasons.items()) or "none"
        raise ValueError(
            f"Expected a column in {raw.title} that is no label, found {listed}: there is nothing to learn from; "
            "--modality NAME=COLUMN makes a column a modality."
        )
    for option in (options.kinds, options.encoders):
        check_known(option, [column.name for column in columns], "a modality")
    for column in columns:
        kind = options.kinds.get(column.name)
        if kind not in (None, column.spec.kind):
            raise ValueError(
                f"Expected a kind for an array, found '{kind}' for '{column.name}', {column.description}: leave --kind "
                "out."
            )


def _with_encoder(column: Column, name: str | None) -> Column:
    """The column with the encoder that is stated."""
    if name is None:
        return column
    check_known([name], encoders(), "an encoder")
    kinds = takes(encoders()[name]).kinds
    if column.spec.kind not in kinds:
        raise ValueError(
            f"Expected {', '.join(kinds)} for '{name}', found '{column.name}' of kind '{column.spec.kind}': "
            "choose another encoder."
        )
    return replace(column, spec=replace(column.spec, encoder=name))

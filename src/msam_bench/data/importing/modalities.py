"""Which columns are modalities, and what each of them is.

    for column in columns(raw, roles, Asked()):
        column.name, column.look.kind, column.says, column.read(0)

Columns of paths become what the files are, arrays what their shape says, columns of numbers vectors, and other texts
ids of words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from msam_bench.data.importing import texts
from msam_bench.data.importing.asked import Asked
from msam_bench.data.importing.column import Column
from msam_bench.data.importing.files import ENDINGS, of_paths
from msam_bench.data.importing.numeric import of_arrays, of_columns
from msam_bench.data.importing.raw import Raw
from msam_bench.data.importing.roles import Roles, numbers
from msam_bench.data.modality import Modality
from msam_bench.encoders import encoders, takes, usual_encoder
from msam_bench.names import nearest


def columns(raw: Raw, roles: Roles, asked: Asked) -> list[Column]:
    """The modalities, in the order of the columns.

    Raises:
        ValueError: None, an option that names a modality that is not there, or a column that cannot be one.
    """
    _check_known(asked.leave_out, raw.columns, "a column")
    left = {*roles.columns, *asked.leave_out}
    files, plain, said = _sorted(raw, [name for name in raw.cells if name not in left])
    made = [
        *(column for name in files for column in of_paths(name, _paths(raw, name), asked)),
        *(of_arrays(name, raw.arrays[name], asked.kinds.get(name)) for name in raw.arrays if name not in left),
        *of_columns(raw, plain),
        *(_text(name, [str(cell) for cell in raw.cells[name]], asked) for name in said),
    ]
    made = [replace(column, name=_speakable(column.name)) for column in made if column.name not in asked.leave_out]
    if not made:
        raise ValueError(
            f"Expected a column in {raw.title} that is no label, found none: there is nothing to learn from."
        )
    for option in (asked.kinds, asked.encoders):
        _check_known(option, [column.name for column in made], "a modality")
    for column in made:
        _check_kind(column, asked.kinds.get(column.name))
    return [_with_encoder(column, asked.encoders.get(column.name)) for column in made]


def encoder_of(look: Modality) -> str:
    """The encoder that a modality gets."""
    return look.encoder or usual_encoder(look.kind)


def _sorted(raw: Raw, names: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Columns of paths, of numbers, and of other texts."""
    files = [name for name in names if raw.folder is not None and _is_paths(raw.cells[name])]
    plain = [name for name in names if name not in files and numbers(raw.cells[name]) is not None]
    return files, plain, [name for name in names if name not in files and name not in plain]


def _is_paths(cells: Sequence[object]) -> bool:
    """Whether most cells end as files do."""
    return 2 * sum(_ending(cell) in ENDINGS for cell in cells) > len(cells)


def _ending(cell: object) -> str:
    return PurePath(str(cell)).suffix.lower()


def _paths(raw: Raw, name: str) -> list[Path]:
    """The files of a column, all of them there and inside the folder of the table."""
    assert raw.folder is not None
    inside, found = raw.folder.resolve(), []
    for place, cell in zip(raw.places, raw.cells[name], strict=True):
        path = raw.folder / str(cell)
        if _ending(cell) not in ENDINGS:
            raise ValueError(
                f"Expected a file in column '{name}', found '{cell}' in {place}: fill it, or drop the line."
            )
        if not path.resolve().is_relative_to(inside):
            raise ValueError(f"Expected a file inside {raw.folder}, found '{cell}' in {place}: move it there.")
        if not path.is_file():
            raise ValueError(f"Expected the file {path}, which {place} names, found none: fetch it, or drop the line.")
        found.append(path)
    return found


def _text(name: str, cells: Sequence[str], asked: Asked) -> Column:
    length = asked.words or texts.length_for(cells)
    look = Modality("tokens", dtype="int16", vocabulary=texts.VOCABULARY)
    says = f"the first {length} words of each text, hashed to {texts.VOCABULARY} ids"
    read = lambda row: texts.ids(cells[row], length)  # noqa: E731
    return Column(name, look, read, says, "--words", {"words": length, "hash": "crc32"})


def _speakable(name: str) -> str:
    """The name in letters, digits, - and _."""
    return re.sub(r"[^\w-]+", "-", name).strip("-")


def _check_kind(column: Column, kind: str | None) -> None:
    if kind not in (None, column.look.kind):
        raise ValueError(
            f"Expected a kind for an array, found '{kind}' for '{column.name}', {column.says}: leave --kind out."
        )


def _with_encoder(column: Column, name: str | None) -> Column:
    """The column with the encoder that was asked for."""
    if name is None:
        return column
    _check_known([name], encoders(), "an encoder")
    kinds = takes(encoders()[name]).kinds
    if column.look.kind not in kinds:
        raise ValueError(
            f"Expected {', '.join(kinds)} for '{name}', found '{column.name}' of kind '{column.look.kind}': "
            "choose another encoder."
        )
    return replace(column, look=replace(column.look, encoder=name))


def _check_known(names: Iterable[str], known: Iterable[str], what: str) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            raise ValueError(f"Expected {what} among {', '.join(known)}, found '{name}': {nearest(name, known)}.")

"""Several files as one set of samples: named after splits, joined on a column of ids, or side by side.

raw = read_sources([Path("audio.csv"), Path("video.csv"), Path("labels.csv")], ImportOptions(id="clip"))
raw.notes[-1]                # on which column they were joined
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from msam_bench.data.importing.names import IDS, ROLES, is_id
from msam_bench.data.importing.numbers import DecimalHint
from msam_bench.data.importing.options import NONE, ImportOptions, Note
from msam_bench.data.importing.sources import SPLIT_NAMES, RawSamples, read_file, stacked


def read_sources(sources: Sequence[Path], options: ImportOptions) -> RawSamples:
    """The samples of some files, or of one folder with a table of its files.

    Raises:
        ValueError: No source, one that is missing or of another kind, or several that do not go together.
    """
    if not sources:
        raise ValueError("Expected at least one file or folder to import, found none: name one.")
    raws = [read_file(path, options.leave_out) for path in sources]
    raw = raws[0] if len(raws) == 1 else _together(sources, raws, options)
    stated = dict.fromkeys(raw.cells, DecimalHint(options.decimal))
    return replace(raw, na=options.na, hints=stated if options.decimal else raw.hints)


def _together(paths: Sequence[Path], raws: Sequence[RawSamples], options: ImportOptions) -> RawSamples:
    stems = [path.stem for path in paths]
    if all(stem.lower() in SPLIT_NAMES for stem in stems) and len(set(stems)) == len(stems):
        return stacked(dict(zip(stems, raws, strict=True)), ", ".join(path.name for path in paths))
    key = _key(raws, options.id)
    named = dict(zip(_unique(stems), raws, strict=True))
    return _side_by_side(named) if key is None else _joined(named, key, options)


def _unique(stems: Sequence[str]) -> list[str]:
    """Stems of files, numbered where two are alike."""
    return [stem if stems.count(stem) == 1 else f"{stem}{number}" for number, stem in enumerate(stems, 1)]


def _key(raws: Sequence[RawSamples], stated: str | None) -> str | None:
    """The column of ids that all files share: the stated one, or one named so, or one that no row repeats."""
    shared = [name for name in raws[0].cells if all(name in raw.cells for raw in raws)]
    if stated == NONE:
        return None
    if stated is not None:
        if stated not in shared:
            missing = next(raw.title for raw in raws if stated not in raw.cells)
            raise ValueError(f"Expected the column '{stated}' in every file, found none in {missing}: add it.")
        return stated
    usual = [name for name in shared if name.lower() in IDS or is_id(name)]
    distinct = [name for name in shared if all(len(set(map(str, raw.cells[name]))) == len(raw.places) for raw in raws)]
    return next(iter(usual or distinct), None)


def _side_by_side(raws: Mapping[str, RawSamples]) -> RawSamples:
    """Files of as many rows, in the same order."""
    columns = [column for raw in raws.values() for column in raw.columns]
    lengths = {raw.title: len(raw.places) for raw in raws.values()}
    if len({len(raw.places) for raw in raws.values()}) > 1 or len(set(columns)) < len(columns):
        listed = ", ".join(f"{name} {count}" for name, count in lengths.items())
        raise ValueError(
            f"Expected files with different columns of as many samples, found {listed}: bring them in line, or give "
            "each a column of ids to join them on (--id)."
        )
    return _merged(list(raws.values()))


def _joined(raws: Mapping[str, RawSamples], key: str, options: ImportOptions) -> RawSamples:
    """Files whose rows belong together by their ids."""
    rows = {stem: _rows_by_key(raw, key) for stem, raw in raws.items()}
    order = list(dict.fromkeys(ident for known in rows.values() for ident in known))
    common = [ident for ident in order if all(ident in known for known in rows.values())]
    if not common:
        titles = " and ".join(raw.title for raw in raws.values())
        raise ValueError(
            f"Expected shared values in column '{key}' of {titles}, found none: name the column to join on by --id."
        )
    if len(common) < len(order) and options.missing == "refuse":
        _refuse_lonely(raws, rows, order, key)
    chosen = order if options.missing == "mean" else common
    labelled = [stem for stem, raw in raws.items() if any(name in raw.columns for name in options.label or ())]
    places = [_place(raws, rows, ident, labelled) for ident in chosen]
    taken = {stem: raw.take([rows[stem].get(ident) for ident in chosen], places) for stem, raw in raws.items()}
    shared = [name for name, count in Counter(c for raw in raws.values() for c in raw.columns).items() if count > 1]
    for name in shared:
        _check_agreement(name, key, taken, options.label)
    taken = {stem: _without_repeats(stem, raw, taken, shared, key) for stem, raw in taken.items()}
    merged = _merged(list(taken.values()))
    lost = len(order) - len(chosen)
    text = f"{len(chosen):,} samples by column {key}" + (
        f"; {lost:,} that are not in every file dropped" if lost else ""
    )
    return replace(merged, notes=(*merged.notes, Note("joined on", text, "--id, --missing")))


def _rows_by_key(raw: RawSamples, key: str) -> dict[str, int]:
    """The row of each id, which no other row has."""
    numbers = raw.numbers(key)
    plain = not numbers.missing and not numbers.faulty
    idents = [f"{value:.15g}" for value in numbers.values] if plain else [str(cell) for cell in raw.cells[key]]
    rows: dict[str, int] = {}
    for row, ident in enumerate(idents):
        if rows.setdefault(ident, row) != row:
            raise ValueError(
                f"Expected each id once in column '{key}' to join on, found '{raw.cells[key][row]}' in "
                f"{raw.places[rows[ident]]} and in {raw.places[row]}: name another column by --id."
            )
    return rows


def _refuse_lonely(
    raws: Mapping[str, RawSamples], rows: Mapping[str, Mapping[str, int]], order: Sequence[str], key: str
) -> None:
    """Names the first id that a file lacks."""
    lonely = [ident for ident in order if not all(ident in known for known in rows.values())]
    lacking = next(raw.title for stem, raw in raws.items() if lonely[0] not in rows[stem])
    raise ValueError(
        f"Expected every '{key}' in every file, found none for '{lonely[0]}' in {lacking} ({len(lonely)} such of "
        f"{len(order)}): add it, or say --missing mean (the modality is then absent) or --missing drop."
    )


def _place(
    raws: Mapping[str, RawSamples], rows: Mapping[str, Mapping[str, int]], ident: str, first: Sequence[str]
) -> str:
    """Where a sample stands, in the file with the labels if it is there."""
    stem = next(stem for stem in (*first, *raws) if ident in rows[stem])
    return raws[stem].places[rows[stem][ident]]


def _check_agreement(name: str, key: str, taken: Mapping[str, RawSamples], labels: Sequence[str]) -> None:
    """A column with a role says the same in every file."""
    if name == key or not (name in labels or name.lower() in ROLES):
        return
    first, *others = [raw for raw in taken.values() if name in raw.cells]
    for other in others:
        if not _agree(first, other, name):
            raise ValueError(
                f"Expected the same in column '{name}' of {first.title} and {other.title}, found other values for the "
                f"same '{key}': correct one, or rename it."
            )


def _without_repeats(
    stem: str, raw: RawSamples, taken: Mapping[str, RawSamples], shared: Sequence[str], key: str
) -> RawSamples:
    """A file's columns without those that an earlier one has alike; others of that name begin with the file's."""
    names: dict[str, str] = {}
    filled: dict[str, Any] = {}
    for name in raw.columns:
        holders = [other for other in taken if name in taken[other].columns]
        if name in shared and (name == key or all(_agree(taken[holders[0]], taken[o], name) for o in holders)):
            if holders[0] == stem:
                names[name] = name
                filled[name] = [_first_cell([taken[o] for o in holders], name, row) for row in range(len(raw.places))]
        else:
            names[name] = f"{stem}_{name}" if name in shared else name
    cells: dict[str, Any] = {new: filled.get(old, raw.cells[old]) for old, new in names.items() if old in raw.cells}
    arrays: dict[str, Any] = {new: raw.arrays[old] for old, new in names.items() if old in raw.arrays}
    return replace(
        raw, cells=cells, arrays=arrays, hints={new: raw.hints[old] for old, new in names.items() if old in raw.hints}
    )


def _first_cell(raws: Sequence[RawSamples], name: str, row: int) -> Any:
    return next((raw.cells[name][row] for raw in raws if raw.cells[name][row] is not None), None)


def _agree(one: RawSamples, other: RawSamples, name: str) -> bool:
    """Whether two files say the same in a column, where both say anything."""
    if name not in one.cells or name not in other.cells:
        return False
    pairs = zip(one.cells[name], other.cells[name], strict=True)
    return all(str(a) == str(b) for a, b in pairs if a is not None and b is not None)


def _merged(raws: Sequence[RawSamples]) -> RawSamples:
    """The columns of all of them."""
    return replace(
        raws[0],
        cells={name: values for raw in raws for name, values in raw.cells.items()},
        arrays={name: values for raw in raws for name, values in raw.arrays.items()},
        folder=next((raw.folder for raw in raws if raw.folder is not None), None),
        title=", ".join(raw.title for raw in raws),
        hints={name: hint for raw in raws for name, hint in raw.hints.items()},
        class_names=next((raw.class_names for raw in raws if raw.class_names), ()),
        notes=tuple(note for raw in raws for note in raw.notes),
        files=tuple(path for raw in raws for path in raw.files),
        omitted=tuple(name for raw in raws for name in raw.omitted),
    )

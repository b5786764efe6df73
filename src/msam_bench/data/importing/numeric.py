"""Modalities that are numbers already: arrays of an archive, npy files, and columns of a table, grouped by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from msam_bench.data.importing.archives import native, read_arrays
from msam_bench.data.importing.column import Column, Gap
from msam_bench.data.importing.layouts import STORED, Layout, infer_layout
from msam_bench.data.importing.sources import RawSamples
from msam_bench.data.modality import Modality

_COARSE = 1e-4
"""Columns whose rounding to float32 exceeds this share of their range are shifted first."""


def build_arrays(
    name: str, samples: Sequence[Any], kind: str | None, places: Sequence[str], source: str = "an array"
) -> Column:
    """A modality of which every sample is an array, or None where there is none.

    Raises:
        ValueError: A shape or a type of values that no modality has, or shapes that differ.
    """
    here = next((row for row in range(len(samples)) if samples[row] is not None), None)
    if here is None:
        raise ValueError(f"Expected arrays in '{name}', found none in any sample: leave it out by --leave-out {name}.")
    first = to_tensor(samples[here], name)
    layout = infer_layout(tuple(first.shape), _type(first), kind, name)
    absent, gaps, types = _survey(name, samples, tuple(first.shape), places)
    if layout.kind == "tokens":
        return _tokens(name, samples, source, absent)
    if gaps and layout.kind == "sequence":
        raise ValueError(
            f"Expected finite numbers in the sequence '{name}', found NaN in {places[next(iter(gaps))]}: rows of zeros "
            "are padding there."
        )
    dtype = STORED.get(first.dtype, "float32") if len(types) == 1 else "float32"
    spec = Modality(layout.kind, dtype=dtype, standardise=layout.kind != "sequence")
    read = lambda row: layout.arrange(to_tensor(samples[row], name))  # noqa: E731
    recipe = {"layout": layout.description}
    return Column(name, spec, read, _describe(source, first, layout), "--kind", recipe, absent, gaps)


def build_files(name: str, paths: Sequence[Path | None], kind: str | None, places: Sequence[str]) -> Column:
    """A modality of which every sample is an npy file."""
    return build_arrays(name, _Files(paths), kind, places, "npy files")


def build_vector(raw: RawSamples, name: str, members: Sequence[str]) -> Column:
    """Columns of numbers as a vector.

    Raises:
        ValueError: A cell that is no number, or one that could be two.
    """
    columns = [raw.numbers(member) for member in members]
    for member in members:
        _check_cells(raw, member)
    values, shifted = _narrowed(torch.tensor([column.values for column in columns], dtype=torch.float64).T)
    empty = [(row, member) for member, column in zip(members, columns, strict=True) for row in column.missing]
    lacking = {row: Gap(f"a number in column '{m}'", _shown(raw.cells[m][row])) for row, m in reversed(empty)}
    whole = values.isnan().all(1)
    styles = list(dict.fromkeys(column.style for column in columns if column.style))
    written = f", {'; '.join(styles)}" if styles else ""
    description = f"column {members[0]}" if len(members) == 1 else f"{len(members)} columns, {_listed(members)}"
    return Column(
        name,
        Modality("vector", standardise=True),
        values.__getitem__,
        description + written,
        "--modality, --leave-out",
        {"columns": list(members), **({"shifted": True} if shifted else {})},
        absent={row: gap for row, gap in sorted(lacking.items()) if whole[row]},
        gaps={row: gap for row, gap in sorted(lacking.items()) if not whole[row]},
        fillable=True,
    )


def _narrowed(values: Tensor) -> tuple[Tensor, bool]:
    """Numbers `[samples, features]` as float32; about their middle where float32 would not tell them apart.

    Values are standardised when they are loaded, so that a shift changes nothing but their rounding.
    """
    low, high = values.nan_to_num(nan=torch.inf).amin(0), values.nan_to_num(nan=-torch.inf).amax(0)
    error = (values.float().double() - values).abs().nan_to_num(nan=0.0).amax(0)
    coarse = error > _COARSE * (high - low)
    middle = torch.where(coarse, (low + high) / 2, 0.0)
    return (values - middle).float(), bool(coarse.any())


def to_tensor(sample: Any, name: str) -> Tensor:
    """A copy of a sample as a tensor in the machine's byte order.

    Raises:
        ValueError: Complex numbers, texts or dates.
    """
    array = native(np.array(sample))
    if array.dtype.kind == "c":
        raise ValueError(
            f"Expected real numbers in '{name}', found {array.dtype}: import its magnitude, or real and imaginary part "
            "as two arrays."
        )
    if array.dtype.kind == "f" and array.dtype.itemsize > 4:
        array = array.astype(np.float32)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    try:
        return torch.from_numpy(array)
    except TypeError:
        raise ValueError(
            f"Expected numbers in '{name}', found {array.dtype}: leave it out by --leave-out {name}."
        ) from None


def _check_cells(raw: RawSamples, member: str) -> None:
    """Every cell of a column of numbers is one, or says that it is missing."""
    numbers, cells = raw.numbers(member), raw.cells[member]
    if numbers.faulty:
        row = numbers.faulty[0]
        raise ValueError(
            f"Expected a number in column '{member}', found '{cells[row]}' in {raw.places[row]} ({numbers.count:,} of "
            f"{len(cells):,} are numbers): correct it, say --na '{cells[row]}' if it means none, or leave the column "
            f"out by --leave-out {member}."
        )
    if numbers.ambiguous is not None:
        row = numbers.ambiguous
        raise ValueError(
            f"Expected one way to read the numbers of column '{member}', found '{cells[row]}' in {raw.places[row]}, "
            "which may be thousands or have decimals: say --decimal comma or --decimal point."
        )


def _shown(cell: Any) -> str:
    return "an empty cell" if cell in ("", None) else f"'{cell}'"


def _listed(members: Sequence[str]) -> str:
    return f"{members[0]} ... {members[-1]}" if len(members) > 2 else ", ".join(members)


def _survey(
    name: str, samples: Sequence[Any], shape: tuple[int, ...], places: Sequence[str]
) -> tuple[dict[int, Gap], dict[int, Gap], set[Any]]:
    """Rows that have nothing, rows in which some numbers are NaN, and the types of values.

    Raises:
        ValueError: Another shape, infinite numbers, or no real numbers.
    """
    absent: dict[int, Gap] = {}
    gaps: dict[int, Gap] = {}
    types = set()
    for row, sample in _each(samples):
        if sample is None:
            absent[row] = Gap(f"an array in '{name}'", "none")
            continue
        array = np.asarray(sample)
        types.add(array.dtype)
        if array.shape != shape:
            raise ValueError(
                f"Expected shape {list(shape)} in every sample of '{name}', found {list(array.shape)} in "
                f"{places[row]}: cut or fill it."
            )
        if array.dtype.kind not in "biuf":
            to_tensor(array, f"{name}' of '{places[row]}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            if np.isinf(array).any():
                raise ValueError(
                    f"Expected finite numbers in '{name}', found infinite ones in {places[row]}: repair the sample."
                )
            whole = bool(np.isnan(array).all())
            (absent if whole else gaps)[row] = Gap(f"finite numbers in '{name}'", "nan")
    return absent, gaps, types


def _tokens(name: str, samples: Sequence[Any], source: str, absent: dict[int, Gap]) -> Column:
    """Ids of words; 0 is padding."""
    here = [np.asarray(sample) for _, sample in _each(samples) if sample is not None]
    if not all(np.issubdtype(array.dtype, np.integer) and np.min(array) >= 0 for array in here):
        raise ValueError(f"Expected whole numbers of at least 0 as the tokens of '{name}', found others: see --kind.")
    most = max(int(np.max(array)) for array in here)
    blank = {
        row: Gap(f"a word in '{name}'", "zeros alone, which are padding")
        for row, sample in _each(samples)
        if sample is not None and not np.any(sample)
    }
    spec = Modality("tokens", dtype="int32", vocabulary=most + 1)
    read = lambda row: to_tensor(samples[row], name)  # noqa: E731
    return Column(name, spec, read, f"{source} of ids up to {most}", absent=absent | blank)


def _each(samples: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    return ((row, samples[row]) for row in range(len(samples)))


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _describe(source: str, first: Tensor, layout: Layout) -> str:
    done = f", {layout.description}" if layout.description else ""
    return f"{source} of {_type(first)} {list(first.shape)}{done}"


class _Files(Sequence[NDArray[Any]]):
    """npy files, read when they are asked for; None where there is no file."""

    def __init__(self, paths: Sequence[Path | None]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: Any) -> Any:
        path = self.paths[row]
        return None if path is None else next(iter(read_arrays(path).values()))

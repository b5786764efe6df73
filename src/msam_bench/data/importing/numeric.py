"""Modalities that are numbers already: arrays of an archive, npy files, and columns of a table, grouped by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from msam_bench.data.importing.archives import arrays
from msam_bench.data.importing.column import Column
from msam_bench.data.importing.layouts import STORED, Layout, laid_out
from msam_bench.data.importing.raw import Raw
from msam_bench.data.importing.roles import numbers
from msam_bench.data.modality import Modality


def of_arrays(name: str, samples: Sequence[NDArray[Any]], kind: str | None, source: str = "an array") -> Column:
    """A modality of which every sample is an array.

    Raises:
        ValueError: A shape or a type of values that no modality has.
    """
    first = _tensor(samples[0], name)
    layout = laid_out(tuple(first.shape), str(first.dtype).removeprefix("torch."), kind)
    if layout.kind == "tokens":
        return _tokens(name, samples, source)
    look = Modality(layout.kind, dtype=STORED.get(first.dtype, "float32"), standardise=layout.kind != "sequence")
    read = lambda row: layout.arranged(_tensor(samples[row], name))  # noqa: E731
    return Column(name, look, read, _says(source, first, layout), recipe={"layout": layout.says})


def of_files(name: str, paths: Sequence[Path], kind: str | None) -> Column:
    """A modality of which every sample is an npy file."""
    return of_arrays(name, _Files(paths), kind, "npy files")


def of_columns(raw: Raw, names: Sequence[str]) -> list[Column]:
    """Columns of numbers as vectors, those together whose names begin with the same letters.

    Raises:
        ValueError: An empty cell.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        begins = re.match(r"[^\W\d_]+", name)
        groups.setdefault(begins.group() if begins else name, []).append(name)
    return [_vector(raw, group, members) for group, members in groups.items()]


def _vector(raw: Raw, name: str, members: Sequence[str]) -> Column:
    cells = {member: numbers(raw.cells[member]) or [] for member in members}
    for member in members:
        if "" in raw.cells[member]:
            place = raw.places[list(raw.cells[member]).index("")]
            raise ValueError(f"Expected a number in column '{member}', found an empty cell in {place}: fill it.")
    values = torch.tensor(list(cells.values()), dtype=torch.float64).T.float()
    says = f"column {members[0]}" if len(members) == 1 else f"{len(members)} columns, {members[0]} ... {members[-1]}"
    look = Modality("vector", standardise=True)
    return Column(name, look, values.__getitem__, says, "--leave-out", {"columns": list(members)})


def _tokens(name: str, samples: Sequence[NDArray[Any]], source: str) -> Column:
    """Ids of words; 0 is padding."""
    if not all(
        np.issubdtype(np.asarray(sample).dtype, np.integer) and np.min(sample) >= 0 for sample in _each(samples)
    ):
        raise ValueError(f"Expected whole numbers of at least 0 as the tokens of '{name}', found others: see --kind.")
    most = max(int(np.max(sample)) for sample in _each(samples))
    look = Modality("tokens", dtype="int32", vocabulary=most + 1)
    return Column(name, look, lambda row: _tensor(samples[row], name), f"{source} of ids up to {most}")


def _each(samples: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
    return [samples[row] for row in range(len(samples))]


def _tensor(sample: Any, name: str) -> Tensor:
    """A copy of a sample as a tensor."""
    array = np.array(sample)
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    try:
        return torch.from_numpy(array)
    except TypeError:
        raise ValueError(
            f"Expected numbers in '{name}', found {array.dtype}: leave it out by --leave-out {name}."
        ) from None


def _says(source: str, first: Tensor, layout: Layout) -> str:
    done = f", {layout.says}" if layout.says else ""
    return f"{source} of {str(first.dtype).removeprefix('torch.')} {list(first.shape)}{done}"


class _Files(Sequence[NDArray[Any]]):
    """npy files, read when they are asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: Any) -> Any:
        return next(iter(arrays(self.paths[row]).values()))

"""Arrays of the user's own: npy (mapped), npz, safetensors (mapped), mat and HDF5. Nothing that could run code is read.

read_arrays(Path("data.npz"))            # {"audio": [n, 64, 100], "label": [n]}
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msam_bench.data.media.opening import brief, needed, present

Arrays = dict[str, NDArray[Any]]
Readable = Mapping[str, NDArray[Any] | None]

_MATLAB_HDF5 = b"MATLAB 7.3"


def read_arrays(path: Path, skip: Collection[str] = ()) -> dict[str, NDArray[Any] | None]:
    """The arrays of a file by name, in the machine's byte order; that of an npy is named as the file is.

    Args:
        path: The file.
        skip: Arrays that are not read: they are None.

    Raises:
        ValueError: The file is damaged, or holds Python objects, whose loading could run code.
    """
    present(path)
    try:
        arrays = _READERS[path.suffix.lower()](path, skip)
    except ValueError as error:
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise ValueError(
                f"Expected arrays of numbers or texts in {path}, found Python objects: convert or leave them out."
            ) from None
        raise ValueError(f"Expected arrays in {path}, found: {brief(error, path)}.") from None
    except (OSError, EOFError, AttributeError, KeyError, TypeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise ValueError(f"Expected arrays in {path}, found: {brief(error, path)}.") from None
    kept = {name: array for name, array in arrays.items() if array is not None}
    return {
        **{name: None for name in arrays if name not in kept},
        **{n: native(a) for n, a in _with_fields(kept).items()},
    }


def native(array: NDArray[Any]) -> NDArray[Any]:
    """An array in the machine's byte order; the same one where it is."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _with_fields(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Structured arrays as one array a field."""
    parts = {name: {field: array[field] for field in array.dtype.names or ()} for name, array in arrays.items()}
    return {key: part for name, array in arrays.items() for key, part in (parts[name] or {name: array}).items()}


def _npy(path: Path, skip: Collection[str]) -> Readable:
    return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}


def _npz(path: Path, skip: Collection[str]) -> Readable:
    with path.open("rb") as stream:
        loaded = np.load(stream, allow_pickle=False)
        return {name: None if name in skip else loaded[name] for name in loaded.files}


def _safetensors(path: Path, skip: Collection[str]) -> Readable:
    from safetensors import SafetensorError, safe_open
    from torch import bfloat16

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: None if name in skip else file.get_tensor(name) for name in list(file.keys())}
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    return {
        name: None if tensor is None else (tensor.float() if tensor.dtype is bfloat16 else tensor).numpy()
        for name, tensor in tensors.items()
    }


def _mat(path: Path, skip: Collection[str]) -> Readable:
    """The variables of a MATLAB file, samples first."""
    with path.open("rb") as stream:
        if stream.read(len(_MATLAB_HDF5)) == _MATLAB_HDF5:
            return _samples_first({name: None if a is None else a.T for name, a in _hdf5(path, skip).items()})
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = {name: array for name, array in loadmat(path).items() if not name.startswith("__")}
    except MatReadError as error:
        raise ValueError(str(error)) from None
    return _samples_first({name: None if name in skip else _texts(array, name) for name, array in content.items()})


def _texts(array: NDArray[Any], name: str) -> NDArray[Any]:
    """A cell array of texts as an array of texts.

    Raises:
        ValueError: Cells of anything else, or a structure.
    """
    if array.dtype.hasobject or array.dtype.names:
        cells = [] if array.dtype.names else [np.asarray(cell) for cell in array.ravel()]
        if not cells or any(cell.dtype.kind != "U" or cell.size > 1 for cell in cells):
            raise ValueError(f"a structure or cells of arrays in '{name}'; save plain matrices")
        return np.array([str(cell.item()) if cell.size else "" for cell in cells])
    return array


def _samples_first(readable: Readable) -> Readable:
    """Row vectors as columns, and arrays whose samples lie along the last axis turned round."""
    arrays = {name: array for name, array in readable.items() if array is not None}
    lines = {name: array.reshape(-1) for name, array in arrays.items() if array.size == max(array.shape, default=0) > 1}
    counts = {len(line) for line in lines.values()}
    turned = {name: array for name, array in arrays.items() if name not in lines}
    for name, array in turned.items():
        if array.ndim > 1 and array.shape[0] not in counts and array.shape[-1] in counts:
            turned[name] = np.moveaxis(array, -1, 0)
    return {name: lines[name] if name in lines else turned.get(name) for name in readable}


def _hdf5(path: Path, skip: Collection[str]) -> Readable:
    """The data sets at the root of an HDF5 file."""
    h5py = needed("h5py")
    with h5py.File(path, "r") as file:
        stored = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
        return {name: None if name in skip else _of_hdf5(h5py, name, item) for name, item in stored.items()}


def _of_hdf5(h5py: Any, name: str, item: Any) -> NDArray[Any]:
    if h5py.check_string_dtype(item.dtype) is not None:
        return np.array(item.asstr()[...], dtype=str)
    if item.dtype.hasobject:
        raise ValueError(f"references or objects in '{name}'; save plain matrices")
    array: NDArray[Any] = item[...]
    return array


_READERS: Mapping[str, Callable[[Path, Collection[str]], Readable]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".safetensors": _safetensors,
    ".mat": _mat,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
}

ARCHIVES = tuple(_READERS)
"""Endings of files that hold arrays."""

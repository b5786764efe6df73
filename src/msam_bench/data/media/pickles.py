"""Pickles of plain values: dicts, lists, sets, numbers, texts, NumPy arrays. Anything else is refused before it runs.

    plain(path)                              # what was pickled

A pickle is a program. This reader knows the few functions that rebuild an array and looks up nothing else.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from msam_bench.data.media.opening import present

_PLAIN = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("_codecs", "encode"),
    ("__builtin__", "bytes"),
    ("__builtin__", "set"),
    ("builtins", "set"),
    *(
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")
        for module, name in (
            ("multiarray", "_reconstruct"),
            ("multiarray", "scalar"),
            ("numeric", "_frombuffer"),
        )
    ),
}


_DAMAGED = (AttributeError, EOFError, ImportError, LookupError, MemoryError, OverflowError, TypeError, ValueError)
"""What an unpickler raises where a file is cut off or has changed."""


class _Plain(pickle.Unpickler):
    """An unpickler that knows what arrays are made of, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The function of that name, if arrays need it."""
        if (module, name) not in _PLAIN:
            raise pickle.UnpicklingError(f"a call of {module}.{name}")
        return super().find_class(module.replace("numpy.core.", "numpy._core."), name)


def plain(path: Path) -> Any:
    """The content of a pickle; texts of Python 2 are read as latin-1.

    Raises:
        ValueError: No such file, a pointer to it, a damaged one, or one that wants more than plain values.
    """
    with present(path).open("rb") as stream:
        try:
            return _Plain(stream, encoding="latin1").load()
        except (*_DAMAGED, pickle.UnpicklingError) as error:
            raise ValueError(
                f"Expected plain arrays, lists and dicts in {path}, found {_reason(error)}: nothing of it was run; "
                "fetch the file from its source again."
            ) from None


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, pickle.UnpicklingError) else f"a damaged file ({type(error).__name__})"

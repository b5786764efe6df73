"""Checkpoints that are safe to load and the same bytes for the same state: tensors and plain values, no pickle.

A file is one safetensors archive: the tensors of a nested state under their paths, and the rest of it as JSON. Loading
one can run no code, whoever wrote it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as archive
from torch import Tensor

from .files import write_whole


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes a nested state (dicts, lists, tuples, tensors, plain values) in one move."""
    tensors: dict[str, Tensor] = {}
    plain = _encode(state, "", tensors)
    write_whole(path, archive(tensors, metadata={"state": json.dumps(plain, sort_keys=True)}))


def load(path: Path) -> dict[str, Any]:
    """Reads a state that `save` wrote.

    Raises:
        ValueError: if the file is missing, damaged or was written by something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            plain = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ValueError(f"Expected a checkpoint at {path}, found: {error}; delete it to start again.") from None
    state: dict[str, Any] = _decode(plain, tensors)
    return state


def _encode(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    match value:
        case Tensor():
            tensors[path] = value.detach().cpu().clone().contiguous()
            return {"tensor": path}
        case dict():
            return {"dict": [[key, _encode(inner, f"{path}/{key}", tensors)] for key, inner in value.items()]}
        case list() | tuple():
            kind = "list" if isinstance(value, list) else "tuple"
            return {kind: [_encode(inner, f"{path}/{index}", tensors) for index, inner in enumerate(value)]}
        case None | bool() | int() | float() | str():
            return {"plain": value}
        case _:
            raise TypeError(f"A checkpoint holds tensors and plain values, found {type(value).__name__} at {path!r}.")


def _decode(node: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    ((kind, value),) = node.items()
    match kind:
        case "tensor":
            return tensors[value]
        case "dict":
            return {key: _decode(inner, tensors) for key, inner in value}
        case "list":
            return [_decode(inner, tensors) for inner in value]
        case "tuple":
            return tuple(_decode(inner, tensors) for inner in value)
        case _:
            return value

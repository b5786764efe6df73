"""Checkpoints that are safe to load and the same bytes for the same state: tensors and plain values, no pickle.

A file is one safetensors archive: the tensors of a nested state under their paths, the rest of it as JSON, and a sha256
of both. Loading one can run no code, whoever wrote it, and a damaged one is never taken for whole.

    save(last, state, keep=previous)
    state = newest(last, previous, warn=print)       # the previous one, if the last is damaged
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as archive
from torch import Tensor

from msam_bench.files import write_whole


def save(path: Path, state: dict[str, Any], keep: Path | None = None) -> None:
    """Writes a nested state (dicts, lists, tuples, tensors, plain values) in one move.

    Args:
        path: the file.
        state: what to keep.
        keep: where the checkpoint goes that was there before.
    """
    tensors: dict[str, Tensor] = {}
    plain = json.dumps(_encode(state, "", tensors), sort_keys=True)
    one = f"{_digest(plain, tensors)} {plain}"  # a single entry: safetensors writes several in any order
    write_whole(path, archive(tensors, metadata={"state": one}), keep)


def load(path: Path) -> dict[str, Any]:
    """Reads a state that `save` wrote.

    Raises:
        ValueError: if the file is missing, damaged or was written by something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            digest, _, plain = (file.metadata() or {})["state"].partition(" ")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if digest != _digest(plain, tensors):
            raise ValueError("content that is not what was written")
        state: dict[str, Any] = _decode(json.loads(plain), tensors)
        return state
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError, SafetensorError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise ValueError(
            f"Expected a checkpoint at {path}, found: {reason}; delete its folder to train the run again."
        ) from None


def newest(last: Path, previous: Path, warn: Callable[[str], None]) -> dict[str, Any] | None:
    """The state of the last checkpoint or, if that is damaged or missing, of the one before, which takes its place.

    Args:
        last: where `save` writes.
        previous: where `save` keeps the one before.
        warn: called with a sentence that the last one was damaged.

    Returns:
        None if there is no checkpoint at all.

    Raises:
        ValueError: if there is one, but none that is whole.
    """
    if not previous.is_file():
        return load(last) if last.is_file() else None
    try:
        return load(last)
    except ValueError as error:
        state = load(previous)
        if last.is_file():
            warn(f"{str(error).partition(';')[0]}; continuing from the checkpoint before it.")
        previous.replace(last)
        return state


def _digest(plain: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(plain.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


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

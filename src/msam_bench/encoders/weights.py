"""Weights of the user's own for an encoder: safetensors, or a file of `torch.save` that holds tensors only.

    load(model.encoders["video"], Path("resnet18-f37072fd.pth"))

A classifier in the file (`fc.*`) is left out. Where the file has a first convolution for colour and the encoder takes
grey, the weights of the colours are summed: a grey picture then gives what it gives in colour.
"""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

_CLASSIFIER = "fc."


def load(encoder: nn.Module, path: Path, expected: str | None = None) -> None:
    """Puts the weights of a file into an encoder.

    Args:
        encoder: Where they go.
        path: The file.
        expected: Its sha256, if known.

    Raises:
        ValueError: No such file, another one than expected, a file of another kind, or weights that do not fit.
    """
    if expected not in (None, sha256(path)):
        raise ValueError(f"Expected {path} as it was when the run was planned, found it changed: plan the run anew.")
    weights = {name: value for name, value in _tensors(path).items() if not name.startswith(_CLASSIFIER)}
    state = encoder.state_dict()
    if missing := sorted(state.keys() ^ weights.keys()):
        where = "the file" if missing[0] in state else "the encoder"
        raise ValueError(f"Expected the weights of this encoder in {path}, found that {where} has no '{missing[0]}'.")
    fitting = {name: _fitting(weights[name], state[name], name, path) for name in state}
    encoder.load_state_dict(fitting)


def sha256(path: Path) -> str:
    """The sha256 of a file of weights.

    Raises:
        ValueError: No such file.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ValueError(f"Expected a file of weights at {path}, found: {error.strerror}.") from None


def _tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
        return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    except (OSError, RuntimeError, ValueError, AttributeError, pickle.UnpicklingError, SafetensorError) as error:
        says = str(error).partition("\n")[0].rstrip(".")
        raise ValueError(f"Expected weights by name in {path}, found: {says}.") from None


def _fitting(value: Tensor, reference: Tensor, name: str, path: Path) -> Tensor:
    """A weight as the encoder has it."""
    if value.dim() == 4 and value.shape[1] == 3 and reference.shape[1] == 1:
        value = value.sum(1, keepdim=True)
    if value.shape != reference.shape:
        raise ValueError(
            f"Expected '{name}' of shape {list(reference.shape)} in {path}, found {list(value.shape)}: "
            "check the encoder's features."
        )
    return value

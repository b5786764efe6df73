"""Encoders: plain modules from one modality `[batch, *shape]` to features `[batch, features]`.

    encoder(Modality("vector", (76,)), 64)                                  # an MLP, as the kind says
    encoder(Modality("image", (3, 224, 224)), 512, name="resnet18")         # the usual width, 64 channels
    encoder(Modality("sequence", (50, 301)), 768, name="transformer", layers=8, pool="first")

One of your own is named by its path, `package.module:function`, or registered by a package under the entry points
`msam.encoders`; `encodes` declares what it takes. The width of every encoder is the size of its features: a ResNet-18
of 512 features is the usual one, one of 16 is a narrow one for quick tests.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from torch import nn

from msam_bench.encoders.base import KINDS, ModalitySpec, encodes, takes
from msam_bench.names import nearest
from msam_bench.registry import load, plugins, submodules

__all__ = ["KINDS", "ModalitySpec", "encoder", "encoders", "encodes", "takes", "usual_encoder"]

Build = Callable[..., nn.Module]


@cache
def encoders() -> dict[str, Build]:
    """Every encoder by its name: those of this package, the most general first, then those of other packages."""
    functions = [each for module in submodules(__name__) for each in vars(module).values() if inspect.isfunction(each)]
    declared = sorted((each for each in functions if hasattr(each, "encodes")), key=_generality)
    shipped = {each.__name__: each for each in declared}
    others = plugins("msam.encoders")
    if both := sorted(shipped.keys() & others.keys()):
        raise ValueError(f"Two encoders are called {both[0]!r}; rename the entry point of the package that adds one.")
    return {**shipped, **others}


def encoder(spec: ModalitySpec, features: int, hidden: int = 64, name: str | None = None, **params: Any) -> nn.Module:
    """The encoder of a modality.

    Args:
        spec: The modality, with its shape.
        features: Size of the feature vector.
        hidden: Width of hidden layers, for encoders that have them.
        name: One of `encoders()`, or `package.module:function`; the modality's own, or the usual one, if None.
        **params: Further arguments of that encoder.

    Raises:
        ValueError: An unknown name or argument, or an encoder that does not take this kind of modality.
    """
    name = name or spec.encoder or usual_encoder(spec.kind)
    build = _located(name)
    kinds = takes(build).kinds
    if spec.kind not in kinds:
        fitting = ", ".join(other for other, each in encoders().items() if spec.kind in takes(each).kinds)
        raise ValueError(
            f"Expected {', '.join(kinds)} for '{name}', found a modality of kind '{spec.kind}': use {fitting}."
        )
    known = list(inspect.signature(build).parameters)[2:]
    for key in params:
        if key not in known:
            raise ValueError(f"Encoder '{name}' has no argument '{key}': {nearest(key, known, 'it takes none')}.")
    shared = {"hidden": hidden} if "hidden" in known else {}
    return build(spec, features, **{**shared, **params})


def _generality(build: Build) -> tuple[int, str]:
    return -len(takes(build).kinds), build.__name__


def usual_encoder(kind: str) -> str:
    """The encoder of a kind of modality where nobody names one."""
    return next(name for name, build in encoders().items() if kind in takes(build).usual_for)


def _located(name: str) -> Build:
    if ":" in name:
        build: Build = load(name, "an encoder")
        return build
    if name not in encoders():
        names = encoders()
        raise ValueError(f"Expected an encoder among {', '.join(names)}, found '{name}': {nearest(name, names)}.")
    return encoders()[name]

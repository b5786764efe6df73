"""Encoders as functions from a modality and a number of features to a module, with a declaration of what they take.

    @encodes("series", usual_for="series")
    def cnn1d(spec: ModalitySpec, features: int, hidden: int = 64) -> nn.Module: ...

Its name is that of the function. Further arguments are its own settings, which a run may give by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from torch import nn

KINDS = ("vector", "series", "image", "spectrogram", "frames", "sequence", "tokens")
"""Kinds of modality; see `msam_bench.data.modality.KINDS` for the shape of each."""

Build = TypeVar("Build", bound=Callable[..., nn.Module])


class ModalitySpec(Protocol):
    """The specification of a modality, as encoders read it."""

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        ...

    @property
    def encoder(self) -> str | None:
        """The name of its encoder, unless a run names another one; by its kind if None."""
        ...

    @property
    def vocabulary(self) -> int | None:
        """Ids of words are below this; None for what is no text."""
        ...


@dataclass(frozen=True)
class Encodes:
    """The declaration of an encoder.

    Args:
        kinds: of modality.
        usual_for: the kinds for which it is chosen where nobody names an encoder.
    """

    kinds: tuple[str, ...] = KINDS
    usual_for: tuple[str, ...] = ()


def encodes(*kinds: str, usual_for: str | tuple[str, ...] = ()) -> Callable[[Build], Build]:
    """Declares which kinds of modality an encoder takes.

    Args:
        *kinds: of modality.
        usual_for: those for which it is chosen where nobody names an encoder.
    """
    takes = Encodes(kinds, (usual_for,) if isinstance(usual_for, str) else usual_for)

    def declare(build: Build) -> Build:
        build.encodes = takes  # type: ignore[attr-defined]
        return build

    return declare


def takes(build: Any) -> Encodes:
    """The declaration of an encoder; every kind if it declares nothing."""
    declared = getattr(build, "encodes", None)
    return declared if isinstance(declared, Encodes) else Encodes()

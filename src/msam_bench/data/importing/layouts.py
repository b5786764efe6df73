"""Which way round an array is: what kind of thing its axes make it, and how it becomes that kind's layout.

layout = infer_layout((48, 48, 3), "uint8")
layout.kind, layout.description                 # "image", "channels moved to the front"
layout.arrange(sample)                  # Tensor [3, 48, 48]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MOST_CHANNELS = 4
"""An axis of a picture no longer than this is its channels."""

Arrange = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Layout:
    """How a sample of some shape is read.

    Args:
        kind: One of `msam_bench.data.modality.KINDS`.
        description: What is done to it, if anything.
        arrange: Does it.
    """

    kind: str
    description: str = ""
    arrange: Arrange = lambda sample: sample


def infer_layout(shape: Sequence[int], dtype: str, kind: str | None = None, name: str = "") -> Layout:
    """The layout of samples of a shape, as a kind if one is stated.

    Raises:
        ValueError: A shape that is none of these, or not of that kind.
    """
    guesses = {0: _scalar, 1: _line, 2: _plane, 3: _picture, 4: _film}
    layout = guesses[len(shape)](tuple(shape), dtype, kind) if len(shape) in guesses else None
    where = f" in '{name}'" if name else ""
    if layout is None or (kind is not None and layout.kind != kind):
        raise ValueError(
            f"Expected samples of one to four dimensions{_as(kind)}{where}, found shape {list(shape)}: reshape them."
        )
    if 0 in shape:
        raise ValueError(f"Expected values in every sample{where}, found shape {list(shape)}: leave it out.")
    return layout


def _as(kind: str | None) -> str:
    return "" if kind is None else f" that make a '{kind}'"


def _scalar(shape: tuple[int, ...], dtype: str, kind: str | None) -> Layout:
    return Layout("vector", "one number", lambda sample: sample.reshape(1))


def _line(shape: tuple[int, ...], dtype: str, kind: str | None) -> Layout:
    if kind == "series":
        return Layout("series", "one channel", lambda sample: sample[None])
    return Layout("tokens" if kind == "tokens" else "vector")


def _plane(shape: tuple[int, ...], dtype: str, kind: str | None) -> Layout:
    if kind == "vector":
        return Layout("vector", "flattened", lambda sample: sample.flatten())
    if kind == "sequence":
        return Layout("sequence")
    if kind in ("image", "spectrogram"):
        return Layout(kind, "one channel", lambda sample: sample[None])
    if kind is None and (dtype == "uint8" or shape[0] == shape[1]):
        return Layout("image", "one channel", lambda sample: sample[None])
    if shape[0] > shape[1]:
        return Layout("series", "its longer axis as time", lambda sample: sample.T)
    return Layout("series")


def _picture(shape: tuple[int, ...], dtype: str, kind: str | None) -> Layout:
    if kind == "frames" or (kind is None and min(shape[0], shape[2]) > MOST_CHANNELS):
        return Layout("frames", "one channel", lambda sample: sample[:, None])
    chosen = "spectrogram" if kind == "spectrogram" else "image"
    if shape[0] > MOST_CHANNELS >= shape[2]:
        return Layout(chosen, "channels moved to the front", lambda sample: sample.movedim(2, 0))
    return Layout(chosen)


def _film(shape: tuple[int, ...], dtype: str, kind: str | None) -> Layout:
    if shape[1] > MOST_CHANNELS >= shape[3]:
        return Layout("frames", "channels moved before the pictures", lambda sample: sample.movedim(3, 1))
    return Layout("frames")


STORED = {
    torch.bool: "uint8",
    torch.uint8: "uint8",
    torch.int8: "int16",
    torch.int16: "int16",
    torch.float16: "float16",
}
"""How values of these types are stored; others as float32."""

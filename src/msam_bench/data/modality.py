"""The specification of one modality: its kind, the shape of a sample, how it is stored and scaled.

    Modality("image", (3, 64, 64), "uint8", scale=1 / 255)      # bytes on disk, numbers between 0 and 1 for the model
    Modality("series", (3, 75), standardise=True)               # scaled by what the training split shows, when loaded
    Modality("tokens", (40,), "int32", vocabulary=5000)         # ids, 0 is padding
    Modality.of((76,))                                          # a vector, as its shape says

The kind decides which encoder is chosen where the user names none (`msam_bench.encoders`), and along which axis
scales that are lists go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

KINDS = {
    "vector": "features [features]",
    "series": "signals over time [channels, time]",
    "image": "a picture [channels, height, width]",
    "spectrogram": "a picture of sound [channels, frequencies, times]",
    "frames": "pictures over time [times, channels, height, width]",
    "sequence": "features over time [times, features], where rows of zeros are padding",
    "tokens": "ids of words [length], where 0 is padding",
}
"""Kind -> what a sample is, with its shape."""

DTYPES = ("float32", "float16", "uint8", "int16", "int32", "int64")
"""How values may be stored."""

_BY_SIZE = {1: "vector", 2: "series", 3: "image", 4: "frames"}
_SIZES = {kind: says[says.index("[") : says.index("]")].count(",") + 1 for kind, says in KINDS.items()}


@dataclass(frozen=True)
class Modality:
    """One modality; what a model takes is `float32(stored) * scale + shift`, or for tokens the ids as int64.

    Args:
        kind: One of `KINDS`.
        shape: Of one sample; empty until the first sample was read.
        dtype: One of `DTYPES`, how values are stored.
        scale: One number, or one for each channel (or feature, of vectors and sequences).
        shift: Likewise.
        standardise: Scale further to mean 0 and variance 1 over the training split, by channel or feature, when the
            data are loaded.
        encoder: The encoder to use unless a run names another one; chosen by kind and shape if None.
        vocabulary: Ids are below this (tokens only).

    Raises:
        ValueError: An unknown kind or dtype, a shape or a scale that does not go with the kind.
    """

    kind: str
    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    scale: float | tuple[float, ...] = 1.0
    shift: float | tuple[float, ...] = 0.0
    standardise: bool = False
    encoder: str | None = None
    vocabulary: int | None = None

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, KINDS)
        _one_of("dtype", self.dtype, DTYPES)
        for name in ("shape", "scale", "shift"):
            value = getattr(self, name)
            if isinstance(value, Sequence):
                object.__setattr__(self, name, tuple(value))
        if self.shape and len(self.shape) != _SIZES[self.kind]:
            raise ValueError(f"Expected {KINDS[self.kind]} of kind '{self.kind}', found shape {list(self.shape)}.")
        if (self.kind == "tokens") != (self.vocabulary is not None):
            raise ValueError(f"Expected a vocabulary for tokens and for nothing else, found {self.vocabulary}.")
        self._check_scales()

    @classmethod
    def of(cls, shape: Sequence[int]) -> Modality:
        """The modality that is inferred from a shape alone.

        Raises:
            ValueError: A shape of no or more than four dimensions.
        """
        if len(shape) not in _BY_SIZE:
            raise ValueError(f"Expected samples of one to four dimensions, found shape {list(shape)}.")
        return cls(_BY_SIZE[len(shape)], tuple(shape))

    @property
    def axis(self) -> int:
        """Which axis of a sample holds the channels or features."""
        return 1 if self.kind in ("frames", "sequence") else 0

    def _check_scales(self) -> None:
        for name in ("scale", "shift"):
            value = getattr(self, name)
            if isinstance(value, tuple) and self.shape and len(value) != self.shape[self.axis]:
                raise ValueError(
                    f"Expected one {name} or {self.shape[self.axis]}, one a channel, found {len(value)}: "
                    f"the shape is {list(self.shape)}."
                )


def _one_of(what: str, value: str, known: Sequence[str] | dict[str, str]) -> None:
    if value not in known:
        raise ValueError(f"Expected a {what} among {', '.join(known)}, found '{value}'.")

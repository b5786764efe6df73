"""Modalities that are files: sounds become log-mel pictures, pictures one size, videos a few pictures and a sound."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path

import torch
from torch import Tensor

from msam_bench.data.importing.asked import Asked
from msam_bench.data.importing.column import Column
from msam_bench.data.importing.numeric import of_files
from msam_bench.data.media.audio import fitted, resampled, sound
from msam_bench.data.media.images import picture, sized
from msam_bench.data.media.spectrograms import filterbank
from msam_bench.data.media.video import pictures
from msam_bench.data.modality import Modality

SOUND = (".wav", ".flac", ".mp3", ".ogg")
PICTURE = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
VIDEO = (".mp4", ".flv", ".avi", ".mkv", ".mov", ".webm")
ARRAY = (".npy",)
ENDINGS = (*SOUND, *PICTURE, *VIDEO, *ARRAY)
"""Endings of files that become modalities."""

RATE, BANDS = 16_000, 64
SECONDS, SIZE, PICTURES = 10.0, 64, 3
"""The most that is taken of a sound, of a picture's sides, and of a video, unless the user says otherwise."""

_LOOKED_AT = 50
"""How many sounds are decoded to guess a length."""


def of_paths(name: str, paths: Sequence[Path], asked: Asked) -> list[Column]:
    """The modalities of a column of paths, by the ending of the first.

    Raises:
        ValueError: A first file that cannot be read.
    """
    ending, kind = paths[0].suffix.lower(), asked.kinds.get(name)
    if ending in ARRAY:
        return [of_files(name, paths, kind)]
    if ending in SOUND:
        return [_sound(name, paths, asked)]
    if ending in PICTURE:
        return [_picture(name, paths, asked)]
    return [_video(name, paths, asked), *([_sound(f"{name}-sound", paths, asked)] if _has_sound(paths[0]) else [])]


def _sound(name: str, paths: Sequence[Path], asked: Asked) -> Column:
    seconds = asked.seconds or min(SECONDS, max(_seconds(path) for path in paths[:_LOOKED_AT]))
    samples = ceil(seconds * RATE)

    def read(row: int) -> Tensor:
        return filterbank(fitted(_signal(paths[row]), samples), RATE, BANDS)[None]

    says = f"log-mel pictures, {BANDS} bands, of {seconds:g} s of {paths[0].suffix.lower()} at {RATE // 1000} kHz"
    look = Modality("spectrogram", dtype="float16", standardise=True)
    recipe = {"picture": "log-mel", "bands": BANDS, "rate": RATE, "seconds": seconds}
    return Column(name, look, read, says, "--seconds", recipe)


def _signal(path: Path) -> Tensor:
    signal, rate = sound(path)
    if not len(signal):
        raise ValueError(f"Expected sound in {path}, found not a single sample: leave it out of the table.")
    return resampled(signal, rate, RATE)


def _seconds(path: Path) -> float:
    return max(0.1, round(len(_signal(path)) / RATE, 2))


def _picture(name: str, paths: Sequence[Path], asked: Asked) -> Column:
    size = asked.size or min(SIZE, max(picture(paths[0]).shape[1:]))
    says = f"pictures of {size} x {size} from {paths[0].suffix.lower()}"
    look = Modality("image", dtype="uint8", standardise=True)
    return Column(name, look, lambda row: sized(picture(paths[row]), size), says, "--size", {"size": size})


def _video(name: str, paths: Sequence[Path], asked: Asked) -> Column:
    size = asked.size or min(SIZE, max(pictures(paths[0], limit=1).shape[2:]))

    def read(row: int) -> Tensor:
        taken = pictures(paths[row], limit=PICTURES)
        taken = torch.cat([taken, *[taken[-1:]] * (PICTURES - len(taken))])
        return torch.stack([sized(each, size) for each in taken])

    says = f"the first {PICTURES} pictures, one a second, of {size} x {size} from {paths[0].suffix.lower()}"
    look = Modality("frames", dtype="uint8", standardise=True)
    return Column(name, look, read, says, "--size", {"size": size, "pictures": PICTURES})


def _has_sound(path: Path) -> bool:
    try:
        return len(sound(path)[0]) > 0
    except ValueError:
        return False

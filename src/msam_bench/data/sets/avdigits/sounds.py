"""Spoken digits in environmental noise: recordings of one split, each with several noises, as spectrograms.

    spoken = recordings(Path("fsdd"), Path("esc"))["train"]
    spoken.spectrogram(spoken.of(7)[0])             # uint8 [1, 32, 32], from 0 to 63

A recording has unit power over its own length and lies somewhere in a window of 0.8 s; the noise around it is 12 dB
louder. Recordings and noises of different splits are different ones, the speakers are the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from msam_bench.data.base import SPLITS
from msam_bench.data.media import audio, spectrograms

RATE, SAMPLES = 8_000, 6_400
DECIBELS = -12.0
VERSIONS = {"train": 4, "valid": 4, "test": 8}
RANGE, STEPS = 60.0, 63
NUMBERS = {"test": range(5), "valid": range(5, 9), "train": range(9, 50)}
FOLDS = {"train": "123", "valid": "4", "test": "5"}
ESC10 = {"0", "1", "10", "11", "12", "20", "21", "38", "40", "41"}
"""Numbers of the classes of ESC-10 in the names of ESC-50."""

SAMPLED = {"1-40730-A", "2-96460-A"}
"""Clips under the Sampling+ licence, which are left out."""

_SPOKEN = re.compile(r"([0-9])_(\w+)_(\d+)")
_NOISE = re.compile(r"(([1-5])-\d+-[A-Z])(?:-(\d+))?")


def recordings(speech: Path, noise: Path) -> dict[str, Spoken]:
    """The recordings of each split with its noises.

    Raises:
        ValueError: No recordings, no noise, or a digit that nobody speaks in a split.
    """
    spoken = {part: [path for path in _spoken(speech) if _number(path) in NUMBERS[part]] for part in SPLITS}
    noises = {part: [path for path in _noises(noise) if path.name[0] in FOLDS[part]] for part in SPLITS}
    for part in SPLITS:
        if missing := set("0123456789") - {path.name[0] for path in spoken[part]}:
            raise ValueError(f"Expected recordings of every digit to {part} on in {speech}, found no {min(missing)}.")
        if not noises[part]:
            raise ValueError(f"Expected noises of fold {' or '.join(FOLDS[part])} in {noise}, found none.")
    return {part: Spoken(spoken[part], noises[part], part) for part in SPLITS}


class Spoken:
    """The recordings of a split, in several versions each.

    Args:
        recordings: Paths, sorted.
        noises: Clips of noise, sorted.
        part: The split.
    """

    def __init__(self, recordings: Sequence[Path], noises: Sequence[Path], part: str) -> None:
        self.recordings, self.noises, self.part = recordings, noises, part
        self.made: dict[int, Tensor] = {}

    def of(self, digit: int) -> list[int]:
        """The spectrograms of a digit, by number."""
        versions = VERSIONS[self.part]
        recorded = [place for place, path in enumerate(self.recordings) if path.name[0] == str(digit)]
        return [place * versions + version for place in recorded for version in range(versions)]

    def spectrogram(self, number: int) -> Tensor:
        """A spectrogram, uint8 `[1, 32, 32]` from 0 to 63, made once."""
        if number not in self.made:
            self.made[number] = self._made(number)
        return self.made[number]

    def _made(self, number: int) -> Tensor:
        draw = np.random.default_rng([1, SPLITS.index(self.part), number])
        mixed = _placed(_speech(self.recordings[number // VERSIONS[self.part]]), draw)
        mixed = mixed + self._noise(draw) * 10 ** (-DECIBELS / 20)
        decibels = spectrograms.mel_decibels(mixed, RATE, 256, 200, 32)[:, :32]
        return ((decibels.clamp(min=-RANGE) + RANGE) / RANGE * STEPS).round().to(torch.uint8)[None]

    def _noise(self, draw: np.random.Generator) -> Tensor:
        """A cut of a clip in which something is to be heard, of unit power."""
        for _ in range(100):
            clip = _clip(self.noises[int(draw.integers(len(self.noises)))])
            start = int(draw.integers(max(1, len(clip) - SAMPLES + 1)))
            cut = audio.fitted(clip[start:], SAMPLES)
            if cut.square().mean() > 1e-8:
                return _unit(cut)
        raise ValueError(f"Expected noise to be heard in {self.noises[0].parent}, found silence in 100 cuts.")


def _placed(speech: Tensor, draw: np.random.Generator) -> Tensor:
    """The recording somewhere in the window, or cut to it somewhere."""
    room = SAMPLES - len(speech)
    start = int(draw.integers(abs(room) + 1))
    if room < 0:
        return speech[start : start + SAMPLES]
    return torch.nn.functional.pad(speech, (start, room - start))


def _unit(signal: Tensor) -> Tensor:
    """Without mean, of unit power."""
    centred = signal - signal.mean()
    return centred / centred.square().mean().sqrt().clamp(min=1e-8)


def _speech(path: Path) -> Tensor:
    signal, rate = audio.sound(path)
    if not len(signal):
        raise ValueError(f"Expected a spoken digit in {path}, found an empty file: fetch it again.")
    return _unit(audio.resampled(signal, rate, RATE))


@cache
def _clip(path: Path) -> Tensor:
    return audio.resampled(*audio.sound(path), RATE)


def _spoken(folder: Path) -> list[Path]:
    paths = sorted((path for path in folder.rglob("*.wav") if _SPOKEN.fullmatch(path.stem)), key=lambda path: path.name)
    if not paths:
        raise ValueError(
            f"Expected recordings like 7_jackson_32.wav in {folder}, found none: clone the repository there."
        )
    return paths


def _number(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])


def _noises(folder: Path) -> list[Path]:
    """Clips of the ten classes, without those of another licence."""
    kept = []
    for path in folder.rglob("*.*"):
        named = _NOISE.fullmatch(path.stem) if path.suffix in (".wav", ".ogg") else None
        if named and named[1] not in SAMPLED and named[3] in {None, *ESC10}:
            kept.append(path)
    return sorted(kept, key=lambda path: path.name)

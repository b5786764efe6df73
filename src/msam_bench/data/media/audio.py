"""Sound as a mono signal: wav, flac, ogg and mp3 through soundfile, the sound of videos through PyAV.

    signal, rate = sound(path)               # float32 [samples] between -1 and 1, samples a second
    signal = resampled(signal, rate, 22_050)
    fitted(signal, 66_150)                   # cut, or filled up with silence

A file without a single sample is an empty signal, not an error: what that means is for a data set to say.
"""

from __future__ import annotations

from math import gcd
from pathlib import Path

import torch
from torch import Tensor

from msam_bench.data.media.opening import brief, has_stream, needed, present

LIBSNDFILE = (".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav")
"""Endings of files whose sound is read with soundfile; that of all others is read with PyAV."""


def sound(path: Path) -> tuple[Tensor, int]:
    """The signal of a file, the mean of its channels.

    Returns:
        float32 `[samples]` and the number of samples a second.

    Raises:
        ValueError: No such file, a pointer to it, no sound in it, or sound that cannot be decoded.
    """
    present(path)
    return _of_sound(path) if path.suffix.lower() in LIBSNDFILE else _of_video(path)


def has_sound(path: Path) -> bool:
    """Whether a file has any sound, as its head says.

    Raises:
        ValueError: No such file, a pointer to it, or one that cannot be opened.
    """
    present(path)
    if path.suffix.lower() not in LIBSNDFILE:
        return has_stream(path, "audio")
    soundfile = needed("soundfile")
    try:
        return int(soundfile.info(path).frames) > 0
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise ValueError(f"Expected sound in {path}, found: {brief(error, path)}; fetch the file again.") from None


def resampled(signal: Tensor, rate: int, wanted: int) -> Tensor:
    """The signal with another number of samples a second, by a polyphase filter (Kaiser window, beta 5).

    Args:
        signal: `[samples]`.
        rate: Its samples a second.
        wanted: The result's.
    """
    if rate == wanted or not len(signal):
        return signal
    from scipy.signal import resample_poly

    shared = gcd(rate, wanted)
    return torch.from_numpy(resample_poly(signal.double().numpy(), wanted // shared, rate // shared)).float()


def fitted(signal: Tensor, samples: int) -> Tensor:
    """The first `samples` samples; silence where the signal has ended."""
    return torch.nn.functional.pad(signal[:samples], (0, max(0, samples - len(signal))))


def _of_sound(path: Path) -> tuple[Tensor, int]:
    soundfile = needed("soundfile")
    try:
        values, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise ValueError(f"Expected sound in {path}, found: {brief(error, path)}; fetch the file again.") from None
    return torch.from_numpy(values).mean(1), int(rate)


def _of_video(path: Path) -> tuple[Tensor, int]:
    av = needed("av")
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise ValueError(f"Expected sound in {path}, found a video without any: leave its sample out.")
            stream = container.streams.audio[0]
            to_mono = av.AudioResampler(format="flt", layout="mono")
            decoded = [*container.decode(stream), None]
            parts = [part.to_ndarray()[0] for frame in decoded for part in to_mono.resample(frame)]
            rate = int(stream.rate)
    except (av.FFmpegError, OSError) as error:
        raise ValueError(f"Expected sound in {path}, found: {brief(error, path)}; fetch the file again.") from None
    return torch.cat([torch.empty(0), *(torch.from_numpy(part) for part in parts)]), rate

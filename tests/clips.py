"""Small real media files that the tests make: wav, flv and mp4 with sound, jpg; each as the official data have them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 84080\n"


def tone(hertz: float, seconds: float = 2.5, rate: int = 16_000) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype("f4")


def write_wav(path: Path, signal: NDArray[np.float32], rate: int = 16_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, rate, subtype="PCM_16")


def write_jpg(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (32, 24)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, quality=95)


def write_video(
    path: Path,
    colours: list[tuple[int, int, int]],
    *,
    sound: NDArray[np.float32] | None = None,
    rate: int = 22_050,
    fps: int = 10,
    size: tuple[int, int] = (48, 32),
) -> None:
    """A video that shows each colour for a second: flv (flv1 and mp3, as CREMA-D) or mp4 (mpeg4 and aac)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flash = path.suffix == ".flv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("flv1" if flash else "mpeg4", rate=fps)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        audio = None if sound is None else container.add_stream("mp3" if flash else "aac", rate=rate)
        for index in range(len(colours) * fps):
            pixels = np.full((size[1], size[0], 3), colours[index // fps], "u1")
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None and sound is not None:
            wave = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            wave.rate, wave.pts, wave.time_base = rate, 0, Fraction(1, rate)
            container.mux(audio.encode(wave))
            container.mux(audio.encode(None))

"""Published data sets in the layout of their publishers, tiny: the tests make the files themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clips import tone, write_jpg, write_video, write_wav

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (30, 200, 200), (200, 30, 200)]
EMOTIONS = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")


def avmnist(folder: Path, train: int = 48, test: int = 12) -> Path:
    """Five arrays: a bright blob and a bright band, both placed by the digit."""
    draw = np.random.default_rng(0)
    for part, count in (("train", train), ("test", test)):
        digits = np.arange(count) % 10
        image = draw.uniform(0, 60, (count, 28, 28)).astype("f4")
        audio = draw.uniform(0, 60, (count, 112, 112))
        for row, digit in enumerate(digits):
            image[row, 2 * digit : 2 * digit + 6, 8:20] += 190
            audio[row, 10 * digit : 10 * digit + 12] += 190
        for name, values in (("image", image.reshape(count, 784)), ("audio", audio)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            np.save(folder / name / f"{part}_data.npy", values)
        np.save(folder / f"{part}_labels.npy", digits)
    return folder


def cremad(folder: Path, actors: int = 4, flash: bool = True) -> Path:
    """Every actor says one sentence in six emotions, which pitch and colour tell; flv with sound, or stills."""
    for number in range(actors):
        for label, emotion in enumerate(EMOTIONS):
            name = f"{1001 + number}_IEO_{emotion}_{'LO' if number == 1 else 'XX'}"
            wave = tone(200.0 * (label + 2), 1.2 + 0.2 * number)
            write_wav(folder / "AudioWAV" / f"{name}.wav", wave)
            if flash:
                sound = tone(200.0 * (label + 2), 2.0, 22_050)
                write_video(folder / "VideoFlash" / f"{name}.flv", [COLOURS[label]] * 2, sound=sound, fps=5)
            else:
                for second in range(2):
                    write_jpg(folder / "Image-01-FPS" / name / f"{second:05d}.jpg", COLOURS[label])
    return folder

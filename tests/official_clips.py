"""Kinetics-Sounds and VGGSound in the layouts of OGM-GE and BalanceBenchmark, tiny."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from clips import write_jpg

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
TIMES, BANDS = 20, 8


def stored_clip(audio: Path, video: Path, name: str, label: int, pictures: int = 6) -> None:
    """A spectrogram that is loud in the band of the class, and pictures that get brighter."""
    audio.mkdir(parents=True, exist_ok=True)
    values = np.zeros((TIMES, BANDS), "f4")
    values[:, label] = np.arange(TIMES)
    np.save(audio / f"{name}.npy", values)
    for number in range(pictures):
        red, green, blue = (each + 5 * number for each in COLOURS[label])
        write_jpg(video / name / f"frame_{1 + number:05}.jpg", (red, green, blue))


def kinetics_sounds(folder: Path, ogm: bool = False) -> Path:
    """Ten clips of each of three classes to train on and three to test; of one only the name is left."""
    lists = {"train": "my_train.txt", "test": "my_test.txt"} if ogm else {}
    frames = {"train": "train-frames-1fps/train", "test": "test-frames-1fps/test" if ogm else "val-frames-1fps/test"}
    for part, count in (("train", 10), ("test", 3)):
        lines = []
        for label in range(3):
            for number in range(count):
                name = f"-id{label}{number}_{part}_000010_000020"
                stored_clip(folder / f"{part}_spec", folder / frames[part], name, label)
                lines.append(f"{name},10,{label}" if ogm else f"{name} {label}")
        lines.append("gone_000000_000010,10,0" if ogm else "gone_000000_000010 0")
        (folder / lists.get(part, f"ks_{part}_overlap.txt")).write_text("\n".join(lines) + "\n")
    return folder


SOUNDS = ("dog barking", "people burping, eating", "playing harp")


def vggsound(folder: Path) -> Path:
    """The same with the list of VGGSound; starts of test clips have six digits; one clip has three pictures only."""
    lines = []
    for part, count in (("train", 10), ("test", 3)):
        for label, sound in enumerate(SOUNDS):
            for number in range(count):
                start = 10 * number
                name = f"-id{label}_{start}" if part == "train" else f"-te{label}_{start:06}"
                few = part == "train" and label == number == 1
                stored_clip(folder / "audio" / part, folder / "video" / part, name, label, 3 if few else 6)
                lines.append([name.rpartition("_")[0], str(start), sound, part])
    lines.append(["gone", "30", "dog barking", "test"])
    with (folder / "vggsound.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(lines)
    return folder

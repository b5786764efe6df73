"""Published data sets in the layout of their publishers, tiny: the tests make the files themselves."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

from clips import tone, write_jpg, write_video, write_wav
from msam_bench.data import source
from msam_bench.data.store.manifest import Manifest, verify
from msam_bench.data.store.prepared import Prepared, opened

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


def urfunny_multibench(folder: Path, sizes: tuple[int, int, int] = (12, 4, 4)) -> Path:
    """humor.pkl: left-padded arrays; sample 1 of train has no text, and one number of its audio is not finite."""
    draw, content = np.random.default_rng(0), {}
    for part, count in zip(("train", "valid", "test"), sizes, strict=True):
        arrays = {name: draw.standard_normal((count, 50, width)) for name, width in WIDTHS.items()}
        for row in range(count):
            for values in arrays.values():
                values[row, : 50 - (5 + row)] = 0
        labels = np.array([[[1 if row % 2 else -1]] for row in range(count)])
        content[part] = {**arrays, "labels": labels, "id": np.array([str(row) for row in range(count)])}
    content["train"]["text"][1] = 0
    content["train"]["audio"][0, 49, 2] = -np.inf
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "humor.pkl").write_bytes(pickle.dumps(content))
    return folder


WIDTHS = {"vision": 7, "audio": 5, "text": 6}


def urfunny_sdk(folder: Path) -> Path:
    """The six pickles of version 2: 20 ids, context of two sentences, a punchline of 4; id 3 has 60 words."""
    draw = np.random.default_rng(0)
    language, vision, audio = {}, {}, {}
    for key in range(20):
        lengths = [30 if key == 3 else 3, 26 if key == 3 else 2, 4]
        numbers = [draw.integers(1, 40, length).tolist() for length in lengths]
        language[key] = {
            "context_embedding_indexes": numbers[:2],
            "punchline_embedding_indexes": numbers[2],
            "punchline_sentence": "so it is",
            "context_sentences": ["a", "b"],
        }
        for of, width in ((vision, WIDTHS["vision"]), (audio, WIDTHS["audio"])):
            blocks = [draw.standard_normal((length, width)) for length in lengths]
            of[key] = {"context_features": blocks[:2], "punchline_features": blocks[2]}
    audio[0]["punchline_features"][1, 1] = -np.inf
    content = {
        "data_folds": {"train": list(range(12)), "dev": list(range(12, 16)), "test": list(range(16, 20))},
        "language_sdk": language,
        "openface_features_sdk": vision,
        "covarep_features_sdk": audio,
        "humor_label_sdk": {key: key % 2 for key in range(20)},
        "word_embedding_list": draw.standard_normal((40, WIDTHS["text"])).tolist(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in content.items():
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(value))
    return folder


EVENTS = ("Church bell", "Baby cry, infant cry", "Violin, fiddle")


def ave_clips(folder: Path) -> Path:
    """Twelve videos with sound, of which one is in train twice and one in train and test."""
    lines = {"trainSet": [], "valSet": [], "testSet": []}
    for number in range(12):
        part = "trainSet" if number < 6 else "valSet" if number < 9 else "testSet"
        lines[part].append(f"{EVENTS[number % 3]}&-video_{number}&good&2&9")
        sound = tone(300.0 * (number % 3 + 1), 2.0, 22_050)
        write_video(folder / "AVE" / f"-video_{number}.mp4", [COLOURS[number % 3]] * 2, sound=sound, fps=5)
    lines["trainSet"].append(f"{EVENTS[1]}&-video_0&good&0&3")
    lines["testSet"].append(lines["trainSet"][1])
    for name, own in lines.items():
        (folder / f"{name}.txt").write_text("\n".join(own) + "\n")
    return folder


def ave_segments(folder: Path) -> Path:
    """Features of twelve videos, with the classes in columns of the authors' own order."""
    draw, columns = np.random.default_rng(0), (4, 20, 7)
    labels = np.zeros((12, 10, 29), dtype="i8")
    lines = ["Category&VideoID&Quality&StartTime&EndTime"]
    for number in range(12):
        labels[number, 2:9, columns[number % 3]] = 1
        labels[number, [0, 1, 9], 28] = 1
        lines.append(f"{EVENTS[number % 3]}&-video_{number}&good&2&9")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Annotations.txt").write_text("\n".join(lines))
    arrays = {
        "audio_feature": draw.standard_normal((12, 10, 128)),
        "visual_feature": draw.standard_normal((12, 10, 7, 7, 512)).astype("f4"),
        "labels": labels,
    }
    for name, values in arrays.items():
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["avadataset"] = values
    for name, order in (("train", [3, 0, 1, 2, 4, 5]), ("val", [6, 7, 8]), ("test", [11, 10, 9])):
        with h5py.File(folder / f"{name}_order.h5", "w") as file:
            file["order"] = np.array(order)
    return folder


def avdigits_parts(folder: Path, train: int = 48, test: int = 12) -> Path:
    """MNIST in idx files (the images packed), recordings of every digit, and clips of noise of all folds."""
    draw = np.random.default_rng(0)
    (folder / "mnist").mkdir(parents=True, exist_ok=True)
    for prefix, count in (("train", train), ("t10k", test)):
        digits = (np.arange(count) % 10).astype("u1")
        images = draw.integers(0, 60, (count, 28, 28)).astype("u1")
        for row, digit in enumerate(digits):
            images[row, 2 * digit : 2 * digit + 6] += 150
        head = {"images": struct.pack(">4I", 2051, count, 28, 28), "labels": struct.pack(">2I", 2049, count)}
        packed = gzip.compress(head["images"] + images.tobytes(), mtime=0)
        (folder / "mnist" / f"{prefix}-images-idx3-ubyte.gz").write_bytes(packed)
        (folder / "mnist" / f"{prefix}-labels-idx1-ubyte").write_bytes(head["labels"] + digits.tobytes())
    for digit in range(10):
        for number in (0, 5, 9, 10):
            name = f"{digit}_jackson_{number}.wav"
            write_wav(folder / "fsdd/recordings" / name, tone(300.0 + 150 * digit, 0.3 + 0.07 * digit, 8_000), 8_000)
    for fold in range(1, 6):
        noise = 0.3 * draw.standard_normal(22_050).astype("f4")
        write_wav(folder / "esc/audio" / f"{fold}-{fold}00-A-0.wav", noise, 22_050)
    write_wav(folder / "esc/audio/1-40730-A-1.wav", np.zeros(9, "f4"))  # of another licence, left out
    write_wav(folder / "esc/audio/1-777-A-33.wav", np.zeros(9, "f4"))  # of a class of ESC-50 alone
    return folder


# ---- what is made of the files ---------------------------------------------------------------------------------------


def prepared(name: str, files: Path, into: Path, recipe: str | None = None, split: str | None = None) -> Prepared:
    """The store that a data set makes of its files."""
    manifest: Manifest = source(name).prepare(files, recipe, split, into)  # type: ignore[attr-defined]
    assert verify(into) == manifest
    return opened(into)


def refused(name: str, files: Path, into: Path, **choice: str) -> str:
    """The sentence with which a preparation is refused; nothing is left under the name of the store."""
    with pytest.raises(ValueError, match=r"^Expected ") as caught:
        source(name).prepare(files, folder=into, **choice)  # type: ignore[attr-defined]
    assert not into.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def ids_of(store: Prepared, part: str) -> list[str]:
    found: list[str] = json.loads((store.folder / f"{part}.samples.json").read_text())["ids"]
    return found

"""AVE: events that are heard and seen, in clips of ten seconds from AudioSet.

Two protocols are in use, and they are not comparable. `clips` tells 28 events apart, a clip at a time, from

    AVE/VIDEO.mp4, trainSet.txt, valSet.txt, testSet.txt          lines of Category&VideoID&Quality&Start&End

and `segments` tells 28 events and the background apart, a second at a time, from the authors' features:

    audio_feature.h5 [videos, 10, 128], visual_feature.h5 [videos, 10, 7, 7, 512], labels.h5 [videos, 10, 29],
    train_order.h5, val_order.h5, test_order.h5, and Annotations.txt, which names the classes

Some categories have commas in their names: the files are no csv.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msam_bench.data.modality import Modality
from msam_bench.data.sets.ave.segments import segments
from msam_bench.data.sets.official import Official, Preparation

if TYPE_CHECKING:
    from torch import Tensor

CATEGORIES = (
    "Accordion",
    "Acoustic guitar",
    "Baby cry, infant cry",
    "Banjo",
    "Bark",
    "Bus",
    "Cat",
    "Chainsaw",
    "Church bell",
    "Clock",
    "Female speech, woman speaking",
    "Fixed-wing aircraft, airplane",
    "Flute",
    "Frying (food)",
    "Goat",
    "Helicopter",
    "Horse",
    "Male speech, man speaking",
    "Mandolin",
    "Motorcycle",
    "Race car, auto racing",
    "Rodents, rats, mice",
    "Shofar",
    "Toilet flush",
    "Train horn",
    "Truck",
    "Ukulele",
    "Violin, fiddle",
)
RATE, SECONDS, FRAMES, SIZE = 16_000, 10, 4, 224
LISTS = {"train": "trainSet.txt", "valid": "valSet.txt", "test": "testSet.txt"}


@dataclass(frozen=True)
class AVE(Official):
    """Clips as spectrograms and pictures, or seconds as the authors' features."""

    def preparation(self, source: Path, recipe: str, split: str) -> Preparation:
        """See `Official.preparation`."""
        if recipe == "segments":
            features = segments(source)
            header = self.header(
                features.specs, recipe, split, classes=features.classes, group="video", **features.details
            )
            return Preparation(header, features.plan, features.read)
        from msam_bench.data.store.building import Sample

        folder = source / "AVE_Dataset" if (source / "AVE_Dataset").is_dir() else source
        lines = {part: listed(folder / name) for part, name in LISTS.items()}
        first = {part: _first(events) for part, events in lines.items()}
        plan = {
            part: [Sample(f"{part}/{video}", video, CATEGORIES.index(name), video) for video, name in videos.items()]
            for part, videos in first.items()
        }
        _check_complete(folder / "AVE", {video for videos in first.values() for video in videos})
        twice = Counter(video for videos in first.values() for video in videos)
        details: dict[str, Any] = {
            "repeats": sum(map(len, lines.values())) - twice.total(),
            "in_two_splits": sorted(video for video, count in twice.items() if count > 1),
        }
        return Preparation(
            self.header(_looks(), recipe, split, **details), plan, lambda video: _read(folder / "AVE", video)
        )


def listed(path: Path) -> list[tuple[str, str]]:
    """Category and video of each line.

    Raises:
        ValueError: No such file, or a line that is no event.
    """
    from msam_bench.data.media.opening import present

    lines = [line.strip() for line in present(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    return [_event(line, path) for line in lines]


def _first(events: list[tuple[str, str]]) -> dict[str, str]:
    """Video -> category of its first line, in the order of the lines."""
    categories: dict[str, str] = {}
    for category, video in events:
        categories.setdefault(video, category)
    return categories


def _event(line: str, path: Path) -> tuple[str, str]:
    category, *fields = line.rsplit("&", 4)
    if len(fields) != 4 or not fields[2].isdigit():
        raise ValueError(f"Expected lines like Church bell&VIDEO&good&0&10 in {path}, found {line!r}.")
    if category not in CATEGORIES:
        raise ValueError(f"Expected one of the {len(CATEGORIES)} categories of AVE in {path}, found '{category}'.")
    return category, fields[0]


def _check_complete(folder: Path, videos: set[str]) -> None:
    missing = sorted(video for video in videos if not (folder / f"{video}.mp4").is_file())
    if missing:
        raise ValueError(
            f"Expected {folder / missing[0]}.mp4, found none ({len(missing):,} videos of {len(videos):,} are missing): "
            "fetch them, or take their lines out of the lists."
        )


def _looks() -> dict[str, Modality]:
    from msam_bench.data.media.images import imagenet_scale

    scale, shift = imagenet_scale()
    return {
        "audio": Modality("spectrogram", dtype="float16", encoder="resnet18"),
        "video": Modality("frames", dtype="uint8", scale=scale, shift=shift, encoder="resnet18"),
    }


def _read(folder: Path, name: str) -> dict[str, Tensor]:
    """Ten seconds as PMR's log-power spectrogram; four pictures, evenly spaced among those at one a second."""
    import torch

    from msam_bench.data.media import audio, images, spectrograms, video

    path = folder / f"{name}.mp4"
    wave = audio.fitted(audio.resampled(*audio.sound(path), RATE), SECONDS * RATE)
    picture = spectrograms.standardised(spectrograms.log_power(wave, RATE))
    pictures = video.pictures(path, 1.0)
    chosen = torch.linspace(0, len(pictures) - 1, FRAMES).round().long()
    return {"audio": picture[None], "video": torch.stack([images.sized(one, SIZE) for one in pictures[chosen]])}


AVE_EVENTS = AVE(
    name="ave",
    summary="Events that are heard and seen, in clips of ten seconds.",
    modalities=("audio", "video"),
    classes=CATEGORIES,
    licence="none stated; AudioSet CC BY 4.0, videos of YouTube",
    citation="Tian, Y., et al. (2018). Audio-visual event localization. ECCV. arXiv 1803.08842",
    origin="4,143 events in clips of AudioSet",
    where="AVE_Dataset.zip, linked by github.com/YapengTian/AVE-ECCV18; the features are linked there, too.",
    recipes={
        "clips": "PMR: log-power spectrogram [1, 257, 1004] of 10 s, and four pictures at 224 x 224; 28 classes",
        "segments": "the authors' VGGish [128] and VGG-19 [512, 7, 7] features of each second; 29 classes",
    },
    protocols={"official": "the authors' lists; a few videos are in two of them"},
    expected={"train": 3312, "valid": 401, "test": 402},
)

"""VGGSound: sounds of 309 classes in videos whose source of sound is to be seen.

Expects the official list, and what BalanceBenchmark extracts of the clips:

    vggsound.csv                           YouTube id, second of the start, class, train or test
    audio/train/ID_START.npy, audio/test/...          log-mel energies [times, bands]
    video/train/ID_START/*.jpg, video/test/...        one picture a second

Names of classes have commas and are quoted. Starts may be padded with zeros to six digits (ID_000030).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msam_bench.data.sets import stored_clips
from msam_bench.data.sets.holding_out import without_some
from msam_bench.data.sets.official import Official, Preparation
from msam_bench.data.sets.stored_clips import Clip

LIST = "vggsound.csv"
PARTS = ("train", "test")


@dataclass(frozen=True)
class VGGSound(Official):
    """Spectrograms `[1, bands, times]` and three pictures `[3, 3, 224, 224]`."""

    def preparation(self, source: Path, recipe: str, split: str) -> Preparation:
        """See `Official.preparation`."""
        from msam_bench.data.store.building import Sample

        listed = _listed(source)
        there = {part: stored_clips.whole_ones(clips, f"{LIST} to {part}") for part, clips in listed.items()}
        classes = tuple(sorted({clip.label for clip in there["train"]}))
        test = [clip for clip in there["test"] if clip.label in classes]
        by_name = {clip.name: clip for clip in there["train"]}
        train, valid = without_some(list(by_name), 0.05, [clip.label for clip in by_name.values()])
        parts = {"train": [by_name[n] for n in train], "valid": [by_name[n] for n in valid], "test": test}
        plan = {
            part: [Sample(f"{part}/{clip.name}", clip, classes.index(clip.label)) for clip in clips]
            for part, clips in parts.items()
        }
        details: dict[str, Any] = {
            "missing": {part: len(listed[part]) - len(there[part]) for part in PARTS},
            "untrained": len(there["test"]) - len(test),
        }
        header = self.header(stored_clips.specs(), recipe, split, classes=classes, **details)
        return Preparation(header, plan, stored_clips.read)


def _listed(source: Path) -> dict[str, list[Clip]]:
    """Split -> its clips, each once."""
    from msam_bench.data.media.opening import present

    path = source / LIST
    clips: dict[str, dict[str, Clip]] = {part: {} for part in PARTS}
    with present(path).open(newline="", encoding="utf-8") as stream:
        for line in filter(None, csv.reader(stream)):
            if len(line) != 4 or not line[1].isdigit() or line[3] not in PARTS:
                raise ValueError(f"Expected lines of id, start, class, train or test in {path}, found {line!r}.")
            part = line[3]
            clip = _clip(source, part, line[0], int(line[1]), line[2])
            clips[part].setdefault(clip.name, clip)
    return {part: list(named.values()) for part, named in clips.items()}


def _clip(source: Path, part: str, video: str, start: int, label: str) -> Clip:
    """The clip under the name that is there: with its start as it is, or in six digits."""
    choices = [
        Clip(f"{video}_{text}", label, source / "audio" / part, source / "video" / part)
        for text in (str(start), f"{start:06}")
    ]
    return next((clip for clip in choices if clip.spectrogram.is_file()), choices[0])


VGG_SOUND = VGGSound(
    name="vggsound",
    summary="Sounds in videos whose source is to be seen, in clips of ten seconds.",
    modalities=("audio", "video"),
    classes=tuple(f"sound {number}" for number in range(1, 310)),
    licence="annotations CC BY 4.0; videos of YouTube",
    citation="Chen, H., et al. (2020). VGGSound. ICASSP. arXiv 2004.14368",
    origin="about 200,000 clips of YouTube, Visual Geometry Group, Oxford",
    where="vggsound.csv at www.robots.ox.ac.uk/~vgg/data/vggsound; clips of YouTube, sound and pictures extracted.",
    recipes={"stored-3f": "the stored spectrogram, and the picture in the middle of each third at 224 x 224"},
    protocols={"official": "the list; a twentieth of the training clips of each class validates, always the same"},
)

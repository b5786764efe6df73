"""Kinetics-Sounds: actions of Kinetics that are heard as well as seen, 31 of them.

Expects what OGM-GE and BalanceBenchmark have on disk:

    ks_train_overlap.txt, ks_test_overlap.txt, or my_train.txt, my_test.txt     name first, number of the class last
    train_spec/NAME.npy, test_spec/NAME.npy                                    log-mel energies [times, bands]
    train-frames-1fps/train/NAME/*.jpg, val-frames-1fps/test/NAME/*.jpg        or test-frames-1fps/test/

Fields of a line are separated by blanks or commas. The classes have numbers only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msam_bench.data.sets import stored_clips
from msam_bench.data.sets.holding_out import without_some
from msam_bench.data.sets.official import Official, Preparation
from msam_bench.data.sets.stored_clips import Clip

CLASSES = 31
LISTS = {"train": ("ks_train_overlap.txt", "my_train.txt"), "test": ("ks_test_overlap.txt", "my_test.txt")}
FRAMES = {
    "train": ("train-frames-1fps/train",),
    "test": ("val-frames-1fps/test", "test-frames-1fps/test"),
}


@dataclass(frozen=True)
class KineticsSounds(Official):
    """Spectrograms `[1, bands, times]` and three pictures `[3, 3, 224, 224]`."""

    def preparation(self, source: Path, recipe: str, split: str) -> Preparation:
        """See `Official.preparation`."""
        from msam_bench.data.store.building import Sample

        listed = {part: _listed(source, part) for part in LISTS}
        there = {part: stored_clips.whole_ones(clips, f"the {part} list") for part, clips in listed.items()}
        by_name = {clip.name: clip for clip in there["train"]}
        train, valid = without_some(list(by_name), 0.1, [clip.label for clip in by_name.values()])
        parts = {"train": [by_name[n] for n in train], "valid": [by_name[n] for n in valid], "test": there["test"]}
        plan = {
            part: [Sample(f"{part}/{clip.name}", clip, int(clip.label)) for clip in clips]
            for part, clips in parts.items()
        }
        missing: dict[str, Any] = {part: len(listed[part]) - len(there[part]) for part in LISTS}
        header = self.header(stored_clips.specs(), recipe, split, missing=missing)
        return Preparation(header, plan, stored_clips.read)


def _listed(source: Path, part: str) -> list[Clip]:
    """The clips of a list, each once."""
    path = _first(source, LISTS[part], "list", Path.is_file)
    video = _first(source, FRAMES[part], "folder", Path.is_dir)
    clips: dict[str, Clip] = {}
    for line in filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines())):
        fields = re.split(r"[,\s]+", line)
        if len(fields) < 2 or not fields[-1].isdigit() or int(fields[-1]) >= CLASSES:
            raise ValueError(f"Expected lines of a name and a class from 0 to {CLASSES - 1} in {path}, found {line!r}.")
        clips.setdefault(fields[0], Clip(fields[0], fields[-1], source / f"{part}_spec", video))
    return list(clips.values())


def _first(source: Path, names: Sequence[str], what: str, there: Any) -> Path:
    for name in names:
        if there(source / name):
            return source / name
    raise ValueError(f"Expected the {what} {' or '.join(names)} in {source}, found none: put it there.")


KINETICS_SOUNDS = KineticsSounds(
    name="kinetics-sounds",
    summary="Actions that are heard as well as seen, in clips of ten seconds.",
    modalities=("audio", "video"),
    classes=tuple(f"action {number}" for number in range(CLASSES)),
    licence="annotations of Kinetics CC BY 4.0; videos of YouTube",
    citation="Arandjelovic, R., Zisserman, A. (2017). Look, listen and learn. ICCV. arXiv 1705.08168",
    origin="clips of Kinetics-400; lists of OGM-GE (Peng et al. 2022)",
    where="Clips of Kinetics-400, sound and pictures extracted; the lists of OGM-GE or BalanceBenchmark (GeWu-Lab).",
    recipes={"stored-3f": "the stored spectrogram, and the picture in the middle of each third at 224 x 224"},
    protocols={"official": "the lists; a tenth of the training clips of each class validates, always the same"},
)

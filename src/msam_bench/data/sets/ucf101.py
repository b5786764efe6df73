"""UCF101: 101 human actions in videos, as pictures and as optical flow.

Expects the official lists, and pictures and flow that were extracted before, one folder a video:

    ucfTrainTestlist/classInd.txt, trainlist01.txt, testlist01.txt ...      lines of Class/v_Class_g08_c01.avi
    rgb/v_Class_g08_c01/*.jpg       or jpegs_256/
    u/v_Class_g08_c01/*.jpg         horizontal flow, as grey pictures; or tvl1_flow/u/, flow/u/
    v/v_Class_g08_c01/*.jpg         vertical flow

Pictures are taken in the order of their names. Videos of one group (g08) show one scene: the official lists keep a
group on one side, and so does the validation part, which is the first two groups of a training list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.data.modality import Modality
from msam_bench.data.sets.official import Official, Preparation

if TYPE_CHECKING:
    from torch import Tensor

FRAMES, SIZE = 3, 224
FOLDERS = {"rgb": ("rgb", "jpegs_256"), "u": ("u", "tvl1_flow/u", "flow/u"), "v": ("v", "tvl1_flow/v", "flow/v")}
HELD_OUT = 2
"""Groups of a training list that validate: the first ones."""

_NAME = re.compile(r"(?P<label>\w+)/(?P<video>v_\w+_g(?P<group>\d+)_c\d+)(\.avi)?")


@dataclass(frozen=True)
class Video:
    """A line of a list."""

    name: str
    label: str
    group: int


@dataclass(frozen=True)
class UCF101(Official):
    """Three pictures `[3, 3, 224, 224]` and three flows `[3, 2, 224, 224]` of each video."""

    def preparation(self, source: Path, recipe: str, split: str) -> Preparation:
        """See `Official.preparation`."""
        from msam_bench.data.store.building import Sample

        lists = source / "ucfTrainTestlist"
        classes = _classes(lists / "classInd.txt")
        number = split.removeprefix("split")
        train, test = (_listed(lists / f"{part}list{number.zfill(2)}.txt", classes) for part in ("train", "test"))
        held = sorted({video.group for video in train})[:HELD_OUT]
        parts = {
            "train": [video for video in train if video.group not in held],
            "valid": [video for video in train if video.group in held],
            "test": test,
        }
        folders = {name: _folder(source, names) for name, names in FOLDERS.items()}
        _check_complete(folders, [video for videos in parts.values() for video in videos])
        plan = {
            part: [
                Sample(video.name, video.name, classes.index(video.label), f"{video.label} g{video.group:02}")
                for video in videos
            ]
            for part, videos in parts.items()
        }
        header = self.header(_specs(), recipe, split, classes=classes, group="group", held_out=held)
        return Preparation(header, plan, lambda name: _read(folders, name))


def _classes(path: Path) -> tuple[str, ...]:
    """The names of the classes, by their numbers."""
    from msam_bench.data.media.opening import present

    lines = [line.split() for line in present(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    if [line[0] for line in lines] != [str(1 + place) for place in range(len(lines))]:
        raise ValueError(f"Expected lines of a number and a class, from 1 on, in {path}, found others.")
    return tuple(line[1] for line in lines)


def _listed(path: Path, classes: Sequence[str]) -> list[Video]:
    from msam_bench.data.media.opening import present

    videos = []
    for line in filter(None, map(str.strip, present(path).read_text(encoding="utf-8").splitlines())):
        match = _NAME.fullmatch(line.split()[0])
        if not match or match["label"] not in classes:
            raise ValueError(f"Expected lines like {classes[0]}/v_{classes[0]}_g08_c01.avi in {path}, found {line!r}.")
        videos.append(Video(match["video"], match["label"], int(match["group"])))
    return videos


def _folder(source: Path, names: Sequence[str]) -> Path:
    there = [source / name for name in names if (source / name).is_dir()]
    if not there:
        raise ValueError(
            f"Expected the folder {' or '.join(names)} in {source}, found none: extract the pictures first."
        )
    return there[0]


def _check_complete(folders: dict[str, Path], videos: Sequence[Video]) -> None:
    missing = [
        folder / video.name for video in videos for folder in folders.values() if not (folder / video.name).is_dir()
    ]
    if missing:
        raise ValueError(
            f"Expected pictures in {missing[0]}, found no folder ({len(missing):,} folders are missing): extract them, "
            "or take their lines out of the lists."
        )


def _specs() -> dict[str, Modality]:
    from msam_bench.data.media.images import imagenet_scale

    scale, shift = imagenet_scale()
    return {
        "rgb": Modality("frames", dtype="uint8", scale=scale, shift=shift, encoder="resnet18"),
        "flow": Modality("frames", dtype="uint8", scale=1 / 127.5, shift=-1.0, encoder="resnet18"),
    }


def _read(folders: dict[str, Path], name: str) -> dict[str, Tensor]:
    """The pictures in the middle of each third of a video; flow from -1 to 1, no motion being 0."""
    import torch

    from msam_bench.data.media.images import picture, sized

    def middle(folder: str, channels: int) -> Tensor:
        paths = middles(sorted((folders[folder] / name).glob("*.jpg")), folders[folder] / name)
        return torch.stack([sized(picture(path, channels), SIZE) for path in paths])

    return {"rgb": middle("rgb", 3), "flow": torch.cat([middle("u", 1), middle("v", 1)], dim=1)}


def middles(paths: Sequence[Path], folder: Path) -> list[Path]:
    """One file in the middle of each third; a short list gives files twice.

    Raises:
        ValueError: No file.
    """
    if not paths:
        raise ValueError(f"Expected pictures (jpg) in {folder}, found none: extract them again.")
    return [paths[(2 * third + 1) * len(paths) // (2 * FRAMES)] for third in range(FRAMES)]


UCF_101 = UCF101(
    name="ucf101",
    summary="Human actions in videos, as pictures and as optical flow.",
    modalities=("rgb", "flow"),
    classes=tuple(f"action {number}" for number in range(1, 102)),
    licence="none stated",
    citation="Soomro, K., Zamir, A. R., Shah, M. (2012). UCF101. arXiv 1212.0402",
    origin="13,320 videos of YouTube, Center for Research in Computer Vision, University of Central Florida",
    where="crcv.ucf.edu/data/UCF101.php: videos and ucfTrainTestlist; extract pictures and flow from the videos.",
    recipes={"middles-3": "three pictures and three flows, from the middle of each third, at 224 x 224"},
    protocols={
        f"split{number}": f"the official list {number}; the first two groups of its training part validate"
        for number in (1, 2, 3)
    },
)

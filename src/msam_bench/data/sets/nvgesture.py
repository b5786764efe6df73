"""NVGesture: hand gestures in a car, as colour and depth videos.

Expects the folder of nvGesture_v1:

    nvgesture_train_correct_cvpr2016_v2.lst, nvgesture_test_correct_cvpr2016_v2.lst      or the names without cvpr2016
    Video_data/class_01/subject13_r0/sk_color.avi, sk_depth.avi

A line of a list has a path, for each sensor its first picture and the one after its last, and a class from 1 to 25:

    path:./Video_data/class_01/subject13_r0 depth:sk_depth:138:218 color:sk_color:138:218 duo_left:... label:1
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.data.modality import Modality
from msam_bench.data.sets.holding_out import without_some
from msam_bench.data.sets.official import Official, Preparation

if TYPE_CHECKING:
    from torch import Tensor

CLASSES, FRAMES, SIZE = 25, 3, 224
LISTS = {
    part: tuple(f"nvgesture_{part}_correct{end}.lst" for end in ("_cvpr2016_v2", "_v2", "_cvpr2016", ""))
    for part in ("train", "test")
}
SENSORS = {"rgb": ("color", "sk_color"), "depth": ("depth", "sk_depth")}
_SUBJECT = re.compile(r"(subject\d+)_r\d+")


@dataclass(frozen=True)
class Gesture:
    """A line of a list.

    Args:
        path: The folder of its videos, from `Video_data` on.
        subject: Who makes it.
        label: From 0.
        spans: Modality -> its first picture and the one after its last.
    """

    path: str
    subject: str
    label: int
    spans: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class NVGesture(Official):
    """Three pictures `[3, 3, 224, 224]` and three depth maps `[3, 1, 224, 224]` of each gesture."""

    def preparation(self, source: Path, recipe: str, split: str) -> Preparation:
        """See `Official.preparation`."""
        from msam_bench.data.store.building import Sample

        train, test = (_listed(source, part) for part in ("train", "test"))
        _check_complete(source, [*train, *test])
        _, held = without_some(sorted({gesture.subject for gesture in train}), 0.1)
        parts = {
            "train": [gesture for gesture in train if gesture.subject not in held],
            "valid": [gesture for gesture in train if gesture.subject in held],
            "test": test,
        }
        plan = {
            part: [Sample(f"{part}/{g.path}/{g.spans[0][1]}", g, g.label, g.subject) for g in gestures]
            for part, gestures in parts.items()
        }
        shared = {gesture.subject for gesture in train} & {gesture.subject for gesture in test}
        group = None if shared else "subject"
        header = self.header(_specs(), recipe, split, group=group, held_out=held, on_both_sides=sorted(shared))
        return Preparation(header, plan, lambda gesture: _read(source, gesture))


def _listed(source: Path, part: str) -> list[Gesture]:
    from msam_bench.data.media.opening import present

    there = [source / name for name in LISTS[part] if (source / name).is_file()]
    if not there:
        raise ValueError(f"Expected {LISTS[part][0]} in {source}, found none: put it there.")
    lines = present(there[0]).read_text(encoding="utf-8").splitlines()
    return [_gesture(line.strip(), there[0]) for line in lines if line.strip()]


def _gesture(line: str, path: Path) -> Gesture:
    fields = dict(field.split(":", 1) for field in line.split() if ":" in field)
    subject = _SUBJECT.search(fields.get("path", ""))
    spans = {name: re.fullmatch(rf"{video}:(\d+):(\d+)", fields.get(key, "")) for name, (key, video) in SENSORS.items()}
    label = fields.get("label", "")
    if not subject or not label.isdigit() or not 1 <= int(label) <= CLASSES or not all(spans.values()):
        raise ValueError(
            f"Expected lines like path:./Video_data/class_01/subject13_r0 depth:sk_depth:138:218 "
            f"color:sk_color:138:218 label:1 in {path}, found {line!r}."
        )
    ends = tuple((name, int(match[1]), int(match[2])) for name, match in spans.items() if match)
    return Gesture(fields["path"].removeprefix("./"), subject[1], int(label) - 1, ends)


def _check_complete(source: Path, gestures: list[Gesture]) -> None:
    paths = [source / gesture.path / f"{video}.avi" for gesture in gestures for _, video in SENSORS.values()]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ValueError(f"Expected {missing[0]}, found none ({len(missing):,} videos are missing): unpack them.")


def _specs() -> dict[str, Modality]:
    from msam_bench.data.media.images import imagenet_scale

    scale, shift = imagenet_scale()
    return {
        "rgb": Modality("frames", dtype="uint8", scale=scale, shift=shift, encoder="resnet18"),
        "depth": Modality("frames", dtype="uint8", scale=1 / 255, standardise=True, encoder="resnet18"),
    }


def _read(source: Path, gesture: Gesture) -> dict[str, Tensor]:
    """The pictures in the middle of each third of a gesture."""
    import torch

    from msam_bench.data.media.images import sized

    tensors = {}
    for name, first, last in gesture.spans:
        path = source / gesture.path / f"{SENSORS[name][1]}.avi"
        numbers = [first + (2 * third + 1) * (last - first) // (2 * FRAMES) for third in range(FRAMES)]
        pictures = torch.stack([sized(picture, SIZE) for picture in _pictures(path, numbers)])
        tensors[name] = pictures if name == "rgb" else pictures[:, :1]
    return tensors


def _pictures(path: Path, numbers: list[int]) -> list[Tensor]:
    """The pictures of a video by their numbers from 0, `[3, height, width]`."""
    import torch

    from msam_bench.data.media.opening import brief, needed

    av = needed("av")
    taken: dict[int, Tensor] = {}
    try:
        with av.open(str(path)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number in numbers:
                    taken[number] = torch.from_numpy(frame.to_ndarray(format="rgb24")).movedim(2, 0)
                if number >= max(numbers):
                    break
    except (av.FFmpegError, IndexError, OSError) as error:
        raise ValueError(f"Expected a video in {path}, found: {brief(error, path)}; unpack it again.") from None
    if missing := [number for number in numbers if number not in taken]:
        raise ValueError(
            f"Expected a picture number {missing[0]} in {path}, found the end of the video: unpack it again."
        )
    return [taken[number] for number in numbers]


NV_GESTURE = NVGesture(
    name="nvgesture",
    summary="Hand gestures in a car, as colour and depth videos.",
    modalities=("rgb", "depth"),
    classes=tuple(f"gesture {number}" for number in range(1, CLASSES + 1)),
    licence="research use (NVIDIA)",
    citation="Molchanov, P., et al. (2016). Online detection and classification of dynamic hand gestures with "
    "recurrent 3D convolutional neural networks. CVPR. doi:10.1109/CVPR.2016.456",
    origin="1,532 gestures of twenty people, NVIDIA",
    where="nvGesture_v1, by the page of the publication at research.nvidia.com.",
    recipes={"middles-3": "three pictures and three depth maps, from the middle of each third, at 224 x 224"},
    protocols={"official": "the lists; a tenth of the people of the training list validates, always the same"},
)

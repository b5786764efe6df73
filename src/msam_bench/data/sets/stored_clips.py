"""Clips whose sound is a stored spectrogram and whose pictures were extracted before, as BalanceBenchmark has them.

    NAME.npy                 [times, bands] in one folder
    NAME/frame_00001.jpg     at one a second, in the order of their names, in another

Lists of videos of YouTube name clips that are gone: a clip without a spectrogram or with fewer than four pictures is
left out, as there, and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.data.modality import Modality

if TYPE_CHECKING:
    from torch import Tensor

FRAMES, LEAST, SIZE = 3, 4, 224


@dataclass(frozen=True)
class Clip:
    """A clip of a list.

    Args:
        name: Of its files.
        label: Its class.
        audio: The folder of spectrograms.
        video: The folder of folders of pictures.
    """

    name: str
    label: str
    audio: Path
    video: Path

    @property
    def spectrogram(self) -> Path:
        """The file of its sound."""
        return self.audio / f"{self.name}.npy"

    @property
    def pictures(self) -> list[Path]:
        """Its pictures, in order."""
        return sorted((self.video / self.name).glob("*.jpg"))

    @property
    def whole(self) -> bool:
        """Whether its sound and enough pictures are there."""
        return self.spectrogram.is_file() and len(self.pictures) >= LEAST


def whole_ones(clips: Sequence[Clip], where: str) -> list[Clip]:
    """The clips that are there.

    Raises:
        ValueError: None is.
    """
    kept = [clip for clip in clips if clip.whole]
    if clips and not kept:
        first = clips[0]
        raise ValueError(
            f"Expected {first.spectrogram} and pictures in {first.video / first.name}, found none of the "
            f"{len(clips):,} clips of {where}: extract them first."
        )
    return kept


def specs() -> dict[str, Modality]:
    """What the two modalities are like."""
    from msam_bench.data.media.images import imagenet_scale

    scale, shift = imagenet_scale()
    return {
        "audio": Modality("spectrogram", dtype="float16", standardise=True, encoder="resnet18"),
        "video": Modality("frames", dtype="uint8", scale=scale, shift=shift, encoder="resnet18"),
    }


def read(clip: Clip) -> dict[str, Tensor]:
    """The spectrogram `[1, bands, times]`; the pictures in the middle of each third `[3, 3, 224, 224]`."""
    import torch

    from msam_bench.data.media.images import picture, sized

    paths = clip.pictures
    chosen = [paths[(2 * third + 1) * len(paths) // (2 * FRAMES)] for third in range(FRAMES)]
    return {"audio": _spectrogram(clip.spectrogram), "video": torch.stack([sized(picture(p), SIZE) for p in chosen])}


def _spectrogram(path: Path) -> Tensor:
    import numpy as np
    import torch

    from msam_bench.data.media.opening import present

    try:
        values = np.load(present(path), allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"Expected an array in {path}, found: {error}; extract it again.") from None
    if values.ndim != 2 or values.dtype.kind != "f":
        raise ValueError(f"Expected a spectrogram [times, bands] in {path}, found {values.dtype} {list(values.shape)}.")
    return torch.from_numpy(values.astype(np.float32)).T[None].contiguous()

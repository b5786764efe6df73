"""Pictures from files or from frames of a video, all of one size, through Pillow.

picture(path)                            # uint8 [3, height, width], or [1, ...] with channels=1
sized(frame, 224)                        # uint8 [3, 224, 224]: squashed, as the test transform of OGM-GE does
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from msam_bench.data.media.opening import brief, needed, present

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def picture(path: Path, channels: int = 3) -> Tensor:
    """The picture of a file, turned as its camera says.

    Args:
        path: png, jpg or whatever else Pillow decodes.
        channels: 3 for colour, 1 for grey.

    Returns:
        uint8 `[channels, height, width]`.

    Raises:
        ValueError: No such file, a pointer to it, or no picture that can be decoded whole.
    """
    present(path)
    image, ops = needed("PIL.Image"), needed("PIL.ImageOps")
    try:
        with image.open(path) as opened:
            return _tensor(ops.exif_transpose(opened).convert("RGB" if channels == 3 else "L"))
    except (OSError, SyntaxError, image.DecompressionBombError) as error:
        raise ValueError(f"Expected a picture in {path}, found: {brief(error, path)}; fetch the file again.") from None


def sized(pixels: Tensor, size: int) -> Tensor:
    """A picture `[3 or 1, height, width]` squashed to `[3 or 1, size, size]`, antialiased (bilinear)."""
    if tuple(pixels.shape[1:]) == (size, size):
        return pixels
    image = needed("PIL.Image")
    rows = pixels.movedim(0, 2).contiguous().numpy()
    opened = image.fromarray(rows[:, :, 0] if len(pixels) == 1 else rows)
    return _tensor(opened.resize((size, size), image.Resampling.BILINEAR))


def imagenet_scale() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and shift that turn bytes into numbers with the mean and deviation that ImageNet's networks expect."""
    scale = tuple(1 / (255 * deviation) for deviation in IMAGENET_DEVIATION)
    shift = tuple(-mean / deviation for mean, deviation in zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True))
    return scale, shift


def _tensor(image: object) -> Tensor:
    import numpy as np

    values = torch.from_numpy(np.array(image))
    return values[None] if values.dim() == 2 else values.movedim(2, 0).contiguous()

"""Pictures from files or from frames of a video, all of one size, through Pillow.

picture(path)                            # uint8 [3, height, width], or [1, ...] with channels=1
deep_picture(path)                       # float32 [3, height, width], for pictures of more than 8 bits a channel
sized(frame, 224)                        # uint8 [3, 224, 224]: squashed, as the test transform of OGM-GE does
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from msam_bench.data.media.opening import brief, needed, present

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def picture(path: Path, channels: int = 3) -> Tensor:
    """The picture of a file, turned as its camera says, laid over white where it is transparent.

    Args:
        path: png, jpg or whatever else Pillow decodes.
        channels: 3 for colour, 1 for grey.

    Returns:
        uint8 `[channels, height, width]`.

    Raises:
        ValueError: No such file, a pointer to it, or no picture that can be decoded whole.
    """
    with _opened(path) as image:
        return bytes_of(image, channels)


def bytes_of(opened: Any, channels: int = 3) -> Tensor:
    """The pixels of a picture that Pillow has opened, uint8 `[channels, height, width]`; 16 bits a channel are rounded.

    Raises:
        ValueError: 32-bit numbers, whose scale nothing tells.
    """
    import numpy as np

    if opened.mode in ("I", "F"):
        raise ValueError(f"32-bit numbers ({opened.mode}), of which none is white; import them as arrays")
    turned = _upright(opened)
    if opened.mode.startswith("I;16"):
        turned = needed("PIL.Image").fromarray((np.array(turned) / 257).round().astype(np.uint8))
    return _tensor(turned.convert("RGB" if channels == 3 else "L"))


def depth_of(path: Path) -> str:
    """How deep a picture is, read from its head: "8" or "16" bits a channel, or "raw" 32-bit numbers.

    Raises:
        ValueError: As `picture`.
    """
    with _opened(path) as image:
        return "16" if image.mode.startswith("I;16") else "raw" if image.mode in ("I", "F") else "8"


def deep_picture(path: Path) -> Tensor:
    """The picture of a file without loss of depth.

    Returns:
        float32 `[3, height, width]`: between 0 and 1 for 8 and 16 bits a channel, else the numbers as they are stored.

    Raises:
        ValueError: As `picture`.
    """
    import numpy as np

    with _opened(path) as image:
        turned = _upright(image)
        if image.mode.startswith("I;16"):
            return torch.from_numpy(np.array(turned).astype(np.float32) / 65535).expand(3, -1, -1).contiguous()
        if image.mode in ("I", "F"):
            return torch.from_numpy(np.array(turned).astype(np.float32)).expand(3, -1, -1).contiguous()
        return _tensor(turned.convert("RGB")).float() / 255


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A picture that Pillow has opened; what goes wrong with it in a sentence."""
    present(path)
    image = needed("PIL.Image")
    try:
        with image.open(path) as opened:
            yield opened
    except (OSError, SyntaxError, ValueError, image.DecompressionBombError) as error:
        raise ValueError(f"Expected a picture in {path}, found: {brief(error, path)}; fetch the file again.") from None


def _upright(opened: Any) -> Any:
    """A picture turned as its camera says, laid over white where it is transparent."""
    image = needed("PIL.Image")
    turned = needed("PIL.ImageOps").exif_transpose(opened)
    if not turned.has_transparency_data or turned.mode.startswith(("I", "F")):
        return turned
    over = turned.convert("RGBA")
    return image.alpha_composite(image.new("RGBA", over.size, "white"), over)


def sized(pixels: Tensor, size: int) -> Tensor:
    """A picture `[3 or 1, height, width]` squashed to `[3 or 1, size, size]`, antialiased (bilinear)."""
    if tuple(pixels.shape[1:]) == (size, size):
        return pixels
    if pixels.is_floating_point():
        scaled: Tensor = torch.nn.functional.interpolate(pixels[None], (size, size), mode="bilinear", antialias=True)
        return scaled[0]
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

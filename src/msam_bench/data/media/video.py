"""Pictures of a video at given moments, through PyAV: flv, mp4 and whatever else it decodes.

pictures(path, rate=1)                   # uint8 [seconds, 3, height, width]: the picture at 0 s, 1 s, ...
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from msam_bench.data.media.opening import brief, has_stream, needed, present

_SLACK = 0.75
"""Seconds by which a video's last picture may come before the end that the file declares."""


def pictures(path: Path, rate: float = 1.0, limit: int | None = None) -> Tensor:
    """The first picture at or after each multiple of 1/rate seconds, until the video ends.

    Args:
        path: The video.
        rate: Pictures a second.
        limit: The most pictures to take; the rest of the video is then only looked through.

    Returns:
        uint8 `[pictures, 3, height, width]`, at least one picture.

    Raises:
        ValueError: No such file, a pointer to it, no picture in it, pictures that cannot be decoded, or a video that
            ends before it should.
    """
    present(path)
    av = needed("av")
    try:
        with av.open(str(path)) as container:
            taken = _taken(container, rate, limit, path) if container.streams.video else []
    except (av.FFmpegError, OSError) as error:
        raise ValueError(f"Expected a video in {path}, found: {brief(error, path)}; fetch the file again.") from None
    if not taken:
        raise ValueError(f"Expected at least one picture in {path}, found none: fetch it again or leave it out.")
    return torch.stack(taken)


def has_pictures(path: Path) -> bool:
    """Whether a clip has any pictures, as its head says.

    Raises:
        ValueError: No such file, a pointer to it, or one that cannot be opened.
    """
    return has_stream(path, "video")


def _taken(container: Any, rate: float, limit: int | None, path: Path) -> list[Tensor]:
    """The pictures; packets after the last one are only counted, which shows whether the video is whole."""
    stream = container.streams.video[0]
    taken: list[Tensor] = []
    times: list[float] = []
    for packet in container.demux(stream):
        if packet.pts is not None:
            times.append(float(packet.pts * stream.time_base))
        for frame in packet.decode() if len(taken) != limit else ():
            if len(taken) != limit and (frame.time - min(times)) * rate >= len(taken) - 1e-6:
                taken.append(_upright(torch.from_numpy(frame.to_ndarray(format="rgb24")).movedim(2, 0), frame.rotation))
    declared, seen = _seconds(container), max(times, default=0.0) - min(times, default=0.0)
    if taken and seen < declared - _SLACK:
        raise ValueError(
            f"Expected {declared:.1f} s of video in {path}, found pictures until {seen:.1f} s: "
            "the file is cut off, fetch it again."
        )
    return taken


def _upright(pixels: Tensor, degrees: int) -> Tensor:
    """A picture `[3, height, width]` turned counter-clockwise, as the camera was held."""
    return pixels.rot90(degrees // 90 % 4, (1, 2)).contiguous() if degrees % 360 else pixels


def _seconds(container: Any) -> float:
    """How long the video says it is; 0 if it does not."""
    stream = container.streams.video[0]
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return float(container.duration or 0) / 1e6

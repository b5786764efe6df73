"""Modalities that are files: sounds become log-mel pictures, pictures one size, videos a few pictures and a sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path

import torch
from torch import Tensor

from msam_bench.data.importing.column import Column, Gap
from msam_bench.data.importing.endings import KINDS, ending_of
from msam_bench.data.importing.numbers import is_missing
from msam_bench.data.importing.numeric import build_files
from msam_bench.data.importing.options import ImportOptions
from msam_bench.data.importing.sources import RawSamples
from msam_bench.data.importing.unclaimed import file_of
from msam_bench.data.media.audio import fitted, has_sound, resampled, sound
from msam_bench.data.media.images import deep_picture, depth_of, picture, sized
from msam_bench.data.media.spectrograms import filterbank
from msam_bench.data.media.video import has_pictures, pictures
from msam_bench.data.modality import Modality

RATE, BANDS = 16_000, 64
SECONDS, SIZE, PICTURES = 10.0, 64, 3
"""The most that is taken of a sound, of a picture's sides, and of a video, unless the user says otherwise."""

_MEASURED = 50
"""How many sounds are decoded to infer a length."""

_READ = ".wav, .flac, .mp3, ...; .png, .jpg, .tif, ...; .mp4, .avi, ...; .npy"

Paths = Sequence[Path | None]
"""The file of each sample; None where it has none."""


def build_from_files(raw: RawSamples, name: str, column: str, options: ImportOptions) -> list[Column]:
    """The modalities of a column of names of files, by their endings.

    Args:
        raw: The samples.
        name: Of the modality.
        column: Where the names stand.
        options: Size, length and kind.

    Raises:
        ValueError: A file that is missing, outside the folder, of a kind that is not read or unlike the others.
    """
    paths = _paths(raw, column)
    missing = {row: Gap(f"a file in column '{column}'", _shown(raw.cells[column][row])) for row in _none(paths)}
    kind = _kind_of(raw, column, paths)
    if kind == "arrays":
        columns = [build_files(name, paths, options.kinds.get(name), raw.places)]
    elif kind == "sounds":
        columns = [_build_sound(name, paths, options)]
    elif kind == "pictures":
        columns = [_build_pictures(raw, name, paths, options)]
    else:
        columns = _build_clips(name, paths, options)
    files = tuple(path for path in paths if path is not None)
    return [replace(each, absent={**each.absent, **missing}, files=files) for each in columns]


def _paths(raw: RawSamples, column: str) -> list[Path | None]:
    """The files of a column, all of them there and inside the folder of the table."""
    assert raw.folder is not None
    inside = raw.folder.resolve()
    paths: list[Path | None] = []
    for place, cell in zip(raw.places, raw.cells[column], strict=True):
        if is_missing(cell):
            paths.append(None)
            continue
        path = file_of(raw.folder, cell)
        if ending_of(cell) not in KINDS:
            raise ValueError(
                f"Expected a file in column '{column}' that is read ({_READ}), found '{cell}' in {place}: fill or "
                f"convert it, or leave the column out by --leave-out {column}."
            )
        if not path.resolve().is_relative_to(inside) or ":" in str(cell)[:2]:
            raise ValueError(f"Expected a file inside {raw.folder}, found '{cell}' in {place}: move it there.")
        if not path.is_file():
            raise ValueError(
                f"Expected the file {path}, which {place} names, found none: fetch it, drop the line, or leave the "
                f"column out by --leave-out {column}."
            )
        paths.append(path)
    return paths


def _kind_of(raw: RawSamples, column: str, paths: Paths) -> str:
    """What all files of a column are."""
    kinds = {KINDS[path.suffix.lower()]: row for row, path in reversed(list(enumerate(paths))) if path is not None}
    if len(kinds) > 1:
        (first, row), (second, other) = sorted(kinds.items(), key=lambda item: item[1])[:2]
        raise ValueError(
            f"Expected files of one kind in column '{column}', found {first} in {raw.places[row]} and {second} in "
            f"{raw.places[other]}: give each kind a column."
        )
    if not kinds:
        raise ValueError(f"Expected files in column '{column}', found none: leave it out by --leave-out {column}.")
    return next(iter(kinds))


def _shown(cell: object) -> str:
    return f"'{cell}'" if cell not in ("", None) else "''"


def _none(paths: Paths) -> list[int]:
    return [row for row, path in enumerate(paths) if path is None]


def _lacking(paths: Paths, has: Callable[[Path], bool], what: str) -> dict[int, Gap]:
    """The rows whose file is there but lacks something."""
    return {
        row: Gap(f"{what} in {path}", "none") for row, path in enumerate(paths) if path is not None and not has(path)
    }


def _build_sound(name: str, paths: Paths, options: ImportOptions, lacking: Mapping[int, Gap] | None = None) -> Column:
    absent = _lacking(paths, has_sound, "sound") if lacking is None else lacking
    here = [path for row, path in enumerate(paths) if path is not None and row not in absent]
    if not here:
        raise ValueError(
            f"Expected sound in a file of '{name}', found none in any: leave it out by --leave-out {name}."
        )
    seconds = options.seconds or min(SECONDS, max(_seconds(path) for path in here[:_MEASURED]))
    samples = ceil(seconds * RATE)

    def read(row: int) -> Tensor:
        path = paths[row]
        assert path is not None
        return filterbank(fitted(_signal(path), samples), RATE, BANDS)[None]

    description = f"log-mel pictures, {BANDS} bands, of {seconds:g} s of {here[0].suffix.lower()} at {RATE // 1000} kHz"
    spec = Modality("spectrogram", dtype="float16", standardise=True)
    recipe = {"picture": "log-mel", "bands": BANDS, "rate": RATE, "seconds": seconds}
    return Column(name, spec, read, description, "--seconds", recipe, absent)


def _signal(path: Path) -> Tensor:
    signal, rate = sound(path)
    if not len(signal):
        raise ValueError(f"Expected sound in {path}, found not a single sample: leave it out of the table.")
    return resampled(signal, rate, RATE)


def _seconds(path: Path) -> float:
    return max(0.1, round(len(_signal(path)) / RATE, 2))


def _build_pictures(raw: RawSamples, name: str, paths: Paths, options: ImportOptions) -> Column:
    here = {row: path for row, path in enumerate(paths) if path is not None}
    depths = {depth_of(path): row for row, path in here.items()}
    if "raw" in depths and len(depths) > 1:
        row, other = depths.pop("raw"), next(iter(depths.values()))
        raise ValueError(
            f"Expected pictures of one depth in '{name}', found 32 bits in {raw.places[row]} and fewer in "
            f"{raw.places[other]}: convert them."
        )
    first = next(iter(here.values()))
    size = options.size or min(SIZE, max(picture(first).shape[1:] if depths.keys() == {"8"} else _deep_shape(first)))
    endings = "/".join(dict.fromkeys(path.suffix.lower() for path in here.values()))
    deep = depths.keys() != {"8"}

    def read(row: int) -> Tensor:
        path = paths[row]
        assert path is not None
        return sized(deep_picture(path) if deep else picture(path), size)

    spec = Modality("image", dtype="float32" if deep else "uint8", standardise=True)
    bits = " of more than 8 bits" if deep else ""
    recipe = {"size": size, "alpha": "over white", **({"depth": "float32"} if deep else {})}
    return Column(name, spec, read, f"pictures of {size} x {size} from {endings}{bits}", "--size", recipe)


def _deep_shape(path: Path) -> tuple[int, ...]:
    return tuple(deep_picture(path).shape[1:])


def _build_clips(name: str, paths: Paths, options: ImportOptions) -> list[Column]:
    """Pictures and sound of videos, of which some may lack either."""
    blind = _lacking(paths, has_pictures, "pictures")
    mute = _lacking(paths, has_sound, "sound")
    count = sum(path is not None for path in paths)
    if len(blind) == len(mute) == count:
        raise ValueError(f"Expected pictures or sound in the files of '{name}', found neither: fetch them again.")
    frames = [] if len(blind) == count else [_build_frames(name, paths, options, blind)]
    return frames if len(mute) == count else [*frames, _build_sound(f"{name}-sound", paths, options, mute)]


def _build_frames(name: str, paths: Paths, options: ImportOptions, blind: Mapping[int, Gap]) -> Column:
    first = next(path for row, path in enumerate(paths) if path is not None and row not in blind)
    size = options.size or min(SIZE, max(pictures(first, limit=1).shape[2:]))

    def read(row: int) -> Tensor:
        path = paths[row]
        assert path is not None
        taken = pictures(path, limit=PICTURES)
        taken = torch.cat([taken, *[taken[-1:]] * (PICTURES - len(taken))])
        return torch.stack([sized(each, size) for each in taken])

    description = f"the first {PICTURES} pictures, one a second, of {size} x {size} from {first.suffix.lower()}"
    spec = Modality("frames", dtype="uint8", standardise=True)
    return Column(name, spec, read, description, "--size", {"size": size, "pictures": PICTURES}, blind)

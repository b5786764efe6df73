"""CREMA-D: actors say twelve sentences in six emotions; seen and heard.

Expects the folder of the official repository:

    AudioWAV/1001_IEO_NEU_XX.wav      16 kHz; actor, sentence, emotion, level
    VideoFlash/1001_IEO_NEU_XX.flv    or Image-01-FPS/1001_IEO_NEU_XX/*.jpg, one picture a second
    train.csv, test.csv               optional: the lists of OGM-GE, lines of name,emotion

The label is the emotion that was acted, from the name. The lists that everybody uses have all 91 actors on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.data.modality import Modality
from msam_bench.data.sets.cremad.splits import EMOTIONS, actor, clips, drawn, emotion, listed, with_validation
from msam_bench.data.sets.official import Official, Preparation

if TYPE_CHECKING:
    from torch import Tensor

    from msam_bench.data.store.building import Sample

RATE = 16_000
SIZE = 224


@dataclass(frozen=True)
class CremaD(Official):
    """Pictures of the face and pictures of the voice, as OGM-GE or MMPareto make them."""

    def preparation(self, source: Path, recipe: str, split: str) -> Preparation:
        """See `Official.preparation`; hears every clip, to name those that are silent."""
        names = clips(source / "AudioWAV")
        lists = listed(source) if split == "paper" else None
        chosen = drawn(names, split) if lists is None else with_validation(lists, names)
        _check_complete(source, [name for part in chosen.values() for name in part])
        silent = [name for name in sorted(set().union(*chosen.values())) if _silent(source, name)]
        plan = {part: [_sample(name) for name in members] for part, members in chosen.items()}
        says = "paper, lists found" if lists else f"{split}, drawn by name"
        group = "actor" if split == "actor-disjoint" else None
        header = self.header(_looks(recipe), recipe, says, group=group, silent=silent)
        return Preparation(header, plan, lambda name: READERS[recipe](source, name))


def _sample(name: str) -> Sample:
    from msam_bench.data.store.building import Sample

    return Sample(name, name, EMOTIONS.index(emotion(name)), actor(name))


# ---- what is there ---------------------------------------------------------------------------------------------------


def _check_complete(source: Path, names: Sequence[str]) -> None:
    """Every clip is to be seen."""
    missing = [name for name in names if not _video(source, name).is_file() and not _stills(source, name)]
    if missing:
        raise ValueError(
            f"Expected {_video(source, missing[0])}, found neither it nor pictures in {_folder(source, missing[0])} "
            f"({len(missing):,} clips of {len(names):,} are not to be seen): fetch them, or move their wav away."
        )


def _silent(source: Path, name: str) -> bool:
    """Whether nothing is to be heard in a clip: it has no sample, or only zeros."""
    return not bool(_voice(source, name).any())


def _voice(source: Path, name: str) -> Tensor:
    from msam_bench.data.media.audio import sound

    path = source / "AudioWAV" / f"{name}.wav"
    signal, rate = sound(path)
    if rate != RATE:
        raise ValueError(f"Expected {RATE:,} samples a second in {path}, found {rate:,}: fetch the original file.")
    return signal


def _video(source: Path, name: str) -> Path:
    return source / "VideoFlash" / f"{name}.flv"


def _folder(source: Path, name: str) -> Path:
    return source / "Image-01-FPS" / name


def _stills(source: Path, name: str) -> list[Path]:
    return sorted(_folder(source, name).glob("*.jpg"))


# ---- how a clip becomes tensors --------------------------------------------------------------------------------------


def _looks(recipe: str) -> dict[str, Modality]:
    from msam_bench.data.media.images import imagenet_scale

    scale, shift = imagenet_scale()
    seen = Modality("image" if recipe == "ogm-1fps" else "frames", (), "uint8", scale, shift, encoder="resnet18")
    standardise = recipe == "fbank-3f"
    heard = Modality("spectrogram", dtype="float16", standardise=standardise, encoder="resnet18")
    return {"audio": heard, "video": seen}


def _ogm(source: Path, name: str) -> dict[str, Tensor]:
    """Three seconds of the clip said again and again, at 22,050 Hz; the first picture."""
    from msam_bench.data.media import audio, spectrograms

    signal = audio.resampled(_voice(source, name), RATE, 22_050)
    repeated = signal.repeat(-(-3 * 22_050 // len(signal))) if len(signal) else signal
    wave = audio.fitted(repeated, 3 * 22_050).clamp(-1, 1)
    return {"audio": spectrograms.log_magnitude(wave)[None], "video": _pictures(source, name, 1)[0]}


def _fbank(source: Path, name: str) -> dict[str, Tensor]:
    """The first three seconds, silence after the clip; three pictures evenly spaced among those at one a second."""
    import torch

    from msam_bench.data.media import audio, spectrograms

    wave = audio.fitted(_voice(source, name), 3 * RATE)
    pictures = _pictures(source, name, None)
    chosen = torch.linspace(0, len(pictures) - 1, 3).round().long()
    return {"audio": spectrograms.filterbank(wave)[None], "video": pictures[chosen]}


def _pictures(source: Path, name: str, limit: int | None) -> Tensor:
    """Pictures at one a second, `[pictures, 3, 224, 224]`."""
    import torch

    from msam_bench.data.media import images, video

    path = _video(source, name)
    if path.is_file():
        frames = list(video.pictures(path, 1.0, limit))
    else:
        frames = [images.picture(still) for still in _stills(source, name)[:limit]]
    return torch.stack([images.sized(picture, SIZE) for picture in frames])


READERS: Mapping[str, Callable[[Path, str], dict[str, Tensor]]] = {"ogm-1fps": _ogm, "fbank-3f": _fbank}

CREMA_D = CremaD(
    name="cremad",
    summary="Actors say twelve sentences in six emotions: pictures of the face and of the voice.",
    modalities=("audio", "video"),
    classes=EMOTIONS,
    licence="ODbL 1.0 (database), DbCL 1.0 (contents)",
    citation="Cao, H., et al. (2014). CREMA-D. IEEE Trans. Affective Computing. doi:10.1109/TAFFC.2014.2336244",
    origin="7,442 clips of 91 actors, CheyneyComputerScience/CREMA-D",
    where="github.com/CheyneyComputerScience/CREMA-D, cloned with git lfs (AudioWAV and VideoFlash, 3 GB).",
    recipes={
        "ogm-1fps": "OGM-GE: log-magnitude spectrogram [1, 257, 188] of 3 s, and the first picture at 224 x 224",
        "fbank-3f": "MMPareto: Kaldi log-mel energies [1, 128, 298] of 3 s, and three pictures at 224 x 224",
    },
    protocols={
        "paper": "train.csv and test.csv of OGM-GE if there, else as many drawn by name; actors are on all sides",
        "actor-disjoint": "a fifth of the actors test and a tenth validate; no actor is in two splits",
    },
    expected={"train": 6028, "valid": 670, "test": 744},
)

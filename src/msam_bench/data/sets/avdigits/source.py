"""av-digits: handwritten digits with most of their energy removed, and spoken digits in environmental noise.

The open counterpart of AV-MNIST, built here from public parts, or read from an array file that was built before:

    mnist/     train-images-idx3-ubyte and the other three (.gz or not), or train/7/123.png, test/7/60123.png
    fsdd/      7_jackson_32.wav: digit, speaker, number (Free Spoken Digit Dataset)
    esc/       1-100032-A.ogg or 1-100032-A-0.wav: fold first (ESC-10 or ESC-50, of which the ten classes are used)

    av-digits.npz      all of it, ready

An image is its mean plus its first few principal components; how many is the recipe. Which spoken digit goes with which
image is drawn by a fixed seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.data.modality import Modality
from msam_bench.data.sets.official import Official, Preparation

if TYPE_CHECKING:
    from torch import Tensor

    from msam_bench.data.sets.avdigits.parts import Digits

FILE = "av-digits.npz"
COMPONENTS = {"k4": 4, "k3": 3, "k5": 5}
SIZES = {
    "full": {"train": 55_000, "valid": 5_000, "test": 10_000},
    "20k": {"train": 20_000, "valid": 2_000, "test": 5_000},
    "5k": {"train": 5_000, "valid": 1_000, "test": 5_000},
}


@dataclass(frozen=True)
class AVDigits(Official):
    """Images `[1, 28, 28]` of a few principal components, log-mel spectrograms `[1, 32, 32]`."""

    def preparation(self, source: Path, recipe: str, split: str) -> Preparation:
        """See `Official.preparation`."""
        from msam_bench.data.sets.avdigits.parts import built
        from msam_bench.data.sets.avdigits.ready import ready
        from msam_bench.data.store.building import Sample

        digits = ready(source / FILE) if (source / FILE).is_file() else built(source)
        chosen = {part: labels[: SIZES[split][part]] for part, labels in digits.labels.items()}
        plan = {
            part: [Sample(f"{part}-{row}", (part, row), label) for row, label in enumerate(labels)]
            for part, labels in chosen.items()
        }
        specs = {
            "image": Modality("image", dtype="uint8", scale=1 / 255),
            "audio": Modality("spectrogram", dtype="uint8", scale=1 / 63),
        }
        header = self.header(specs, recipe, split, parts=digits.parts)
        return Preparation(header, plan, lambda item: _read(digits, COMPONENTS[recipe], *item))


def _read(digits: Digits, components: int, part: str, row: int) -> dict[str, Tensor]:
    return {"image": digits.image(part, row, components), "audio": digits.audio(part, row)}


AV_DIGITS = AVDigits(
    name="av-digits",
    summary="Handwritten digits with most of their energy removed, and spoken digits in environmental noise.",
    modalities=("image", "audio"),
    classes=tuple("0123456789"),
    licence="CC BY-SA 4.0 (images CC BY-SA 3.0, noise CC0 and CC BY 3.0)",
    citation="MNIST (LeCun et al.); Free Spoken Digit Dataset (Jackson); ESC, Piczak 2015, doi:10.1145/2733373.2806390",
    origin="MNIST, Free Spoken Digit Dataset and ESC-10, mixed by msam",
    where="MNIST in mnist/, github.com/Jakobovski/free-spoken-digit-dataset in fsdd/, karolpiczak/ESC-50 in esc/.",
    recipes={
        "k4": "images of four principal components, 28 % of their energy",
        "k3": "images of three, 23 %",
        "k5": "images of five, 33 %",
    },
    protocols={
        "full": "MNIST in its order: 55,000 train, 5,000 validate, 10,000 test; no recording or noise is in two splits",
        "20k": "the first 20,000, 2,000 and 5,000 of these",
        "5k": "the first 5,000, 1,000 and 5,000 of these",
    },
    expected=SIZES["full"],
)

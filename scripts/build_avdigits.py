"""Builds the embedded data set `av-digits-small`: some of av-digits, ready to use.

python scripts/build_avdigits.py --sources DIR        # from av-digits.npz and its credits in DIR
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping

import numpy as np
from embedding import Arrays, Pinned, Recipe, main

SOURCE = Pinned(
    "av-digits.npz",
    "db7b8eb1d1b19f82074d6ccccee7345a4d837a396f0adcee8ee983daa0b0b364",
    "the makers of msam",
)
CREDITS = Pinned(
    "ESC-10-CREDITS.md",
    "e611154bcd5f0c002f6f9186061355cffb15b6bfcbf8f8130e80c618d9fe6733",
    "the makers of msam",
)
SIZES = {"train": 4000, "valid": 800, "test": 2000}
COMPONENTS = 4
VERSIONS = {"train": (4, 1), "valid": (4, 1), "test": (8, 2)}
"""Noisy versions of each recording: how many there are, and how many are kept."""


def arrays(contents: Mapping[str, bytes]) -> Arrays:
    """Scores on four axes, spectrograms and pairs of the first images of each split."""
    with np.load(io.BytesIO(contents[SOURCE.file]), allow_pickle=False) as full:
        stored: Arrays = {"mean": full["image_mean"], "axes": full["image_axes"][:COMPONENTS]}
        for part, size in SIZES.items():
            chosen, pairs = bank(full[f"{part}_pair"][:size], *VERSIONS[part])
            stored |= {
                f"{part}_scores": full[f"{part}_image"][:size, :COMPONENTS],
                f"{part}_audio": full[f"{part}_audio"][chosen],
                f"{part}_pair": pairs,
                f"{part}_digit": full[f"{part}_label"][:size],
                f"{part}_recording": full[f"{part}_recording"][chosen],
                f"{part}_noise": full[f"{part}_noise"][chosen],
            }
    return stored


def bank(pairs: np.ndarray, versions: int, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """The spectrograms that are kept, by number, and which of them goes with each image.

    Spectrogram `recording * versions + version` of the source is replaced by version `version % kept`.
    """
    recordings, version = np.divmod(pairs.astype(np.int64), versions)
    chosen, places = np.unique(recordings * versions + version % kept, return_inverse=True)
    return chosen, places.astype(np.uint16)


def facts(contents: Mapping[str, bytes], built: Arrays) -> Mapping[str, object]:
    """What the card says about the arrays: the credits of the noise clips."""
    return {"credits": contents[CREDITS.file].decode().strip()}


def meaning() -> dict[str, str]:
    """One line for each tensor."""
    lines = {"mean": "mean of MNIST's training images", "axes": "their first four principal axes"}
    for part in SIZES:
        lines |= {
            f"{part}_scores": "an image's scores on the axes",
            f"{part}_audio": "log-mel spectrograms, mel band x time, 0 to 63 for a range of 60 dB",
            f"{part}_pair": "which spectrogram goes with the image",
            f"{part}_digit": "the digit",
            f"{part}_recording": "the recording behind a spectrogram, by its place in the sorted names of all 3,000",
            f"{part}_noise": "the clip of noise behind a spectrogram",
        }
    return lines


RECIPE = Recipe(
    "av-digits-small",
    (SOURCE, CREDITS),
    arrays,
    meaning(),
    """\
# av-digits-small

Handwritten digits with most of their energy removed, paired with spoken digits in environmental noise: 4,000 pairs to
train on, 800 to validate and 2,000 to test, of the 70,000 of av-digits. Written by `scripts/build_avdigits.py`; do not
edit.

{table}

sha256 of `av-digits-small.safetensors`: `{sha256}`

## Provenance

The first images of each split of av-digits, as one array file; `msam data prepare av-digits` builds all of it from its
public parts:

{sources}

| part | from | licence |
| --- | --- | --- |
| images | MNIST (LeCun, Cortes, Burges), from github.com/rasbt/mnist-pngs at d26bd33 | CC BY-SA 3.0 |
| speech | github.com/Jakobovski/free-spoken-digit-dataset at 26eb9aa | CC BY-SA 4.0 |
| noise | github.com/karolpiczak/ESC-10 at 28519a0, without two clips of another licence | CC0, CC BY 3.0 |

Changes to av-digits: four principal components instead of twenty; one noisy version of each recording (two to test on)
instead of four (eight). Pairs keep their recording.

## What to know

- An image is `mean + scores @ axes`, cut to 0 to 255 and rounded: 28 % of the energy of MNIST's images.
- Train, validation and test have different recordings and different noises; the speakers are the same in all.
- It is not AV-MNIST: never put its numbers beside those of AV-MNIST.

## Licence and citation

The file is an adaptation that is passed on under the Creative Commons Attribution-ShareAlike 4.0 International licence
(CC BY-SA 4.0, https://creativecommons.org/licenses/by-sa/4.0/). The licences of the parts are those that their
repositories state.

- LeCun, Y., Bottou, L., Bengio, Y., Haffner, P. (1998). Gradient-based learning applied to document recognition.
  Proceedings of the IEEE 86(11), 2278-2324.
- Jackson, Z., et al. Free Spoken Digit Dataset.
- Piczak, K. J. (2015). ESC: dataset for environmental sound classification. doi:10.1145/2733373.2806390

## Authors of the clips of noise

{credits}
""",
    facts,
)

if __name__ == "__main__":
    sys.exit(main(RECIPE))

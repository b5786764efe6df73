"""Builds the embedded data set `omniglot`: handwritten characters as pictures and as the path of the pen.

python scripts/build_omniglot.py --sources DIR            # from the four zip files in DIR
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Mapping
from itertools import groupby

import numpy as np
from embedding import Arrays, Pinned, Recipe, main
from PIL import Image

WHERE = "github.com/brendenlake/omniglot at commit 057f034b, folder python"
SOURCES = tuple(
    Pinned(file, sha256, WHERE)
    for file, sha256 in (
        ("images_background_small1.zip", "f38eb80f801274ac2b4dff5b24289016bfaba4a7d5bb50deebf27104ad6cb8a4"),
        ("images_background_small2.zip", "3ccaa407515a8778e5d0861875af38b17e418f301ad5bb3b5a6b65d901a41c7f"),
        ("strokes_background_small1.zip", "8cb3960fb6cf4ccf5f064ad83169f828c36c36782a0f6e7faacb7ecfae4468a2"),
        ("strokes_background_small2.zip", "345bf2141efbea062833dbb2828abbc23d9e07825e46f2afdd4daecddfed6e78"),
    )
)
SIDE, SMALL = 105, 28
POINTS = 40
ALPHABETS = ("Balinese", "Early_Aramaic", "Greek", "Japanese_(katakana)", "Korean", "Latin", "Sanskrit", "Tagalog")
Stroke = list[tuple[float, float]]


def arrays(contents: Mapping[str, bytes]) -> Arrays:
    """Pictures `[4840, 392]`, paths `[4840, 40, 2]` and where strokes begin, character, alphabet and drawer."""
    pictures = members([contents[source.file] for source in SOURCES[:2]], ".png")
    paths = members([contents[source.file] for source in SOURCES[2:]], ".txt")
    assert pictures.keys() == paths.keys(), "a picture without a path, or a path without a picture"
    names = sorted(pictures)
    characters = sorted({name[:2] for name in names})
    points, begins = zip(*(path(strokes(paths[name].decode())) for name in names), strict=True)
    return {
        "picture": np.stack([packed(grey(pictures[name])) for name in names]),
        "path": np.stack(points),
        "begins": np.stack(begins),
        "character": np.array([characters.index(name[:2]) for name in names], dtype=np.uint8),
        "alphabet": np.array([ALPHABETS.index(name[0]) for name in names], dtype=np.uint8),
        "drawer": np.array([name[2] for name in names], dtype=np.uint8),
    }


def members(archives: list[bytes], suffix: str) -> dict[tuple[str, str, int], bytes]:
    """(alphabet, character, drawer) -> content; alphabets that are in two archives are the same there."""
    content: dict[tuple[str, str, int], bytes] = {}
    for archive in archives:
        with zipfile.ZipFile(io.BytesIO(archive)) as files:
            for name in sorted(files.namelist()):
                if not name.endswith(suffix) or name.startswith("__MACOSX"):
                    continue
                _, alphabet, character, file = name.split("/")
                key = alphabet, character, int(file[-6:-4])
                assert content.setdefault(key, files.read(name)) == files.read(name), f"two contents of {key}"
    return content


def grey(content: bytes) -> np.ndarray:
    """A picture of 105 x 105 bits as 28 x 28 shares of ink from 0 to 15, in whole numbers.

    A pixel of the small picture is 15/4 pixels wide: quarters of pixels are counted, 225 to each.
    """
    with Image.open(io.BytesIO(content)) as image:
        ink = 1 - np.asarray(image.convert("1"), dtype=np.int64)
    assert ink.shape == (SIDE, SIDE)
    quarters = np.repeat(np.repeat(ink, 4, axis=0), 4, axis=1)
    counts = quarters.reshape(SMALL, 15, SMALL, 15).sum((1, 3))
    return ((counts * 15 + 112) // 225).astype(np.uint8)


def packed(picture: np.ndarray) -> np.ndarray:
    """Two values of four bits in each byte, the first in the upper half."""
    pairs = picture.reshape(-1, 2)
    return (pairs[:, 0] << 4 | pairs[:, 1]).astype(np.uint8)


def strokes(text: str) -> list[Stroke]:
    """The points of each stroke of a drawing, in pixels; lines are x, y, time, and BREAK between strokes."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and line.strip() != "START"]
    runs = [list(run) for breaks, run in groupby(lines, key="BREAK".__eq__) if not breaks]
    return [[tuple(map(float, line.split(",")[:2])) for line in run] for run in runs]  # type: ignore[misc]


def path(drawn: list[Stroke]) -> tuple[np.ndarray, np.ndarray]:
    """Forty points in half pixels, uint8 `[40, 2]`, evenly along each stroke, and 1 where a stroke begins `[40]`."""
    lines = [np.array(stroke) for stroke in drawn]
    shares = shared([length(line) for line in lines])
    points = np.concatenate([along(line, count) for line, count in zip(lines, shares, strict=True)])
    begins = np.concatenate([[1] + [0] * (count - 1) for count in shares])
    points[:, 1] *= -1
    return np.rint(points.clip(0, SIDE) * 2).astype(np.uint8), begins.astype(np.uint8)


def length(line: np.ndarray) -> float:
    """The length of a stroke in pixels."""
    return float(steps(line).sum())


def steps(line: np.ndarray) -> np.ndarray:
    """The distances between successive points."""
    moved = np.diff(line, axis=0)
    distances: np.ndarray = np.sqrt(moved[:, 0] * moved[:, 0] + moved[:, 1] * moved[:, 1])
    return distances


def shared(lengths: list[float]) -> list[int]:
    """How many of the points each stroke gets: one at least, the others in proportion, largest remainders first."""
    spare, total = POINTS - len(lengths), sum(lengths) or 1.0
    assert spare >= 0, f"{len(lengths)} strokes"
    exact = [spare * each / total for each in lengths]
    counts = [int(each) for each in exact]
    left = spare - sum(counts)
    by_remainder = sorted(range(len(lengths)), key=lambda place: (counts[place] - exact[place], place))
    for place in (by_remainder * POINTS)[:left]:
        counts[place] += 1
    return [1 + count for count in counts]


def along(line: np.ndarray, count: int) -> np.ndarray:
    """So many points at equal distances along a stroke, its first and last among them if there are two or more."""
    places = np.concatenate([[0.0], np.cumsum(steps(line))])
    wanted = np.arange(count) * places[-1] / max(1, count - 1)
    return np.stack([np.interp(wanted, places, line[:, axis]) for axis in (0, 1)], axis=1)


RECIPE = Recipe(
    "omniglot",
    SOURCES,
    arrays,
    {
        "picture": "28 x 28 shares of ink from 0 to 15, two in a byte, the first in the upper half",
        "path": "forty points of the pen, x to the right and y down, in half pixels of the picture of 105 x 105",
        "begins": "1 for the first point of a stroke, else 0",
        "character": "the character, 0 to 241, by alphabet and number",
        "alphabet": "0 Balinese, 1 Early Aramaic, 2 Greek, 3 Katakana, 4 Korean, 5 Latin, 6 Sanskrit, 7 Tagalog",
        "drawer": "who drew it, 1 to 20, numbered within each alphabet",
    },
    """\
# omniglot

Handwritten characters of eight alphabets, each as a picture and as the path of the pen that drew it: 242 characters by
20 people, 4,840 drawings. Written by `scripts/build_omniglot.py`; do not edit.

{table}

sha256 of `omniglot.safetensors`: `{sha256}`

## Provenance

Omniglot's two small background sets, from github.com/brendenlake/omniglot at commit 057f034b (folder `python`); Greek
and Latin are the same in both:

{sources}

Changes: pictures of 105 x 105 bits reduced to 28 x 28 shares of ink in sixteenths; paths resampled to forty points,
evenly along each stroke, every stroke with one point at least, in half pixels. Times are left out: they vary with the
browser that recorded them.

## What to know

- Picture and path are two recordings of one act, so that they share most of what they tell; the path also has the order
  of the strokes, which the picture has not.
- Drawers are numbered within an alphabet: drawer 3 of Greek need not be drawer 3 of Latin. The split keeps a number on
  one side in all alphabets; whether anybody drew more than one alphabet is not said.

## Licence and citation

- Lake, B. M., Salakhutdinov, R., Tenenbaum, J. B. (2015). Human-level concept learning through probabilistic program
  induction. Science 350(6266), 1332-1338. doi:10.1126/science.aab3050

The repository carries this notice, which was read there:

```text
The MIT License (MIT)

Copyright (c) 2015 Brenden Lake

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
```
""",
)

if __name__ == "__main__":
    sys.exit(main(RECIPE))

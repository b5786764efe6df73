"""Builds the embedded data set `leaves`: margin, shape and texture of leaves of one hundred plant species.

python scripts/build_leaves.py --sources DIR            # from 100leaves.mat in DIR
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping

import numpy as np
from embedding import Arrays, Pinned, Recipe, main
from scipy.io import loadmat

SOURCE = Pinned(
    "100leaves.mat",
    "1e17b3c4c08d993dded8ca3aeb05929e8bafbd3fb9a76fb00ccd93c18e37609e",
    "github.com/hulu88/FAMvC at commit 972f42a5",
)
VIEWS = ("margin", "shape", "texture")
UNIT = 1024
"""Histograms are counts over this many places, printed with six decimals."""


def arrays(contents: Mapping[str, bytes]) -> Arrays:
    """Three views `[1599, 64]` and the species `[1599]` from 0 to 99, without the row whose texture is not its own."""
    content = loadmat(io.BytesIO(contents[SOURCE.file]))
    views = dict(zip(VIEWS, content["X"].ravel(), strict=True))
    species = content["Y"].ravel().astype(np.uint8) - 1
    # The first leaf has no texture at its source; here it has the mean of the other fifteen leaves of its species.
    assert np.abs(views["texture"][0] - views["texture"][1:16].mean(0)).max() < 1e-15
    kept = {name: view[1:] for name, view in views.items()}
    shape = kept["shape"].astype(np.float32)
    assert np.abs(shape / kept["shape"] - 1).max() < 2.0**-23
    return {
        "margin": counts(kept["margin"]),
        "shape": shape,
        "texture": counts(kept["texture"]),
        "species": species[1:],
    }


def counts(histograms: np.ndarray) -> np.ndarray:
    """Shares as counts of 1024; the six printed decimals come back from them within one in the last place."""
    stored = np.rint(histograms * UNIT)
    assert np.abs(stored / UNIT - histograms).max() < 1e-5
    return stored.astype(np.int16)


RECIPE = Recipe(
    "leaves",
    (SOURCE,),
    arrays,
    {
        "margin": "histogram of the fine detail of the leaf's edge, in 1024ths",
        "shape": "distances of the contour from its centre, a contiguous descriptor",
        "texture": "histogram of the leaf's texture, in 1024ths",
        "species": "the species, 0 to 99, in the order of the source",
    },
    """\
# leaves

Leaves of one hundred plant species by margin, shape and texture: 16 leaves a species, 1,599 in all.
Written by `scripts/build_leaves.py`; do not edit.

{table}

sha256 of `leaves.safetensors`: `{sha256}`

## Provenance

The UCI data set "One-hundred plant species leaves" (number 241), as `100leaves.mat` in github.com/hulu88/FAMvC at
commit 972f42a5 (three matrices [1600, 64] and a label from 1 to 100):

{sources}

Changes: histograms as whole counts of 1024 (the source prints six decimals, which come back within one in the last
place), shapes in float32 (within one part in 2^23), labels from 0. The first row is left out, see below.

## What to know

- UCI has 1,599 rows of texture for 1,600 leaves. The matrix above has a 1,600th: the texture of its first leaf is the
  mean of the other fifteen leaves of its species, to the last bit. That leaf is left out here; species 0 has 15 leaves.
- No two rows are equal in any view. The source does not name the species.
- Each view alone tells little and all three together much: they complement one another.

## Licence and citation

Data: Creative Commons Attribution 4.0 International (CC BY 4.0, https://creativecommons.org/licenses/by/4.0/), as
catalogues of UCI's data sets state it; the page of the data set itself was not read when this file was built.

- Mallah, C., Cope, J., Orwell, J. (2013). Plant leaf classification using probabilistic integration of shape, texture
  and margin features. Signal Processing, Pattern Recognition and Applications.
- Cope, J., Mallah, C., Orwell, J. One-hundred plant species leaves [Dataset]. UCI Machine Learning Repository, 241.
  Leaves collected in the Royal Botanic Gardens, Kew.
""",
)

if __name__ == "__main__":
    sys.exit(main(RECIPE))

"""Builds the embedded data set `icons`: drawings of things and the words that describe them.

npm pack @tabler/icons@3.51.0
python scripts/build_icons.py --sources DIR            # from tabler-icons-3.51.0.tgz in DIR
"""

from __future__ import annotations

import io
import json
import re
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import vl_convert
from embedding import Arrays, Pinned, Recipe, main
from PIL import Image

SOURCE = Pinned(
    "tabler-icons-3.51.0.tgz",
    "b30108713d3fa60aee862c2a133225da8e0f309be0708fe2925763ff810c766c",
    "the npm registry: npm pack @tabler/icons@3.51.0",
)
LEAST = 60
"""Categories with fewer icons are left out."""

LEFT_OUT = ("System", "Brand")
"""Categories that are no kind of thing: what does not fit elsewhere, and names of companies."""

SIDE, WORDS = 24, 20
BASES = 8
"""A last word is a variant's mark (off, plus, 2, ...) if it follows the names of so many icons."""


def arrays(contents: Mapping[str, bytes]) -> Arrays:
    """Pictures `[3507, 288]`, words `[3507, 20]`, the category and the stem of the name, and the vocabulary as text."""
    icons, nodes = read(contents)
    kept, categories = selected(icons)
    stems = [stem(name, set(icons), marks(icons)) for name in kept]
    known = sorted(set(stems))
    texts = [words(icons[name]["tags"]) for name in kept]
    vocabulary = sorted({word for text in texts for word in text})
    numbers = {word: 1 + place for place, word in enumerate(vocabulary)}
    return {
        "picture": np.stack([packed(drawn(nodes[name])) for name in kept]),
        "text": np.array([[numbers[word] for word in text] + [0] * (WORDS - len(text)) for text in texts], np.int16),
        "category": np.array([categories.index(icons[name]["category"]) for name in kept], dtype=np.uint8),
        "stem": np.array([known.index(each) for each in stems], dtype=np.int16),
        "vocabulary": np.frombuffer("\n".join(vocabulary).encode(), dtype=np.uint8),
    }


def read(contents: Mapping[str, bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the package says of each icon, and the shapes it is drawn with."""
    with tarfile.open(fileobj=io.BytesIO(contents[SOURCE.file])) as package:
        members = (package.extractfile(f"package/{name}") for name in ("icons.json", "tabler-nodes-outline.json"))
        icons, nodes = (json.load(member) for member in members if member)
    return icons, nodes


def selected(icons: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The names of the icons that are kept, and of their categories, both sorted."""
    counts = Counter(icon["category"] for icon in icons.values())
    categories = sorted(name for name, count in counts.items() if count >= LEAST and name not in LEFT_OUT)
    return sorted(name for name, icon in icons.items() if icon["category"] in categories), categories


def marks(icons: Mapping[str, Any]) -> set[str]:
    """The last words that make a variant of an icon."""
    counts = Counter(name.rpartition("-")[2] for name in icons if name.rpartition("-")[0] in icons)
    return {word for word, count in counts.items() if count >= BASES}


def stem(name: str, names: set[str], variant: set[str]) -> str:
    """The name of the icon that this one is a variant of; its own if of none."""
    base, _, last = name.rpartition("-")
    return stem(base, names, variant) if base in names and last in variant else name


def words(tags: list[Any]) -> list[str]:
    """The different words of some tags, in their order."""
    return list(dict.fromkeys(word for tag in tags if tag for word in re.findall("[a-z0-9]+", str(tag).lower())))


def drawn(node: list[Any]) -> np.ndarray:
    """An icon as 24 x 24 shares of ink from 0 to 15: strokes two units wide with round ends, as Tabler draws them."""
    style = 'fill="none" stroke="black" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{SIDE}" height="{SIDE}" viewBox="0 0 24 24" {style}>'
    content = vl_convert.svg_to_png(svg + "".join(elements(node)) + "</svg>", scale=1.0, ppi=72.0)
    with Image.open(io.BytesIO(content)) as image:
        alpha = np.asarray(image.convert("RGBA"), dtype=np.int64)[:, :, 3]
    assert alpha.shape == (SIDE, SIDE)
    return ((alpha * 15 + 127) // 255).astype(np.uint8)


def elements(node: list[Any]) -> Iterator[str]:
    """The shapes of an icon as elements of SVG."""
    for tag, attributes in node:
        yield f"<{tag} {' '.join(f'{key}={chr(34)}{value}{chr(34)}' for key, value in attributes.items())}/>"


def packed(picture: np.ndarray) -> np.ndarray:
    """Two values of four bits in each byte, the first in the upper half."""
    pairs = picture.reshape(-1, 2)
    return (pairs[:, 0] << 4 | pairs[:, 1]).astype(np.uint8)


def facts(contents: Mapping[str, bytes], built: Arrays) -> Mapping[str, object]:
    """What the card says about the arrays."""
    with tarfile.open(fileobj=io.BytesIO(contents[SOURCE.file])) as package:
        member = package.extractfile("package/LICENSE")
        notice = member.read().decode().strip() if member else ""
    icons, _ = read(contents)
    _, categories = selected(icons)
    counts = np.bincount(built["category"])
    listed = ", ".join(f"{name} {count}" for name, count in zip(categories, counts, strict=True))
    return {"notice": notice, "listed": listed, "stems": len(set(built["stem"].tolist()))}


RECIPE = Recipe(
    "icons",
    (SOURCE,),
    arrays,
    {
        "picture": "24 x 24 shares of ink from 0 to 15, two in a byte, the first in the upper half",
        "text": "the words of its tags, as numbers of lines of the vocabulary from 1; 0 is padding",
        "category": "the category, 0 to 20, in the order of their names",
        "stem": "which icons are variants of one another",
        "vocabulary": "the words, one a line, in UTF-8",
    },
    """\
# icons

Icons of the Tabler set as drawings and by the words that describe them: 3,507 icons of 21 categories.
Written by `scripts/build_icons.py`; do not edit.

{table}

sha256 of `icons.safetensors`: `{sha256}`

## Provenance

The npm package `@tabler/icons` 3.51.0:

{sources}

Changes: outlines drawn at 24 x 24 in sixteenths; tags as numbers of words, in their order, each word once (at most 20
are there); categories of fewer than 60 icons, System (what fits nowhere else) and Brand left out.

## What to know

- Categories: {listed}.
- Many icons are variants of one another (`abacus` and `abacus-off`), with nearly the same picture and words. The stem
  of a name is the name without its last words, as long as what is left is an icon, too, and the word makes variants of
  eight icons or more. All icons of a stem ({stems} there are) are on one side of the split.
- The vocabulary is that of all icons, tags are the package's own: some name the category outright. The words tell more
  than the picture, by far.

## Licence and citation

Tabler Icons, by Paweł Kuna and contributors, https://tabler.io/icons. The package carries this notice:

```text
{notice}
```
""",
    facts,
)

if __name__ == "__main__":
    sys.exit(main(RECIPE))

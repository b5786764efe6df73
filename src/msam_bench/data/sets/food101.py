"""UPMC Food-101: dishes as pictures of web pages and the titles of these pages.

Expects the folder as it is passed on:

    images/train/apple_pie/apple_pie_0.jpg, images/test/...
    texts/train_titles.csv, texts/test_titles.csv      picture, title, class; with or without a line of names

Titles with commas are quoted. Links are taken out of titles.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.data.modality import Modality
from msam_bench.data.sets.holding_out import without_some
from msam_bench.data.sets.official import Official, Preparation

if TYPE_CHECKING:
    from torch import Tensor

SIZE, WORDS = 224, 40
PARTS = ("train", "test")
_LINK = re.compile(r"https?://\S+")


@dataclass(frozen=True)
class Page:
    """A picture with the title of its page."""

    path: Path
    title: str
    label: str


@dataclass(frozen=True)
class Food101(Official):
    """Pictures `[3, 224, 224]` and the first 40 words of titles."""

    def preparation(self, source: Path, recipe: str, split: str) -> Preparation:
        """See `Official.preparation`; looks for every picture."""
        from msam_bench.data.importing.texts import VOCABULARY
        from msam_bench.data.media.images import imagenet_scale
        from msam_bench.data.store.building import Sample

        pages = {part: _pages(source, part) for part in PARTS}
        classes = tuple(sorted({page.label for page in pages["train"].values()}))
        if odd := sorted({page.label for page in pages["test"].values()} - set(classes)):
            raise ValueError(f"Expected classes of the training list in test_titles.csv, found '{odd[0]}' besides.")
        names = list(pages["train"])
        train, valid = without_some(names, 0.1, [pages["train"][name].label for name in names])
        chosen = {"train": train, "valid": valid, "test": list(pages["test"])}
        every = {part: pages["test" if part == "test" else "train"] for part in chosen}
        plan = {
            part: [Sample(name, every[part][name], classes.index(every[part][name].label)) for name in members]
            for part, members in chosen.items()
        }
        scale, shift = imagenet_scale()
        specs = {
            "image": Modality("image", dtype="uint8", scale=scale, shift=shift, encoder="resnet18"),
            "text": Modality("tokens", dtype="int16", vocabulary=VOCABULARY),
        }
        return Preparation(self.header(specs, recipe, split, classes=classes), plan, _read)


def _pages(source: Path, part: str) -> dict[str, Page]:
    """Name -> page, for the lines of a list."""
    from msam_bench.data.media.opening import present

    path = source / "texts" / f"{part}_titles.csv"
    with present(path).open(newline="", encoding="utf-8") as stream:
        lines = [line for line in csv.reader(stream) if line]
    places = _places(lines[0]) if lines else None
    found: dict[str, Page] = {}
    for line in lines[1:] if places else lines:
        file, title, label = _fields(line, places, path)
        picture = source / "images" / part / label / file
        if not picture.is_file():
            raise ValueError(
                f"Expected the picture {picture}, found none: fetch it, or take its line out of {path.name}."
            )
        found[f"{part}/{label}/{file}"] = Page(picture, title, label)
    return found


def _places(header: list[str]) -> tuple[int, int, int] | None:
    """Where the picture, the title and the class stand, if the first line says so."""
    lower = [name.strip().lower() for name in header]
    named = [next((lower.index(name) for name in names if name in lower), -1) for names in _NAMES]
    return (named[0], named[1], named[2]) if min(named) >= 0 else None


_NAMES = (("image_path", "image", "img"), ("text", "title"), ("label", "class"))


def _fields(line: list[str], places: tuple[int, int, int] | None, path: Path) -> tuple[str, str, str]:
    file, title, label = places or (0, 1, 2)
    if len(line) <= max(file, title, label) or (places is None and len(line) != 3):
        raise ValueError(f"Expected a picture, a title and a class in each line of {path}, found {line!r}.")
    return line[file].strip(), line[title], line[label].strip()


def _read(page: Page) -> dict[str, Tensor]:
    from msam_bench.data.importing.texts import ids
    from msam_bench.data.media.images import picture, sized

    return {"image": sized(picture(page.path), SIZE), "text": ids(_LINK.sub(" ", page.title), WORDS)}


FOOD_101 = Food101(
    name="food101",
    summary="Dishes as pictures of web pages and the titles of these pages.",
    modalities=("image", "text"),
    classes=tuple(f"dish {number}" for number in range(1, 102)),
    licence="none stated",
    citation="Wang, X., et al. (2015). Recipe recognition with large multimodal food dataset. ICME workshops. "
    "doi:10.1109/ICMEW.2015.7169757",
    origin="about 90,000 web pages, UPMC",
    where="UPMC Food-101 at visiir.isir.upmc.fr; images/ and texts/ as BalanceBenchmark (GeWu-Lab) reads them.",
    recipes={"resnet-40w": "pictures at 224 x 224, the first 40 words of the title hashed to ids"},
    protocols={"official": "the lists; a tenth of the training pages of each class validates, always the same"},
)

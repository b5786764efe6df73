"""MVSA-Single: the sentiment of tweets, from their picture and their text.

Expects the folder as it is passed on:

    labelResultAll.txt       a line of names, then ID, tab, sentiment of the text, comma, sentiment of the picture
    data/ID.jpg, data/ID.txt

One annotator gives a sentiment to the text and one to the picture. As Xu and Mao (2017) do: pairs of a positive and a
negative one are left out, and a neutral one gives way to the other.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msam_bench.data.modality import Modality
from msam_bench.data.sets.holding_out import without_some
from msam_bench.data.sets.official import Official, Preparation

if TYPE_CHECKING:
    from torch import Tensor

SENTIMENTS = ("negative", "neutral", "positive")
SIZE, WORDS = 224, 40


@dataclass(frozen=True)
class MVSA(Official):
    """Pictures `[3, 224, 224]` and the first 40 words of texts."""

    def preparation(self, source: Path, recipe: str, split: str) -> Preparation:
        """See `Official.preparation`."""
        from msam_bench.data.importing.texts import VOCABULARY
        from msam_bench.data.media.images import imagenet_scale
        from msam_bench.data.store.building import Sample

        listed = _listed(source / "labelResultAll.txt")
        labels = {name: label for name, pair in listed.items() if (label := agreed(*pair)) is not None}
        _check_complete(source / "data", list(labels))
        names = list(labels)
        rest, test = without_some(names, 0.1, [labels[name] for name in names])
        train, valid = without_some(rest, 1 / 9, [labels[name] for name in rest])
        parts = {"train": train, "valid": valid, "test": test}
        plan = {
            part: [Sample(name, name, SENTIMENTS.index(labels[name])) for name in members]
            for part, members in parts.items()
        }
        scale, shift = imagenet_scale()
        specs = {
            "image": Modality("image", dtype="uint8", scale=scale, shift=shift, encoder="resnet18"),
            "text": Modality("tokens", dtype="int16", vocabulary=VOCABULARY),
        }
        details: dict[str, Any] = {"contradicting": len(listed) - len(labels)}
        header = self.header(specs, recipe, split, **details)
        return Preparation(header, plan, lambda name: _read(source / "data", name))


def agreed(text: str, picture: str) -> str | None:
    """The sentiment of a pair: the one that is not neutral; None if one is positive and one negative."""
    strong = {text, picture} - {"neutral"}
    return None if len(strong) == 2 else next(iter(strong), "neutral")


def _listed(path: Path) -> dict[str, tuple[str, str]]:
    """ID -> the sentiments of its text and of its picture."""
    from msam_bench.data.media.opening import present

    lines = [line.strip() for line in present(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    found: dict[str, tuple[str, str]] = {}
    for line in lines[1:] if lines and "," in lines[0] and not lines[0][0].isdigit() else lines:
        name, _, pair = line.partition("\t")
        text, _, picture = (part.strip() for part in pair.partition(","))
        if not {text, picture} <= set(SENTIMENTS):
            raise ValueError(f"Expected lines like 1<tab>positive,neutral in {path}, found {line!r}.")
        found[name.strip()] = (text, picture)
    twice = [name for name, count in Counter(line.partition("\t")[0] for line in lines).items() if count > 1]
    if twice:
        raise ValueError(f"Expected every pair once in {path}, found '{twice[0]}' more than once.")
    return found


def _check_complete(folder: Path, names: list[str]) -> None:
    missing = [folder / f"{name}{end}" for name in names for end in (".jpg", ".txt") if not _file(folder, name, end)]
    if missing:
        raise ValueError(f"Expected {missing[0]}, found none ({len(missing):,} files are missing): fetch them.")


def _file(folder: Path, name: str, ending: str) -> bool:
    return (folder / f"{name}{ending}").is_file()


def _read(folder: Path, name: str) -> dict[str, Tensor]:
    """Texts are in UTF-8, and a few in Latin-1."""
    from msam_bench.data.importing.texts import ids
    from msam_bench.data.media.images import picture, sized

    content = (folder / f"{name}.txt").read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return {"image": sized(picture(folder / f"{name}.jpg"), SIZE), "text": ids(text, WORDS)}


MVSA_SINGLE = MVSA(
    name="mvsa",
    summary="The sentiment of tweets, from their picture and their text.",
    modalities=("image", "text"),
    classes=SENTIMENTS,
    licence="none stated",
    citation="Niu, T., et al. (2016). Sentiment analysis on multi-view social data. MMM. "
    "doi:10.1007/978-3-319-27674-8_2",
    origin="MVSA-Single: 5,129 tweets with a picture, mcrlab",
    where="MVSA-Single, at mcrlab.net/research/mvsa-sentiment-analysis-on-multi-view-social-data.",
    recipes={"resnet-40w": "pictures at 224 x 224, the first 40 words of the text hashed to ids"},
    protocols={
        "drawn": "a tenth of each class tests and a tenth validates, drawn by name: the authors publish no split"
    },
)

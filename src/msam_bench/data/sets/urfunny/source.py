"""UR-FUNNY: is the punchline of a talk funny? What is said, how it is said, and the speaker's face, word by word.

Expects one of two forms of the authors' word-aligned features:

    humor.pkl                             MultiBench's arrays: train, valid, test -> vision, audio, text, labels
    data_folds.pkl, language_sdk.pkl,     the authors' version 2: by id, sentence by sentence
    openface_features_sdk.pkl, covarep_features_sdk.pkl, humor_label_sdk.pkl, word_embedding_list.pkl

A sample is a sequence of at most 50 words, padded after its end with rows of zeros; the last column is 1 for a word and
0 for padding, so that a word whose features are all zero is still a word. Numbers that are not finite (covarep has
some) become 0 and are counted. Pickles are read without running anything.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msam_bench.data.modality import Modality
from msam_bench.data.sets.official import Official, Preparation
from msam_bench.data.sets.urfunny.forms import FORMS, MODALITIES, WORDS, Words
from msam_bench.data.sets.words import count_not_finite, padded

if TYPE_CHECKING:
    from torch import Tensor

LABELS = ("not humorous", "humorous")


@dataclass(frozen=True)
class URFunny(Official):
    """Sequences `[50, features + 1]` of three modalities."""

    def preparation(self, source: Path, recipe: str, split: str) -> Preparation:
        """See `Official.preparation`; reads the features whole."""
        from msam_bench.data.store.building import Sample

        form = FORMS[recipe](source)
        samples_of = {part: list(samples) for part, samples in form.parts().items()}
        kept = {part: [one for one in samples if form.said(one.item)] for part, samples in samples_of.items()}
        plan = {
            part: [Sample(f"{part}-{s.id}", s.item, int(s.humour)) for s in samples] for part, samples in kept.items()
        }
        faults: Counter[str] = Counter()
        for samples in kept.values():
            for one in samples:
                faults.update(count_not_finite(form.words(one.item)))
        details: dict[str, Any] = {
            "words": WORDS,
            "without_text": sum(map(len, samples_of.values())) - sum(map(len, kept.values())),
            "not_finite": {name: faults[name] for name in MODALITIES},
        }
        specs = {name: Modality("sequence") for name in MODALITIES}
        return Preparation(self.header(specs, recipe, split, **details), plan, lambda item: _read(form.words(item)))


def _read(words: Words) -> dict[str, Tensor]:
    return {name: padded(values, WORDS) for name, values in words.items()}


UR_FUNNY = URFunny(
    name="urfunny",
    summary="Is the punchline of a talk funny? Words, voice and face of the speaker, word by word.",
    modalities=MODALITIES,
    classes=LABELS,
    licence="none stated by the authors",
    citation="Hasan, M. K., et al. (2019). UR-FUNNY. EMNLP. arXiv 1904.06618",
    origin="TED talks, features of the authors (OpenFace, COVAREP, GloVe)",
    where="github.com/ROC-HCI/UR-FUNNY (features of version 2), or humor.pkl of github.com/pliang279/MultiBench.",
    recipes={
        "multibench": "humor.pkl, from the first word on, at most 50 words",
        "sdk": "the authors' version 2: context, then punchline, the last 50 words",
    },
    protocols={"official": "the authors' folds; no speaker is in two of them"},
    expected={"train": 7614, "valid": 980, "test": 994},
)

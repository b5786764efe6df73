"""IEMOCAP: emotions of utterances in dialogues of two actors, from words, voice and face.

Expects the pickle of features that work on emotions in conversation passes on (DialogueRNN, MMGCN and others):

    IEMOCAP_features.pkl      ids, speakers, labels, text, audio, face, sentences, dialogues to train on, to test on

All but the last two go from a dialogue to one value for each utterance. The pickle is read without running anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msam_bench.data.modality import Modality
from msam_bench.data.sets.holding_out import without_some
from msam_bench.data.sets.official import Official, Preparation

if TYPE_CHECKING:
    from torch import Tensor

    from msam_bench.data.store.building import Sample

FILE = "IEMOCAP_features.pkl"
EMOTIONS = ("happy", "sad", "neutral", "angry", "excited", "frustrated")
"""By their numbers in the pickle."""

MODALITIES = ("text", "audio", "video")
_ENTRIES = 9


@dataclass(frozen=True)
class IEMOCAP(Official):
    """One vector a modality for each utterance."""

    def preparation(self, source: Path, recipe: str, split: str) -> Preparation:
        """See `Official.preparation`."""
        from msam_bench.data.media.pickles import plain

        path = source / FILE
        content = plain(path)
        if not isinstance(content, tuple | list) or len(content) != _ENTRIES:
            raise ValueError(f"Expected nine entries in {path}, found {type(content).__name__}: fetch the file again.")
        labels, features = content[2], dict(zip(MODALITIES, content[3:6], strict=True))
        train, test = (sorted(dialogues) for dialogues in content[7:9])
        for dialogue in (*train, *test):
            _check(dialogue, labels, features, path)
        if split == "session":
            parts = {"train": [d for d in train if d[:5] != "Ses04"], "valid": [d for d in train if d[:5] == "Ses04"]}
        else:
            parts = dict(zip(("train", "valid"), without_some(train, 0.1), strict=True))
        plan = {
            part: [sample for dialogue in dialogues for sample in _samples(dialogue, labels[dialogue])]
            for part, dialogues in {**parts, "test": test}.items()
        }
        specs = {name: Modality("vector", standardise=True) for name in MODALITIES}
        header = self.header(specs, recipe, split, group="dialogue")
        return Preparation(header, plan, lambda item: _read(features, *item))


def _samples(dialogue: str, labels: Sequence[int]) -> Iterator[Sample]:
    """The utterances of a dialogue."""
    from msam_bench.data.store.building import Sample

    for row, label in enumerate(labels):
        yield Sample(f"{dialogue}-{row:03}", (dialogue, row), int(label), dialogue)


def _check(dialogue: str, labels: Any, features: Mapping[str, Any], path: Path) -> None:
    """Raises a ValueError unless a dialogue has a label and all features for each utterance."""
    for name, of in {"labels": labels, **features}.items():
        if not isinstance(of, dict) or dialogue not in of:
            raise ValueError(f"Expected {name} of the dialogue {dialogue} in {path}, found none: fetch the file again.")
    counts = {name: len(of[dialogue]) for name, of in features.items()}
    if set(counts.values()) != {len(labels[dialogue])}:
        raise ValueError(f"Expected {len(labels[dialogue])} utterances of {dialogue} in {path}, found {counts}.")
    if odd := [label for label in labels[dialogue] if label not in range(len(EMOTIONS))]:
        raise ValueError(f"Expected emotions from 0 to {len(EMOTIONS) - 1} in {dialogue} of {path}, found {odd[0]}.")


def _read(features: Mapping[str, Any], dialogue: str, row: int) -> dict[str, Tensor]:
    import numpy as np
    import torch

    return {
        name: torch.from_numpy(np.asarray(of[dialogue][row], dtype=np.float32).reshape(-1))
        for name, of in features.items()
    }


IEMOCAP_EMOTIONS = IEMOCAP(
    name="iemocap",
    summary="Emotions of utterances in dialogues of two actors: words, voice and face.",
    modalities=MODALITIES,
    classes=EMOTIONS,
    licence="that of IEMOCAP (a form at USC)",
    citation="Busso, C., et al. (2008). IEMOCAP. Language Resources and Evaluation 42. doi:10.1007/s10579-008-9076-6",
    origin="151 dialogues of ten actors, features of DialogueRNN (Majumder et al. 2019)",
    where="IEMOCAP_features.pkl, which github.com/declare-lab/conv-emotion links; IEMOCAP itself asks for a form.",
    recipes={"utterances": "one vector a modality for each utterance, as stored; the rest of the dialogue is not seen"},
    protocols={
        "official": "session 5 tests; a tenth of the other dialogues validates, always the same",
        "session": "session 5 tests, session 4 validates; no actor is in two splits",
    },
)

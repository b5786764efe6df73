"""CMU-MOSI, CMU-MOSEI and MUStARD: opinions and sarcasm in videos, from words, voice and face.

Expects one pickle with the features of all splits, in one of two forms that are passed on:

    mosi_raw.pkl, mosi_data.pkl, mosei_raw.pkl, mosei_senti_data.pkl, sarcasm.pkl (and *_noalign.pkl)
        MultiBench, MulT and BalanceBenchmark: train, valid, test -> vision, audio, text, labels
    aligned_50.pkl, unaligned_50.pkl
        MMSA: train, valid, test -> vision, audio, text, text_bert, regression_labels

Where the three arrays have the same times they are aligned: the text says where the words begin and end. Otherwise each
modality has its own. A sample without text is left out, as in MultiBench. Pickles are read without running anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msam_bench.data.base import SPLITS
from msam_bench.data.modality import Modality
from msam_bench.data.sets.official import Official, Preparation
from msam_bench.data.sets.words import count_not_finite, padded

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

MODALITIES = ("vision", "audio", "text")
MMSA = ("aligned_50.pkl", "unaligned_50.pkl")
Label = int | float | None
"""Of a sample; None leaves it out."""


@dataclass(frozen=True)
class SentimentTask:
    """What is asked of the score of an opinion, from -3 to 3.

    Args:
        says: One sentence.
        classes: The names of the classes; empty for regression.
        label: From a score to the index of a class, or a value to regress, or None.
    """

    says: str
    classes: tuple[str, ...]
    label: Callable[[float], Label]


SEVEN = ("-3", "-2", "-1", "0", "1", "2", "3")


def _positive(score: float) -> int:
    return int(score > 0)


def _not_negative(score: float) -> int:
    return int(score >= 0)


def _polar(score: float) -> int | None:
    return int(score > 0) if score else None


def _seven(score: float) -> int:
    return min(6, max(0, round(score) + 3))


QUESTIONS: Mapping[str, SentimentTask] = {
    "positive": SentimentTask("positive (above 0) or not, as MultiBench", ("not positive", "positive"), _positive),
    "negative": SentimentTask(
        "negative (below 0) or not, as BalanceBenchmark", ("negative", "not negative"), _not_negative
    ),
    "polar": SentimentTask("negative or positive, neutral ones left out", ("negative", "positive"), _polar),
    "seven": SentimentTask("the score rounded to one of seven classes", SEVEN, _seven),
    "score": SentimentTask("the score, to regress", (), float),
}
SARCASM: Mapping[str, SentimentTask] = {
    "multibench": SentimentTask("sarcastic or not", ("not sarcastic", "sarcastic"), _positive),
}


@dataclass(frozen=True, kw_only=True)
class Sentiment(Official):
    """Sequences `[times, features + 1]` of three modalities.

    Args:
        files: Names that the pickle may have; the first one that is there is read.
        questions: Recipe -> what is asked.
    """

    files: tuple[str, ...]
    questions: Mapping[str, SentimentTask]

    def preparation(self, source: Path, recipe: str, split: str) -> Preparation:
        """See `Official.preparation`; reads the features whole."""
        from msam_bench.data.store.building import Sample

        path = self._file(source)
        features, question = Features(path), self.questions[recipe]
        plan: dict[str, list[Sample]] = {part: [] for part in SPLITS}
        left_out: Counter[str] = Counter(without_text=0, without_label=0)
        faults: Counter[str] = Counter(dict.fromkeys(MODALITIES, 0))
        for part, row, score in features.samples():
            label = question.label(score)
            words = features.words((part, row))
            left_out["without_text"] += words is None
            left_out["without_label"] += words is not None and label is None
            if words is None or label is None:
                continue
            faults.update(count_not_finite(words))
            plan[part].append(Sample(f"{part}-{row}", (part, row), label))
        details: dict[str, Any] = {
            "file": path.name,
            "aligned": features.aligned,
            **left_out,
            "not_finite": dict(faults),
        }
        specs = {name: Modality("sequence") for name in MODALITIES}
        header = self.header(specs, recipe, split, classes=question.classes, **details)
        return Preparation(header, plan, features.read)

    def _file(self, folder: Path) -> Path:
        there = [folder / name for name in self.files if (folder / name).is_file()]
        if not there:
            raise ValueError(f"Expected {' or '.join(self.files)} in {folder}, found none: put one of them there.")
        return there[0]


class Features:
    """The features in a pickle of either form.

    Args:
        path: The pickle.

    Raises:
        ValueError: Entries that are missing, or arrays that do not fit together.
    """

    def __init__(self, path: Path) -> None:
        from msam_bench.data.media.pickles import plain

        self.path, self.content = path, plain(path)
        self.scores = "regression_labels" if path.name in MMSA else "labels"
        for part in SPLITS:
            self._check(part)
        lengths = {name: {self.content[part][name].shape[1] for part in SPLITS} for name in MODALITIES}
        self.times = {name: max(each) for name, each in lengths.items()}
        self.aligned = len(set().union(*lengths.values())) == 1

    def samples(self) -> list[tuple[str, int, float]]:
        """Split, row and score of every sample; where there are more labels than one, the first is the opinion."""
        import numpy as np

        scores = {part: np.asarray(self.content[part][self.scores], dtype=np.float64) for part in SPLITS}
        listed = [(part, row, float(v.reshape(-1)[0])) for part in SPLITS for row, v in enumerate(scores[part])]
        for part, row, score in listed:
            if not np.isfinite(score):
                raise ValueError(f"Expected finite labels in {self.path}, found {score} in row {row} of '{part}'.")
        return listed

    def words(self, item: tuple[str, int]) -> dict[str, NDArray[Any]] | None:
        """Modality -> features `[times, features]` without padding; None for a sample without text."""
        part, row = item
        arrays = {name: self.content[part][name][row] for name in MODALITIES}
        text = self._spoken(part, row, arrays["text"])
        if text.start == text.stop:
            return None
        here = self.aligned
        return {name: v[text if here or name == "text" else _span(v)] for name, v in arrays.items()}

    def read(self, item: tuple[str, int]) -> dict[str, Tensor]:
        """The tensors of a sample."""
        words = self.words(item)
        assert words is not None
        return {name: padded(values, self.times[name]) for name, values in words.items()}

    def _spoken(self, part: str, row: int, text: NDArray[Any]) -> slice:
        """Where the words are: where BERT's mask is 1, or from the first row that is not zero to the last."""
        import numpy as np

        bert = self.content[part].get("text_bert") if self.path.name in MMSA else None
        if bert is None:
            return _span(text)
        mask = np.flatnonzero(np.asarray(bert[row])[1])
        return slice(int(mask[0]), int(mask[-1]) + 1) if len(mask) else slice(0, 0)

    def _check(self, part: str) -> None:
        entries = self.content.get(part, {}) if isinstance(self.content, dict) else {}
        missing = [name for name in (*MODALITIES, self.scores) if name not in entries]
        if missing:
            raise ValueError(f"Expected '{missing[0]}' of '{part}' in {self.path}, found none: fetch the file again.")
        shapes = {name: getattr(entries[name], "shape", ()) for name in MODALITIES}
        rows = {len(entries[self.scores]), *(shape[0] for shape in shapes.values() if shape)}
        if len(rows) > 1 or any(len(shape) != 3 for shape in shapes.values()):
            raise ValueError(
                f"Expected arrays [samples, times, features] of as many samples as labels in '{part}' of {self.path}, "
                f"found {shapes} and {len(entries[self.scores])} labels."
            )


def _span(values: NDArray[Any]) -> slice:
    """From the first row that is not zero to the last."""
    import numpy as np

    rows = np.flatnonzero(np.any(values, axis=1))
    return slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)


def _sentiment(name: str, title: str, files: tuple[str, ...], citation: str, sizes: tuple[int, int, int]) -> Sentiment:
    """One of the two sets of opinions."""
    return Sentiment(
        name=name,
        summary=f"Opinions in {title}, from -3 to 3: words, voice and face of the speaker.",
        modalities=MODALITIES,
        classes=QUESTIONS["positive"].classes,
        licence="none stated in the files",
        citation=citation,
        origin="videos of YouTube, features of the CMU Multimodal SDK",
        where="The pickles that MultiBench (github.com/pliang279/MultiBench) or MMSA (github.com/thuiar/MMSA) link.",
        recipes={key: question.says for key, question in QUESTIONS.items()},
        protocols={"official": "the folds of the CMU Multimodal SDK"},
        expected=dict(zip(SPLITS, sizes, strict=True)),
        files=files,
        questions=QUESTIONS,
    )


MOSI = _sentiment(
    "mosi",
    "reviews of films",
    ("mosi_raw.pkl", "mosi_data.pkl", "mosi_data_noalign.pkl", *MMSA),
    "Zadeh, A., et al. (2016). MOSI. IEEE Intelligent Systems 31(6). arXiv 1606.06259",
    (1284, 229, 686),
)
MOSEI = _sentiment(
    "mosei",
    "monologues",
    ("mosei_raw.pkl", "mosei_senti_data.pkl", "mosei_senti_data_noalign.pkl", *MMSA),
    "Zadeh, A., et al. (2018). Multimodal language analysis in the wild: CMU-MOSEI. ACL. doi:10.18653/v1/P18-1208",
    (16_326, 1871, 4659),
)
MUSTARD = Sentiment(
    name="mustard",
    summary="Is a line of a television comedy sarcastic? Words, voice and face.",
    modalities=MODALITIES,
    classes=SARCASM["multibench"].classes,
    licence="MIT (repository); features: none stated",
    citation="Castro, S., et al. (2019). Towards multimodal sarcasm detection. ACL. arXiv 1906.01815",
    origin="690 lines of television comedies, features of MultiBench",
    where="sarcasm.pkl, which MultiBench (github.com/pliang279/MultiBench) links.",
    recipes={key: question.says for key, question in SARCASM.items()},
    protocols={"official": "the folds of MultiBench"},
    expected={"train": 414, "valid": 138, "test": 138},
    files=("sarcasm.pkl",),
    questions=SARCASM,
)

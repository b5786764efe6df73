"""The two forms in which the features of UR-FUNNY are passed on, seen as the same thing: samples of aligned words.

form = FORMS["sdk"](folder)
for sample in form.parts()["train"]: form.words(sample.item)       # modality -> [words, features], words <= 50
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODALITIES = ("vision", "audio", "text")
WORDS = 50
Words = Mapping[str, Any]
"""Modality -> array `[words, features]`; all have the same words."""


@dataclass(frozen=True)
class Found:
    """A sample: its name, how the form finds it again, and its label."""

    id: str
    item: Any
    humour: bool


class Form(ABC):
    """Features of UR-FUNNY in a folder."""

    @abstractmethod
    def parts(self) -> Mapping[str, Iterable[Found]]:
        """Split -> its samples."""

    @abstractmethod
    def words(self, item: Any) -> Words:
        """The features of a sample, at most 50 words."""

    def said(self, item: Any) -> bool:
        """Whether any word of a sample is known."""
        return bool(self.words(item)["text"].any())


class MultiBench(Form):
    """humor.pkl: arrays `[samples, times, features]`, padded with zeros before the first word."""

    def __init__(self, folder: Path) -> None:
        self.content = _pickled(folder, "humor.pkl", "sdk")
        for part in ("train", "valid", "test"):
            self._check(part, folder / "humor.pkl")

    def _check(self, part: str, path: Path) -> None:
        arrays = self.content.get(part, {}) if isinstance(self.content, dict) else {}
        missing = [name for name in (*MODALITIES, "labels") if name not in arrays]
        if missing:
            raise ValueError(f"Expected '{missing[0]}' of '{part}' in {path}, found none: fetch humor.pkl again.")
        shapes = {name: getattr(arrays[name], "shape", ()) for name in MODALITIES}
        if len({shape[:2] for shape in shapes.values()}) > 1 or len(shapes["text"]) != 3:
            raise ValueError(f"Expected arrays of the same samples and times in '{part}' of {path}, found {shapes}.")

    def parts(self) -> Mapping[str, Iterable[Found]]:
        """See `Form`; a label of 1 or more is humour, 0 or -1 is none."""
        labels = {part: self.content[part]["labels"].reshape(-1) for part in ("train", "valid", "test")}
        return {
            part: [Found(str(row), (part, row), bool(label >= 1)) for row, label in enumerate(values)]
            for part, values in labels.items()
        }

    def words(self, item: tuple[str, int]) -> Words:
        """See `Form`; the text's first row that is not zero is the first word of all modalities."""
        part, row = item
        arrays = self.content[part]
        rows = arrays["text"][row].any(1)
        first = int(rows.argmax()) if rows.any() else 0
        return {name: arrays[name][row][first : first + WORDS] for name in MODALITIES}


class Authors(Form):
    """Six pickles of dicts by id, sentence by sentence; the text as numbers of words."""

    FILES: Mapping[str, str] = {
        "folds": "data_folds.pkl",
        "language": "language_sdk.pkl",
        "vision": "openface_features_sdk.pkl",
        "audio": "covarep_features_sdk.pkl",
        "labels": "humor_label_sdk.pkl",
        "vectors": "word_embedding_list.pkl",
    }

    def __init__(self, folder: Path) -> None:
        import numpy as np

        read = {key: _pickled(folder, name, "multibench") for key, name in self.FILES.items()}
        self.folds, self.labels = read["folds"], read["labels"]
        self.language, self.features = read["language"], {name: read[name] for name in ("vision", "audio")}
        self.vectors = np.asarray(read["vectors"], dtype=np.float32)

    def parts(self) -> Mapping[str, Iterable[Found]]:
        """See `Form`; the authors' dev is valid."""
        return {
            part: [Found(str(key), key, self._humour(key)) for key in _entry(self.folds, theirs, self.FILES["folds"])]
            for part, theirs in (("train", "train"), ("valid", "dev"), ("test", "test"))
        }

    def words(self, item: Any) -> Words:
        """See `Form`; a sentence with another number of feature rows than words is cut, or filled up with zeros."""
        import numpy as np

        entry, where = _entry(self.language, item, self.FILES["language"]), f"{item} of {self.FILES['language']}"
        keys = ("context_embedding_indexes", "punchline_embedding_indexes")
        context, punchline = (_entry(entry, key, where) for key in keys)
        sentences = [*context, punchline]
        numbers = [number for sentence in sentences for number in sentence][-WORDS:]
        if numbers and not 0 <= min(numbers) <= max(numbers) < len(self.vectors):
            raise ValueError(f"Expected words below {len(self.vectors):,} in sample {item}, found {max(numbers):,}.")
        values = {"text": self.vectors[numbers] if numbers else self.vectors[:0]}
        for name in self.features:
            blocks = self._blocks(name, item, len(sentences))
            rows = [_rows(block, len(sentence)) for block, sentence in zip(blocks, sentences, strict=True)]
            values[name] = np.concatenate(rows)[-WORDS:]
        return {name: values[name] for name in MODALITIES}

    def _blocks(self, name: str, item: Any, sentences: int) -> list[Any]:
        """The features of each sentence of a sample."""
        file = self.FILES[name]
        of = _entry(self.features[name], item, file)
        context, punchline = (_entry(of, f"{key}_features", f"{item} of {file}") for key in ("context", "punchline"))
        if len(context) + 1 != sentences:
            raise ValueError(
                f"Expected features of {sentences} sentences for {item} in {file}, found {len(context) + 1}."
            )
        return [*context, punchline]

    def _humour(self, item: Any) -> bool:
        return bool(_entry(self.labels, item, self.FILES["labels"]) == 1)


def _entry(mapping: Any, key: Any, where: str) -> Any:
    if not isinstance(mapping, dict) or key not in mapping:
        raise ValueError(f"Expected an entry {key!r} in {where}, found none: fetch the files again.")
    return mapping[key]


def _rows(block: Any, count: int) -> Any:
    """`count` rows of the features of a sentence, `[count, features]`."""
    import numpy as np

    values = np.asarray(block, dtype=np.float32)
    values = values.reshape(len(values), -1)[:count]
    return np.pad(values, ((0, count - len(values)), (0, 0)))


def _pickled(folder: Path, name: str, other: str) -> Any:
    from msam_bench.data.media.pickles import plain

    path = folder / name
    if not path.is_file():
        raise ValueError(f"Expected {name} in {folder}, found none: put it there, or ask for --recipe {other}.")
    return plain(path)


FORMS: Mapping[str, Callable[[Path], Form]] = {"multibench": MultiBench, "sdk": Authors}

"""Generated data whose truth is known: how much each modality tells alone, only together, or as well as any other.

    data = synthetic(redundancy=0.4, unique=(0.2, 0.0), synergy=0.2, noise=0.05)
    data.load(seed=0)                          # modalities "a" and "b", vectors
    data.bayes_accuracy({"a"})                 # what the best classifier of "a" alone reaches: 0.67
    data.contributions()                       # Shapley values of these accuracies
    source("synthetic:redundancy=0.4,unique=0.2+0.0,synergy=0.2,noise=0.05")          # the same by name

Each sample shows its class through one channel, drawn anew: with probability `redundancy` every modality shows it, with
`unique` one modality alone, with `synergy` all modalities together (each shows a number, and the class is their sum
modulo the number of classes: XOR for two classes and two modalities), and otherwise nobody. A modality shows a number
as a one-hot block, one block for each channel, and zeros in the others: which channel it is can be seen. With
probability `noise` the channel shows another class than the sample has. Features of pure chance are appended. Classes
are equally frequent, so that the best accuracy of a coalition S is

    sum over channels c of P(c) * (1 - noise if S can read c, else 1 / classes).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import log2
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from msam_bench.data.base import SPLITS, Dataset, Source, Split, check_seed
from msam_bench.names import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREFIX = "synthetic"
_RECIPE = 1
Counts = dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Synthetic(Source):
    """The generator; `synthetic` makes one.

    Args:
        redundancy: Share of samples that every modality shows.
        unique: Share of samples that one modality alone shows, for each modality.
        synergy: Share of samples that only all modalities together show.
        noise: Share of samples whose channel shows another class.
        nuisance: Features of pure chance, standard normal, that each modality has besides.
        counts: Samples of each split.
    """

    redundancy: float
    unique: tuple[float, ...]
    synergy: float
    noise: float
    nuisance: int
    counts: tuple[int, int, int]

    @property
    def fingerprint(self) -> str:
        """See `Source.fingerprint`: of the dials."""
        return hashlib.sha256(f"{self.name} {self.counts} recipe {_RECIPE}".encode()).hexdigest()

    def load(self, seed: int) -> Dataset:
        """See `Source.load`; every seed draws other samples."""
        check_seed(seed)
        splits = {part: self._drawn(count, (seed, place)) for place, (part, count) in enumerate(self.sizes().items())}
        return Dataset(self.name, splits, self.classes, self.fingerprint)

    def sizes(self, seed: int = 0) -> Counts:
        """See `Source.sizes`."""
        return dict(zip(SPLITS, self.counts, strict=True))

    def status(self) -> str:
        """See `Source.status`."""
        return "generated"

    @property
    def channels(self) -> dict[str, float]:
        """Channel -> its share of the samples: "redundant", one for each modality by its name, "synergy", "none"."""
        shown = {"redundant": self.redundancy, **dict(zip(self.modalities, self.unique, strict=True))}
        shown["synergy"] = self.synergy
        return {**shown, "none": max(0.0, 1.0 - sum(shown.values()))}

    def readable(self, coalition: Collection[str]) -> float:
        """The share of samples whose channel the coalition can read."""
        alone = sum(share for name, share in zip(self.modalities, self.unique, strict=True) if name in coalition)
        whole = set(coalition) >= set(self.modalities)
        return (self.redundancy if coalition else 0.0) + alone + (self.synergy if whole else 0.0)

    def bayes_accuracy(self, coalition: Collection[str]) -> float:
        """The accuracy of the best classifier of these modalities, on the population.

        Raises:
            ValueError: An unknown modality.
        """
        for name in coalition:
            if name not in self.modalities:
                raise ValueError(f"Expected modalities among {', '.join(self.modalities)}, found '{name}'.")
        return 1 / len(self.classes) + self.readable(coalition) * self.gain

    def information(self, coalition: Collection[str]) -> float:
        """What these modalities tell about the class, in bits."""
        return self.readable(coalition) * self._bits

    def contributions(self) -> dict[str, float]:
        """The Shapley values of `bayes_accuracy`: redundancy and synergy are shared equally, what is unique is kept.

        Where a measurement counts 0 for no modality, not the accuracy of a guess, 1 / (classes * modalities) is on top.
        """
        shared = (self.redundancy + self.synergy) / len(self.modalities)
        return {name: self.gain * (shared + share) for name, share in zip(self.modalities, self.unique, strict=True)}

    @property
    def gain(self) -> float:
        """What reading a sample's channel adds to the accuracy of a guess."""
        return 1 - self.noise - 1 / len(self.classes)

    @property
    def _bits(self) -> float:
        """Bits about the class in a channel that shows another one with probability `noise`."""
        others = len(self.classes) - 1
        shares = [1 - self.noise, *[self.noise / others] * others]
        return log2(len(self.classes)) + sum(share * log2(share) for share in shares if share > 0)

    def _drawn(self, count: int, seed: Sequence[int]) -> Split:
        import numpy as np
        import torch

        draw = np.random.default_rng(seed)
        classes, channels = len(self.classes), list(self.channels)
        target = draw.integers(classes, size=count)
        channel = draw.choice(len(channels), size=count, p=list(self.channels.values()))
        wrong = (target + draw.integers(1, classes, size=count)) % classes
        shown = np.where(draw.random(count) < self.noise, wrong, target)
        codes = self._codes(channel, shown, draw)
        inputs = {
            name: np.concatenate([code, draw.standard_normal((count, self.nuisance))], axis=1)
            for name, code in codes.items()
        }
        tensors = {name: torch.from_numpy(values.astype(np.float32)) for name, values in inputs.items()}
        numbers = int(seed[0]) * 2**32 + torch.arange(count)
        return Split(tensors, torch.from_numpy(target), samples=numbers)

    def _codes(self, channel: NDArray[Any], shown: NDArray[Any], draw: Any) -> dict[str, NDArray[Any]]:
        """What each modality shows `[samples, 3 * classes]`: the redundant block, its own, and its part of the sum."""
        import numpy as np

        count, classes, last = len(shown), len(self.classes), len(self.modalities) - 1
        parts = draw.integers(classes, size=(count, last + 1))
        parts[:, last] = (shown - parts[:, :last].sum(1)) % classes
        codes = {}
        for place, name in enumerate(self.modalities):
            blocks = [(0, shown), (1 + place, shown), (2 + last, parts[:, place])]
            visible = [(channel == number)[:, None] * np.eye(classes)[values] for number, values in blocks]
            codes[name] = np.concatenate(visible, axis=1)
        return codes


def synthetic(
    redundancy: float = 0.4,
    unique: float | Sequence[float] = 0.2,
    synergy: float = 0.0,
    noise: float = 0.0,
    *,
    classes: int = 4,
    modalities: int = 2,
    nuisance: int = 16,
    train: int = 1000,
    valid: int = 500,
    test: int = 2000,
) -> Synthetic:
    """A generator of samples whose truth is known; see the module.

    Args:
        redundancy: Share of samples that every modality shows.
        unique: Share of samples that one modality alone shows: for each modality, or for all together (equal parts).
        synergy: Share of samples that only all modalities together show.
        noise: Share of samples whose channel shows another class, below 1 - 1 / classes.
        classes: 2 or more.
        modalities: 2 to 26.
        nuisance: Features of pure chance a modality.
        train: Samples to train on.
        valid: Samples to choose by.
        test: Samples to test on.

    Raises:
        ValueError: A dial out of range, or shares that add up to more than 1.
    """
    _check_range("classes", classes, 2, 1000)
    _check_range("modalities", modalities, 2, len(ascii_lowercase))
    _check_range("nuisance", nuisance, 0, 10**6)
    counts = (train, valid, test)
    for name, count in zip(SPLITS, counts, strict=True):
        _check_range(name, count, 1, 10**8)
    alone = (unique / modalities,) * modalities if isinstance(unique, int | float) else tuple(map(float, unique))
    if len(alone) != modalities:
        raise ValueError(
            f"Expected one share of unique samples for each of {modalities} modalities, found {len(alone)}."
        )
    shares = {"redundancy": redundancy, **{f"unique[{place}]": share for place, share in enumerate(alone)}}
    for name, share in {**shares, "synergy": synergy}.items():
        _check_range(name, share, 0, 1)
    if (total := redundancy + sum(alone) + synergy) > 1 + 1e-9:
        raise ValueError(f"Expected redundancy, unique and synergy to add up to 1 at most, found {total:g}.")
    if not 0 <= noise < 1 - 1 / classes:
        raise ValueError(f"Expected a noise from 0 to below {1 - 1 / classes:g} (pure chance), found {noise:g}.")
    return _made(redundancy, alone, synergy, noise, classes, nuisance, counts)


def _made(
    redundancy: float,
    alone: tuple[float, ...],
    synergy: float,
    noise: float,
    classes: int,
    nuisance: int,
    counts: tuple[int, int, int],
) -> Synthetic:
    dials = {
        "redundancy": f"{redundancy:g}",
        "unique": "+".join(f"{share:g}" for share in alone),
        "synergy": f"{synergy:g}",
        "noise": f"{noise:g}",
        "classes": classes,
        "modalities": len(alone),
        "nuisance": nuisance,
        **dict(zip(SPLITS, counts, strict=True)),
    }
    return Synthetic(
        name=f"{PREFIX}:" + ",".join(f"{dial}={value}" for dial, value in dials.items()),
        summary="Generated samples: what is redundant, unique or synergistic between modalities is known.",
        modalities=tuple(ascii_lowercase[: len(alone)]),
        classes=tuple(f"class {number}" for number in range(classes)),
        licence="MIT",
        citation="msam",
        origin="generated by msam",
        redundancy=redundancy,
        unique=alone,
        synergy=synergy,
        noise=noise,
        nuisance=nuisance,
        counts=counts,
    )


def from_name(name: str) -> Synthetic | None:
    """The generator that a name such as `synthetic:synergy=0.5,noise=0.1` stands for; None for another name.

    Raises:
        ValueError: An unknown dial, or one out of range.
    """
    prefix, _, text = name.partition(":")
    return synthetic(**_dials(text)) if prefix == PREFIX else None


_WHOLE = ("classes", "modalities", "nuisance", *SPLITS)
_SHARES = ("redundancy", "unique", "synergy", "noise")


def _dials(text: str) -> Mapping[str, Any]:
    dials: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        dial, _, value = part.partition("=")
        if dial not in (*_SHARES, *_WHOLE):
            raise ValueError(f"Synthetic data have no dial '{dial}': {nearest(dial, (*_SHARES, *_WHOLE))}.")
        dials[dial] = _value(dial, value)
    return dials


def _value(dial: str, text: str) -> Any:
    try:
        if dial in _WHOLE:
            return int(text)
        return tuple(map(float, text.split("+"))) if "+" in text else float(text)
    except ValueError:
        what = "a whole number" if dial in _WHOLE else "a number"
        raise ValueError(f"Expected {what} for the dial '{dial}', found '{text}'.") from None


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"Expected {name} from {low:g} to {high:g}, found {value:g}.")

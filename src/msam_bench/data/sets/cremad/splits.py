"""Who is in which split of CREMA-D: the lists of OGM-GE, or a draw by the names of clips or of actors.

    drawn(["1001_IEO_NEU_XX", ...], "actor-disjoint")      # {"train": [...], "valid": [...], "test": [...]}

Draws are by the sha256 of the names: they need no seed, and a clip more or less moves hardly any other one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

EMOTIONS = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
"""In the order of OGM-GE, AGM, PMR and MMPareto; others sort them, so names are compared and numbers never."""

_NAME = re.compile(rf"(\d{{4}})_[A-Z]{{3}}_({'|'.join(EMOTIONS)})_[A-Z]{{1,2}}")


def actor(name: str) -> str:
    """`1001` of `1001_IEO_NEU_XX`."""
    return name.partition("_")[0]


def emotion(name: str) -> str:
    """`NEU` of `1001_IEO_NEU_XX`: what was acted, not what the crowd heard."""
    return name.split("_")[2]


def clips(folder: Path) -> list[str]:
    """The names of all clips, in order.

    Raises:
        ValueError: No such folder, no clip in it, or one whose name does not say what it is.
    """
    names = sorted(path.stem for path in folder.glob("*.wav"))
    if not names:
        raise ValueError(f"Expected the clips of CREMA-D in {folder}, found none: clone its repository with git lfs.")
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"Expected a clip named like 1001_IEO_NEU_XX in {folder}, found '{name}': rename it.")
    return names


def listed(source: Path) -> dict[str, list[str]] | None:
    """The clips of train.csv and test.csv, or None if there are no such lists.

    Raises:
        ValueError: One list without the other, a line that is no `name,emotion`, or an emotion unlike the name's.
    """
    files = {part: source / f"{part}.csv" for part in ("train", "test")}
    there = [path for path in files.values() if path.is_file()]
    if not there:
        return None
    if len(there) == 1:
        raise ValueError(f"Expected train.csv and test.csv in {source}, found only {there[0].name}: add the other.")
    return {part: [_listed(line, path) for line in _lines(path)] for part, path in files.items()}


def with_validation(lists: Mapping[str, Sequence[str]], there: Sequence[str]) -> dict[str, list[str]]:
    """The lists, with a tenth of the training clips drawn to validate.

    Raises:
        ValueError: A listed clip that is not there.
    """
    known = set(there)
    for name in (name for part in lists.values() for name in part):
        if name not in known:
            raise ValueError(f"Expected the listed clip {name} in AudioWAV, found none: fetch it.")
    valid, train = _first(lists["train"], 0.1)
    return {"train": train, "valid": valid, "test": list(lists["test"])}


def drawn(names: Sequence[str], split: str) -> dict[str, list[str]]:
    """A tenth of the clips to test on and a tenth of the others to validate, or a fifth and a tenth of the actors."""
    if split == "paper":
        test, rest = _first(names, 0.1)
        return with_validation({"train": rest, "test": test}, names)
    actors = sorted({actor(name) for name in names})
    test, rest = _first(actors, 0.2)
    valid, train = _first(rest, len(actors) * 0.1 / max(1, len(rest)))
    sides = {"train": set(train), "valid": set(valid), "test": set(test)}
    return {part: [name for name in names if actor(name) in side] for part, side in sides.items()}


def _first(names: Iterable[str], share: float) -> tuple[list[str], list[str]]:
    """A share of the names, one at least, drawn by their sha256; and the others. Both in the order of the names."""
    order = sorted(names)
    by_hash = sorted(order, key=lambda name: hashlib.sha256(name.encode()).digest())
    first = set(by_hash[: max(1, round(len(order) * share))])
    return [name for name in order if name in first], [name for name in order if name not in first]


def _lines(path: Path) -> list[str]:
    from msam_bench.data.media.opening import present

    return [line for line in present(path).read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def _listed(line: str, path: Path) -> str:
    name, _, emotion = (part.strip() for part in line.partition(","))
    match = _NAME.fullmatch(name)
    if not match or match[2] != emotion:
        raise ValueError(f"Expected lines like 1001_IEO_NEU_XX,NEU in {path}, found {line!r}.")
    return name

"""Who is in a prepared store: samples with labels, groups and what they lack, and whether they can be one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from msam_bench.data.base import SPLITS
from msam_bench.data.store.manifest import ALL, LAYOUT, Header, plain, sha256


@dataclass(frozen=True)
class Sample:
    """One sample of a plan.

    Args:
        id: Its name, unlike any other's.
        item: What `read` takes.
        label: Index of its class, or the value or values to regress.
        group: Whom it belongs to (a speaker, a subject), if anyone.
        absent: The modalities that it lacks.
    """

    id: str
    item: Any
    label: int | float | tuple[float, ...]
    group: str | None = None
    absent: frozenset[str] = frozenset()


Plan = Mapping[str, Sequence[Sample]]
"""Split -> its samples in order; "train", "valid" and "test", or "all" where the seed draws the split."""

Read = Callable[[Any], Mapping[str, Tensor]]


def check_plan(plan: Plan, header: Header) -> None:
    """Raises a ValueError for what cannot be a store."""
    if set(plan) not in ({ALL}, set(SPLITS)):
        raise ValueError(f"Expected the splits {', '.join(SPLITS)}, or '{ALL}', found {', '.join(plan) or 'none'}.")
    for name in header.modalities:
        if not name.replace("-", "_").isidentifier() or name == "target" or hasattr(torch.nn.ModuleDict(), name):
            raise ValueError(
                f"Expected a modality named by letters, digits, - and _, found '{name}', or a word that torch uses: "
                "rename it."
            )
    for part, samples in plan.items():
        if not samples:
            raise ValueError(f"Expected samples in the split '{part}', found none: give it some.")
    ids = Counter(sample.id for samples in plan.values() for sample in samples)
    if twice := [name for name, count in ids.items() if count > 1]:
        raise ValueError(f"Expected every sample once, found '{twice[0]}' more than once: give each its own name.")
    if header.group is not None:
        _check_groups(plan)
    for sample in (sample for samples in plan.values() for sample in samples):
        _check_label(sample, len(header.classes))


def _check_groups(plan: Plan) -> None:
    """No group may be in two splits."""
    of: dict[str, str] = {}
    for part, samples in plan.items():
        for sample in samples:
            if sample.group is not None and of.setdefault(sample.group, part) != part:
                raise ValueError(
                    f"Expected each group in one split, found '{sample.group}' in {of[sample.group]} and in {part}: "
                    "move its samples to one of them."
                )


def _check_label(sample: Sample, classes: int) -> None:
    if classes and not (isinstance(sample.label, int) and 0 <= sample.label < classes):
        raise ValueError(
            f"Expected the index of one of {classes} classes for sample '{sample.id}', found {sample.label!r}."
        )
    if not classes and not all(map(isfinite, values_of(sample))):
        raise ValueError(f"Expected finite values to regress for sample '{sample.id}', found {sample.label!r}.")


def values_of(sample: Sample) -> tuple[float, ...]:
    """The values to regress of a sample, one or several."""
    return sample.label if isinstance(sample.label, tuple) else (sample.label,)


def request_of(header: Header, plan: Plan, sources: str) -> str:
    """What decides the bytes, apart from what `read` gives where nothing tells its sources."""
    people = {part: [_person(sample) for sample in samples] for part, samples in plan.items()}
    stated = {key: value for key, value in plain(header).items() if value or key not in ("partial", "imputed")}
    return sha256([LAYOUT, stated, people, *([sources] if sources else [])])


def _person(sample: Sample) -> list[Any]:
    return [sample.id, sample.label, sample.group, *([sorted(sample.absent)] if sample.absent else [])]

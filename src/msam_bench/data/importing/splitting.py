"""Who trains, validates and tests, and whether classes and groups are large enough for that.

plan, note, warnings = plan_split(roles)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from msam_bench.data.base import SPLITS
from msam_bench.data.importing.options import Note
from msam_bench.data.importing.roles import Roles
from msam_bench.data.splits import drawn, drawn_groups
from msam_bench.data.store.building import Plan, Sample
from msam_bench.data.store.manifest import ALL

SHARES = (0.1, 0.2)
"""Of validation and test, where the seed draws the split; of validation, where a split is given without one."""

LEAST = len(SPLITS)
"""Samples of a class, or groups, that every split has one of."""


def plan_split(roles: Roles, absent: Sequence[frozenset[str]]) -> tuple[Plan, Note, list[str]]:
    """The plan of the split, what was inferred of it, and warnings of classes that it does not do justice to.

    Args:
        roles: Of all samples.
        absent: The modalities that each sample lacks.

    Raises:
        ValueError: Classes or groups that are too few for a split.
    """
    samples = [
        Sample(ident, row, target, None if roles.group is None else roles.group[row], absent[row])
        for row, (ident, target) in enumerate(zip(roles.ids, roles.labels.targets, strict=True))
    ]
    whole = "" if roles.group is None else f", each {roles.group_name} on one side"
    if roles.split is None:
        text = f"drawn by the seed: 70 % train, 10 % validate, 20 % test{whole}"
        return {ALL: samples}, Note("split", text, "--split, --group"), _check_drawable(roles)
    parts = {
        part: [sample for sample, of_part in zip(samples, roles.split, strict=True) if of_part == part]
        for part in SPLITS
    }
    text = f"as given{whole}"
    if not parts["valid"] and parts["train"]:
        parts |= _carved(parts["train"], roles)
        text += ", and a tenth of train validates"
    _check_parts(parts)
    return parts, Note("split", text, "--split none, --group none"), _uneven(parts, roles.labels.classes)


def _check_drawable(roles: Roles) -> list[str]:
    """Every split gets something of every class and of every group; warnings where one group decides much."""
    units = len(roles.labels.targets) if roles.group is None else len(set(roles.group))
    if units < LEAST:
        what = "samples" if roles.group is None else f"of '{roles.group_name}'"
        raise ValueError(f"Expected three or more different {what} to draw a split from, found {units}: add some.")
    if not roles.labels.classes:
        return [] if roles.group is None else _large_groups(roles.group, roles.group_name or "")
    _check_classes(roles)
    return [] if roles.group is None else _check_groups(roles, roles.group, roles.group_name or "")


def _check_classes(roles: Roles) -> None:
    """Three samples of every class, one for each split."""
    counts = Counter(roles.labels.targets)
    small = [place for place in range(len(roles.labels.classes)) if counts[place] < LEAST]
    if small:
        name, count = roles.labels.classes[small[0]], counts[small[0]]
        raise ValueError(
            f"Expected {LEAST} samples or more of every class, one each to train, validate and test, found class "
            f"'{name}' with {count} ({len(small)} such classes of {len(counts)}): join classes, leave such ones out by "
            f"--least {LEAST}, or say --task values if they are amounts."
        )


def _check_groups(roles: Roles, group: Sequence[str], name: str) -> list[str]:
    """Classes spread over groups: one that stands in a single group is never both trained and tested."""
    of: Mapping[int, set[str]] = defaultdict(set)
    for target, owner in zip(roles.labels.targets, group, strict=True):
        of[int(target)].add(owner)  # type: ignore[arg-type]
    lonely = [place for place, owners in sorted(of.items()) if len(owners) < 2]
    if len(of) - len(lonely) < 2:
        raise ValueError(
            f"Expected classes in several groups of '{name}', found class '{roles.labels.classes[lonely[0]]}' in "
            f"'{next(iter(of[lonely[0]]))}' alone ({len(lonely)} such classes of {len(of)}): no class that is trained "
            "would be tested; name another column by --group, or say --group none."
        )
    warnings = [
        f"class '{roles.labels.classes[place]}' stands in '{next(iter(of[place]))}' of {name} alone: it is never both "
        "trained and tested"
        for place in lonely
    ]
    return warnings + _large_groups(group, name)


def _large_groups(group: Sequence[str], name: str) -> list[str]:
    (largest, count), *_ = Counter(group).most_common(1)
    if 2 * count <= len(group):
        return []
    return [f"'{largest}' of {name} has {count:,} of {len(group):,} samples: seeds that test it train on few"]


def _carved(train: Sequence[Sample], roles: Roles) -> Mapping[str, list[Sample]]:
    """A validation part out of train, always the same one."""
    shares = (SHARES[0], 0.0)
    if train[0].group is not None:
        rows = drawn_groups([sample.group for sample in train], shares, seed=0)
    else:
        rows = drawn([sample.label if roles.labels.classes else 0 for sample in train], shares, seed=0)
    return {part: [train[row] for row in sorted(rows[part])] for part in ("train", "valid")}


def _check_parts(parts: Mapping[str, Sequence[Sample]]) -> None:
    for part, samples in parts.items():
        if not samples:
            what = "train" if part == "train" else "test" if part == "test" else "validate"
            raise ValueError(
                f"Expected samples in the split '{part}', found none to {what}: give it some, or leave the split to "
                "the seed by --split none."
            )


def _uneven(parts: Mapping[str, Sequence[Sample]], classes: Sequence[str]) -> list[str]:
    """Warnings of classes that one side of a given split lacks."""
    here = {part: {sample.label for sample in samples} for part, samples in parts.items()}
    warnings = []
    for place, name in enumerate(classes):
        if place not in here["train"]:
            warnings.append(f"class '{name}' is not in the training split: it is never learned")
        elif place not in here["test"]:
            warnings.append(f"class '{name}' is not in the test split: nothing is known of it")
    return warnings

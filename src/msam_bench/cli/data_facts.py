"""What the verbs of `msam data` show of a data set: samples of each class, and what was prepared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.cli.screen import line

if TYPE_CHECKING:
    from msam_bench.data.store.manifest import Manifest

_SHOWN = 12
"""Classes whose samples are counted on the screen."""
_UNEVEN = 3.0
"""A largest class of so many times the samples of the smallest is warned of."""


def show_counts(counts: dict[str, int]) -> None:
    """Samples of each class, the largest first, and how uneven they are."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    total, (largest, most), (smallest, least) = sum(counts.values()), ordered[0], ordered[-1]
    shown = ordered if len(ordered) <= _SHOWN else [*ordered[: _SHOWN // 2], *ordered[-_SHOWN // 2 :]]
    listed = [f"{name} {count:,} ({100 * count / total:.1f} %)" for name, count in shown]
    if len(shown) < len(ordered):
        listed.insert(_SHOWN // 2, "...")
    line("samples of a class", ", ".join(listed))
    line("majority class", f"'{largest}': always naming it is right in {100 * most / total:.1f} % of all samples")
    if most >= _UNEVEN * max(least, 1):
        line(
            "warning",
            f"class '{largest}' has {most / max(least, 1):.1f} times the samples of '{smallest}': accuracy hides what "
            "happens to the small ones; compare it with the majority's",
        )


def show_prepared(folder: Path, manifest: Manifest) -> None:
    """What was prepared."""
    line("prepared", folder)
    for split, count in manifest.counts.items():
        line(split, f"{count:,} samples")
    for modality, spec in manifest.header.modalities.items():
        lacking = ", absent from some samples" if modality in manifest.header.partial else ""
        line(modality, f"{spec.kind} {list(spec.shape)}, stored as {spec.dtype}{lacking}")
    line("fingerprint", manifest.fingerprint)

"""Live watch: failure signatures of imbalance and of a perturbation that does nothing, reported in words, once each.

watch = Watch(("audio", "image"), alone={"image": 0.65})      # accuracies of encoders trained apart, where known
watch.check(rows)                                             # after every epoch: the sentences that are new
watch.warnings                                                # all so far

It reads the rows of `metrics.csv` alone, so that a resumed run reports the same as one that was never interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

Rows = Sequence[Mapping[str, float]]

SWITCHING = 0.5
"""Share of an epoch's batches at which the dominant modality changes, above which a warning is given."""
SPAN = 5
"""Epochs over which a trend is judged."""
TAU = 0.05
"""Mean tau over that many epochs below which its growth is no matter."""
RISE = 0.02
"""Growth of that mean, over the one of the epochs before, above which a warning is given."""
BEHIND = 0.05
"""Score by which a modality may be behind its own training apart."""


class Watch:
    """The failure signatures of one run.

    Args:
        modalities: in canonical order.
        alone: modality -> validation accuracy of the same encoder trained apart, for those that are known.
        still: whether the method has a radius, and it is zero.
    """

    def __init__(self, modalities: Sequence[str], alone: Mapping[str, float], still: bool = False) -> None:
        self.modalities, self.alone, self.still = tuple(modalities), dict(alone), still
        self.warnings: dict[str, str] = {}

    def check(self, rows: Rows) -> list[str]:
        """Warnings that the last row gives for the first time."""
        signs = {key: text for key, sign in _SIGNS.items() if (text := sign(self, rows))}
        signs |= {f"behind/{name}": text for name in self.modalities if (text := _behind(self, rows, name))}
        fresh = {key: text for key, text in signs.items() if key not in self.warnings}
        self.warnings |= fresh
        return list(fresh.values())

    def replay(self, rows: Rows) -> None:
        """Collects the warnings of earlier epochs, after a resumed run has read its rows."""
        for end in range(1, len(rows) + 1):
            self.check(rows[:end])


def _switching(watch: Watch, rows: Rows) -> str:
    rate = rows[-1].get("switching", 0.0)
    if rate <= SWITCHING:
        return ""
    return (
        f"Epoch {len(rows)}: the dominant modality changed at {100 * rate:.0f} % of the batches; raise the batch size "
        "or smooth the contributions (attribution.momentum=0.9)."
    )


def _rising(watch: Watch, rows: Rows) -> str:
    if len(rows) < 2 * SPAN:
        return ""
    before, last = (sum(row["tau"] for row in part) / SPAN for part in (rows[-2 * SPAN : -SPAN], rows[-SPAN:]))
    if not TAU <= last < math.inf or last - before <= RISE:
        return ""
    return (
        f"Epoch {len(rows)}: tau rises, from {before:.3f} on average to {last:.3f} over the last {SPAN} epochs: the "
        "model fits the training data ever better than the validation data."
    )


def _inactive(watch: Watch, rows: Rows) -> str:
    if not watch.still and all(rows[-1].get(key, 1.0) != 0.0 for key in ("sharpness", "climbs")):
        return ""
    return f"Epoch {len(rows)}: no batch was perturbed: rho or the gradients are zero, or too small to change the loss."


def _worthless(watch: Watch, rows: Rows) -> str:
    values = [rows[-1].get(f"contribution/{name}") for name in watch.modalities]
    if any(value is None or value != 0.0 for value in values):
        return ""
    return (
        f"Epoch {len(rows)}: all contributions were zero: no batch had a sample that any coalition got right; use "
        "attribution.value=probability until the model has learned something."
    )


def _behind(watch: Watch, rows: Rows, name: str) -> str:
    """Behind, and no longer catching up: in its first epochs every modality is behind a training that has ended."""
    key, apart = f"alone/{name}", watch.alone.get(name)
    if apart is None or len(rows) <= SPAN or key not in rows[-1]:
        return ""
    score = rows[-1][key]
    if apart - score <= BEHIND or score > rows[-1 - SPAN][key]:
        return ""
    return (
        f"Epoch {len(rows)}: {name} alone is at {100 * score:.1f} % on validation, {100 * (apart - score):.1f} points "
        f"behind the same encoder trained apart ({100 * apart:.1f} %), and has gained nothing for {SPAN} epochs."
    )


TITLES = {
    "switching": "the dominant modality switches often",
    "rising": "tau rises",
    "inactive": "the perturbation is never active",
    "worthless": "all contributions are zero",
    "behind": "a modality falls behind its training apart",
}
"""Signature -> what it is called where runs are counted."""

_SIGNS: dict[str, Callable[[Watch, Rows], str]] = {
    "switching": _switching,
    "rising": _rising,
    "inactive": _inactive,
    "worthless": _worthless,
}

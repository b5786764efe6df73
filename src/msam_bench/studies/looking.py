"""What a diagnosis looks at in a finished run beyond its summary: contributions in training, and probes of encoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msam_bench.restore import restored

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Look:
    """What was seen.

    Args:
        contributions: modality -> Shapley value of the training accuracy.
        probes: modality -> test accuracy of a ridge classifier on its frozen encoder.
    """

    contributions: dict[str, float]
    probes: dict[str, float]


def looked_at(record: Any) -> Look:
    """Looks at the selected model of a run; at its own modality alone where it was trained on one.

    Raises:
        ValueError: if the run is of values to regress.
    """
    from msam import shapley
    from msam_bench.probing import probe

    objective, dataset = restored(record)
    if not dataset.classes:
        raise ValueError(
            f"A diagnosis needs classes, but '{dataset.name}' has values to regress; compare methods instead."
        )
    wholes = {name: split.take(slice(None)) for name, split in dataset.splits.items()}
    own = record.config["method"]["params"].get("modality")
    names = dataset.modalities if own is None else (own,)
    features = {split: objective.features(inputs) for split, (inputs, _) in wholes.items()}
    target: dict[str, Tensor] = {split: labels for split, (_, labels) in wholes.items()}
    probes = {
        name: probe({split: found[name] for split, found in features.items()}, target, len(dataset.classes))
        for name in names
    }
    found = shapley(objective, *wholes["train"]).values if own is None else {}
    return Look(found, probes)

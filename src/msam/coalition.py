"""Coalitions: which modalities are present, and what an absent one looks like.

    lattice(2)                                    # [[1, 0], [0, 1], [1, 1]]: {first}, {second}, both
    mixed(features, absent, lattice(2))           # every coalition's features as one batch

Removing a modality is a modelling choice, and each choice is another game (Covert et al. 2021, arXiv 2011.14878):
`zero-input` feeds the encoder zeros (the M-SAM paper, Appendix B), `zero-feature` replaces its output by zeros,
`mean-feature` by the mean over the batch, `shuffle` by the output of another sample of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from msam.nested import rows_of, samples_in, zeros_of
from msam.types import Coalition, Features, Inputs

Absent = Literal["zero-input", "zero-feature", "mean-feature", "shuffle"]
ABSENT: tuple[Absent, ...] = get_args(Absent)


@cache
def lattice(count: int) -> Tensor:
    """All non-empty coalitions of `count` modalities, smallest first: booleans `[2**count - 1, count]`."""
    members = [chosen for size in range(1, count + 1) for chosen in combinations(range(count), size)]
    return torch.tensor([[player in chosen for player in range(count)] for chosen in members])


def extremes(count: int) -> Tensor:
    """Each of two or more modalities alone, all but each, and all: booleans `[2 count + 1, count]`."""
    alone = torch.eye(count, dtype=torch.bool)
    return torch.cat([alone, ~alone, torch.ones(1, count, dtype=torch.bool)])


def coalition_of(mask: Tensor, modalities: Sequence[str]) -> Coalition:
    """The names behind one row of a mask."""
    return frozenset(name for name, present in zip(modalities, mask.tolist(), strict=True) if present)


def masks_of(coalitions: Sequence[Coalition], modalities: Sequence[str]) -> Tensor:
    """Coalitions of names as booleans `[coalitions, modalities]`."""
    return torch.tensor([[name in coalition for name in modalities] for coalition in coalitions])


def absent_features(
    kind: Absent, features: Features, encode_zeros: Callable[[str], Tensor], generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """What each modality's feature is when the modality is absent.

    Args:
        kind: one of `ABSENT`.
        features: present features, `[batch, ...]` each.
        encode_zeros: modality -> its encoder's output for an all-zero input, `[1, ...]`.
        generator: draws the partners of `shuffle`; one partner a sample and modality.

    Returns:
        `[1, ...]` or `[batch, ...]` for each modality.
    """
    replacements: dict[str, Callable[[str, Tensor], Tensor]] = {
        "zero-input": lambda name, feature: encode_zeros(name),
        "zero-feature": lambda name, feature: torch.zeros_like(feature[:1]),
        "mean-feature": lambda name, feature: feature.mean(0, keepdim=True),
        "shuffle": lambda name, feature: _shuffled(feature, generator),
    }
    return {name: replacements[kind](name, feature) for name, feature in features.items()}


def absent_inputs(
    kind: Absent, inputs: Inputs, generator: torch.Generator | None = None, batch: int | None = None
) -> dict[str, Any]:
    """What each input is when its modality is absent, for models that show no encoders.

    Args:
        kind: one of `ABSENT`.
        inputs: modality -> `[batch, ...]`.
        generator: draws the partners of `shuffle`.
        batch: number of samples, which the inputs tell if None.

    Raises:
        ValueError: if `kind` speaks of features, which such a model does not have.
    """
    if kind in ("zero-feature", "mean-feature"):
        raise ValueError(
            f"absent={kind!r} replaces encoder outputs, but this model exposes no `encoders` and `fuse`; "
            "give it both (see FusionModel) or use absent='zero-input' or 'shuffle'."
        )
    if kind == "zero-input":
        return {name: zeros_of(value) for name, value in inputs.items()}
    counts = (count for count in map(samples_in, inputs.values()) if count is not None)
    size = next(counts, 0) if batch is None else batch
    return {name: rows_of(value, torch.randperm(size, generator=generator), size) for name, value in inputs.items()}


def mixed(present: Features, absent: Features, masks: Tensor) -> dict[str, Tensor]:
    """The features of several coalitions as one batch.

    Args:
        present: features `[batch, ...]`.
        absent: features `[1, ...]` or `[batch, ...]`.
        masks: booleans `[coalitions, modalities]`, columns in the order of `present`.

    Returns:
        Features `[coalitions * batch, ...]`, coalition by coalition.
    """
    return {
        name: _choose(masks[:, column], feature, absent[name].to(feature.dtype)).flatten(0, 1)
        for column, (name, feature) in enumerate(present.items())
    }


def _choose(chosen: Tensor, feature: Tensor, replacement: Tensor) -> Tensor:
    selector = chosen.view(-1, *[1] * feature.dim())
    return torch.where(selector, feature.unsqueeze(0), replacement.unsqueeze(0))


def _shuffled(tensor: Tensor, generator: torch.Generator | None) -> Tensor:
    return tensor[torch.randperm(len(tensor), generator=generator).to(tensor.device)]

"""The words the library speaks in: one documented alias or frozen dataclass each.

An example.

    inputs = {"audio": Tensor[batch, ...], "image": Tensor[batch, ...]}      # Inputs
    outcome = backward(inputs, target)                                       # Outcome
    outcome.notes["dominant"], outcome.notes["contributions/audio"]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

Inputs = Mapping[str, Tensor]
"""One batch: modality -> tensor whose first dimension is the batch; see `msam.presence` for samples that lack some."""

Features = Mapping[str, Tensor]
"""Encoder outputs: modality -> tensor whose first dimension is the batch."""

Coalition = frozenset[str]
"""The modalities that are present; the others look as the attribution's `absent` says."""

Criterion = Callable[[Tensor, Tensor], Tensor]
"""(logits, target) -> scalar loss, averaged over the batch."""

Value = Callable[[Tensor, Tensor], Tensor]
"""(logits [coalitions, batch, ...], target [batch, ...]) -> worth of each coalition [coalitions]."""

Gradients = dict[Tensor, Tensor]
"""Weight -> its gradient, for the weights that a loss reaches."""

Batches = Iterable[tuple[Inputs, Tensor]]
"""(inputs, target) again and again: each iteration starts anew, like a DataLoader's."""


@dataclass
class Counts:
    """Passes made so far, counted as they happen: those on a part of a batch as that part, those of one sample not.

    Args:
        forwards: of the whole model.
        backwards: back-propagations into the model, whole or through a part of it.
        fusions: forward passes of the fusion, within whole passes or alone, coalition by coalition.
        encoder_forwards: forward passes of each encoder, within whole passes or alone.
        encoder_backwards: back-propagations that reached each encoder.
    """

    forwards: float = 0
    backwards: float = 0
    fusions: float = 0
    encoder_forwards: Counter[str] = field(default_factory=Counter)
    encoder_backwards: Counter[str] = field(default_factory=Counter)

    def add(self, other: Counts, part: float) -> None:
        """Counts passes that were made on a part of a batch."""
        self.forwards += part * other.forwards
        self.backwards += part * other.backwards
        self.fusions += part * other.fusions
        self.encoder_forwards.update({name: part * count for name, count in other.encoder_forwards.items()})
        self.encoder_backwards.update({name: part * count for name, count in other.encoder_backwards.items()})


@dataclass(frozen=True)
class Contributions:
    """What each modality adds to the worth of all of them together, on one batch.

    Kept as tensors until somebody reads a number, so that a training step does not wait for the device.

    Args:
        modalities: the names, in canonical order.
        shapley: Shapley values, `[modalities]`.
        shares: normalised values that sum to one, `[modalities]`.
        index: position of the modality taken as dominant, a 0-d integer tensor.
    """

    modalities: tuple[str, ...]
    shapley: Tensor
    shares: Tensor
    index: Tensor

    @property
    def values(self) -> dict[str, float]:
        """Shapley value of each modality, in units of the value function."""
        return dict(zip(self.modalities, self.shapley.tolist(), strict=True))

    @property
    def weights(self) -> dict[str, float]:
        """Normalised contribution of each modality; they sum to one."""
        return dict(zip(self.modalities, self.shares.tolist(), strict=True))

    @property
    def dominant(self) -> str:
        """The modality taken as dominant: the one with the largest Shapley value, unless a control says otherwise."""
        return self.modalities[int(self.index)]


Note = Tensor | float | str | Contributions
"""What a method may leave in an outcome; tensors are 0-d."""


@dataclass(frozen=True)
class Outcome:
    """What one `backward` leaves behind besides the gradients; everything is detached.

    Args:
        loss: the mean loss of the batch at the weights as they are, 0-d.
        logits: the model's output of the batch, `[batch, classes]`.
        record: the method's measurements, as tensors until `notes` is read.
    """

    loss: Tensor
    logits: Tensor
    record: Mapping[str, Note] = field(default_factory=dict)

    @cached_property
    def notes(self) -> dict[str, float | str]:
        """The measurements as a flat dict of floats and strings (`contributions/audio`, `dominant`, `share`, ...)."""
        flat: dict[str, float | str] = {}
        for name, note in self.record.items():
            if isinstance(note, Contributions):
                flat |= {f"{name}/{modality}": value for modality, value in note.values.items()}
                flat["dominant"] = note.dominant
            else:
                flat[name] = note if isinstance(note, str) else float(note)
        return flat

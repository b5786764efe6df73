"""Where and how a run computes: its device, its precision, and what the record says of both.

machine = Machine.of(config)
backward = method.on(model.to(machine.device), criterion, **machine.options())
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from msam_bench.config.run import RunConfig
    from msam_bench.training.metrics import Score, Worth

_HALF = {"bf16": torch.bfloat16, "16": torch.float16}


@dataclass(frozen=True)
class Machine:
    """A device and a precision.

    Args:
        device: where model and batches are.
        precision: `32`, `bf16` or `16`.
        scaler: what scales losses in precision 16.
    """

    device: torch.device
    precision: str
    scaler: torch.amp.GradScaler | None = None

    @classmethod
    def of(cls, config: RunConfig) -> Machine:
        """The machine of a run.

        Raises:
            ValueError: a device that is not here.
        """
        device = find_device(config.device)
        return cls(device, config.precision, torch.amp.GradScaler(device.type) if config.precision == "16" else None)

    @property
    def half(self) -> torch.dtype | None:
        """The type of forward passes in reduced precision."""
        return _HALF.get(self.precision)

    def options(self) -> dict[str, Any]:
        """The arguments of `Method.on` for this precision."""
        if self.half is None:
            return {}
        return {"context": self.context} | ({"backward": _scaled(self.scaler)} if self.scaler else {})

    def context(self) -> AbstractContextManager[Any]:
        """Forward passes in reduced precision."""
        return torch.autocast(self.device.type, self.half)

    def score(self, score: Score) -> Score:
        """A score that takes outputs of reduced precision as single precision."""
        if self.half is None:
            return score
        criterion, worth = score.criterion, score.worth
        return replace(
            score, criterion=lambda outputs, target: criterion(outputs.float(), target), worth=_single(worth)
        )

    def record(self) -> dict[str, Any]:
        """Device and precision, for the record."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)
        return {"device": name, "precision": self.precision}

    def random(self) -> Tensor | None:
        """The state of the device's random stream; None of the CPU, whose stream is kept anyway."""
        return torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None

    def draw_from(self, state: Tensor | None) -> None:
        """Continues the device's random stream."""
        if state is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state.clone(), self.device)


def find_device(name: str) -> torch.device:
    """The device of that name; `auto` is a CUDA device where there is one, else the CPU.

    Raises:
        ValueError: it is not here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ValueError(f"Expected the device {name}, found {count} CUDA devices here; take --device auto or cpu.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("Expected the device mps, found none here; take --device auto or cpu.")
    return device


def _scaled(scaler: torch.amp.GradScaler) -> Callable[[Tensor], None]:
    """Back-propagates a scaled loss."""
    plain: Callable[[Tensor], None] = Tensor.backward
    return lambda loss: plain(scaler.scale(loss))


def _single(worth: Callable[[Tensor], Worth]) -> Callable[[Tensor], Worth]:
    def of_split(target: Tensor) -> Worth:
        of_sample = worth(target)
        return lambda outputs, part: of_sample(outputs.float(), part)

    return of_split

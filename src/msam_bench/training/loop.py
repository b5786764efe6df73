"""The training loop: a bound method, an optimizer, batches, and what is done after each epoch left to the caller.

    loop = Loop(model, method.on(model, criterion), optimizer, lambda epoch: train_loader)
    for epoch in loop.epochs(20):
        print(epoch.number, epoch.loss, evaluator.evaluate("valid"))   # evaluation, checkpoints, early stopping

Everything that decides the rest of a training is in `state_dict`, but the random stream, which its owner keeps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from msam.batches import moved
from msam.types import Batches, Inputs
from msam_bench.training.distributed import ProcessGroup
from msam_bench.training.divergence import Diverged
from msam_bench.training.epoch import Epoch
from msam_bench.training.passes import PassCount
from msam_bench.training.updates import Update

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from msam.method import Backward


@dataclass(frozen=True)
class TrainedEpoch:
    """The measurements of one epoch of training.

    Args:
        number: of epochs trained so far.
        rate: learning rate of the first group of parameters.
        loss: mean training loss, each sample counted once.
        notes: means of the method's notes over batches.
        seconds: of training so far.
    """

    number: int
    rate: float
    loss: float
    notes: Mapping[str, float]
    seconds: float


class Loop:
    """A training that goes epoch by epoch.

    Args:
        model: the model itself; `backward` may hold it in a data-parallel wrapper.
        backward: the method bound to it.
        optimizer: of the parameters of the model and of the method.
        batches: epoch, from 0 -> its batches `(inputs, target)`, this process's part of each; see `Unpacked`.
        sets: `train` and `valid` in order, for methods that learn after an epoch.
        scheduler: stepped after each epoch.
        update: how gradients become a step of the optimizer.
        stop: asked after each batch whether the epoch ends there.
        progress: epochs done -> the share of the training that is over, for methods with a schedule.
        passes: counts the passes of the method.
        processes: that train together.
        name: of the training, for messages.
    """

    def __init__(
        self,
        model: nn.Module,
        backward: Backward,
        optimizer: Optimizer,
        batches: Callable[[int], Iterable[tuple[Inputs, Tensor]]],
        *,
        sets: Mapping[str, Batches] | None = None,
        scheduler: LRScheduler | None = None,
        update: Update | None = None,
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[[int], float] | None = None,
        passes: PassCount | None = None,
        processes: ProcessGroup | None = None,
        name: str = "",
    ) -> None:
        self.model, self.backward, self.optimizer, self.batches = model, backward, optimizer, batches
        self.sets, self.scheduler, self.stop = dict(sets or {}), scheduler, stop
        self.update, self.progress = update or Update(), progress
        self.passes = passes or PassCount(backward.objective)
        self.processes = processes or ProcessGroup()
        self.name, self.epoch, self.seconds = name, 0, 0.0
        self.dominance: dict[str, Any] = {"last": None, "switches": 0, "pairs": 0}

    def epochs(self, until: int | Callable[[int], bool]) -> Iterator[TrainedEpoch]:
        """Trains epoch by epoch, from where the loop is.

        Args:
            until: how many epochs in all, or whether to stop after so many.

        Raises:
            Diverged: a training loss that is not finite.
        """
        over = until if callable(until) else until.__le__
        while not over(self.epoch):
            yield self.train_epoch()

    def train_epoch(self) -> TrainedEpoch:
        """Trains one epoch.

        Raises:
            Diverged: a training loss that is not finite.
        """
        started = time.monotonic()
        self.model.train()
        if self.progress is not None:
            group = self.optimizer.param_groups[0]
            self.backward.progress(self.progress(self.epoch), group["lr"] / group.get("initial_lr", group["lr"]))
        epoch = Epoch(self.dominance)
        for _ in self._steps(epoch):
            if self.stop():
                break
        self.update.finish(self.optimizer)
        self.processes.broadcast_buffers(self.model)
        self.backward.next_epoch(**{name: _Moved(self.backward, batches) for name, batches in self.sets.items()})
        rate = self._step_schedule()
        self.epoch += 1
        means = self.processes.average({"loss": epoch.loss, **epoch.notes()}, epoch.samples)
        loss = means.pop("loss")
        if not math.isfinite(loss):
            of_run = f" of {self.name}" if self.name else ""
            raise Diverged(f"The training loss became {loss} in epoch {self.epoch}{of_run}; lower lr or rho.")
        self.seconds += time.monotonic() - started
        return TrainedEpoch(self.epoch, rate, loss, means, self.seconds)

    @property
    def switching(self) -> float | None:
        """The share of batches at which the dominant modality changed; None if none was named."""
        return self.dominance["switches"] / self.dominance["pairs"] if self.dominance["pairs"] else None

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {
            "epoch": self.epoch,
            **{name: part.state_dict() for name, part in self._parts().items()},
            "dominance": self.dominance,
            "cost": self.passes.state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state.

        Raises:
            KeyError, RuntimeError, TypeError, ValueError: it is not of this training.
        """
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.epoch, self.dominance = state["epoch"], state["dominance"]
        self.passes.resume(state["cost"])

    def _parts(self) -> dict[str, Any]:
        """The parts with a `state_dict`, by their keys in a checkpoint."""
        parts: dict[str, Any] = {"model": self.model, "method": self.backward.method, "optimizer": self.optimizer}
        if self.update.scaler:
            parts["scaler"] = self.update.scaler
        return parts | ({"scheduler": self.scheduler} if self.scheduler else {})

    def _steps(self, epoch: Epoch) -> Iterator[None]:
        """The steps of an epoch, one a batch."""
        for inputs, target in moved(self.backward.objective, self.batches(self.epoch)):
            outcome = self.backward(inputs, target)
            self.update.step(self.optimizer)
            epoch.add(outcome, len(target))
            yield

    def _step_schedule(self) -> float:
        """The learning rate of the epoch; the scheduler goes on to the next one."""
        rate = float(self.optimizer.param_groups[0]["lr"])
        if self.scheduler:
            self.scheduler.step()
        return rate


@dataclass(frozen=True)
class _Moved:
    """Batches on the model's device, again and again."""

    backward: Backward
    batches: Batches

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        return moved(self.backward.objective, self.batches)

"""From gradients to a step of the optimizer: accumulation over batches and clipping, both off by default.

update = Update(accumulate=4, clip=1.0)
update.step(optimizer)                             # after each batch; the optimizer steps after every fourth
update.finish(optimizer)                           # after an epoch: steps on what is left
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor
    from torch.amp import GradScaler
    from torch.optim import Optimizer


@dataclass
class Update:
    """The rule that turns gradients into a step.

    Args:
        accumulate: batches a step; the step is along the mean of their gradients.
        clip: largest norm of the gradient of a step; unlimited if None.
        scaler: what scaled the losses of these gradients, in half precision; it leaves out steps that overflow.

    Raises:
        ValueError: no batch a step, or a norm that is not positive.
    """

    accumulate: int = 1
    clip: float | None = None
    scaler: GradScaler | None = None
    batches: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ValueError(f"Expected at least one batch a step, found {self.accumulate}; set accumulate to 1.")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"Expected a positive norm to clip gradients to, found {self.clip}; leave clip out.")

    def step(self, optimizer: Optimizer) -> None:
        """Counts the batch whose gradient is in `.grad`, and steps where it is the last of a step."""
        self.batches += 1
        if self.batches == self.accumulate:
            self.finish(optimizer)

    def finish(self, optimizer: Optimizer) -> None:
        """Steps along the mean of the gradients that are accumulated, if there are any, and clears them."""
        if not self.batches:
            return
        if self.batches > 1:
            for weight in _weights(optimizer):
                if weight.grad is not None:
                    weight.grad /= self.batches
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)
        if self.clip is not None:
            nn.utils.clip_grad_norm_(_weights(optimizer), self.clip)
        self._step(optimizer)
        optimizer.zero_grad()
        self.batches = 0

    def _step(self, optimizer: Optimizer) -> None:
        """The optimizer's step; where losses were scaled, only of gradients that are finite."""
        if self.scaler is None:
            optimizer.step()
            return
        self.scaler.step(optimizer)
        self.scaler.update()


def _weights(optimizer: Optimizer) -> Iterator[Tensor]:
    """Everything that the optimizer trains."""
    return (weight for group in optimizer.param_groups for weight in group["params"])

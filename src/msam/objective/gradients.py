"""Gradients of losses that a method builds itself, as often as needed, and one addition to `.grad`.

    live = objective.forward(inputs, target)
    shared = objective.compute_gradients(live.loss, objective.parameters())      # weight -> gradient
    objective.add_gradients({weight: 0.5 * g for weight, g in shared.items()})

Nothing is written before the last line.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log
from typing import Any

import torch
from torch import Tensor

from msam.blocks import dense
from msam.deprecation import Renamed
from msam.objective.differentiation import REENTRANT, differentiate, nested_backward
from msam.objective.passes import Passes
from msam.objective.wrappers import keeping_buffers
from msam.types import Gradients


class LossGradients:
    """Gradients as mappings, in the loss's own units.

    Args:
        passes: how passes are made.
    """

    def __init__(self, passes: Passes) -> None:
        self.passes, self.view, self.runtime = passes, passes.view, passes.runtime
        self._looks = 8  # how many graphs are still looked through
        self._sparse: dict[Tensor, int] = {}  # weights whose gradients are sparse, and in how many dimensions

    def compute_gradients(self, loss: Tensor, weights: Iterable[Tensor], *, create_graph: bool = False) -> Gradients:
        """Gradients of a loss, of this rank, in the loss's own units; weights that it does not reach are left out.

        The graph is kept, so that several losses of one pass can be asked one after the other; sparse gradients (of
        embeddings) come as dense ones, which can be combined with any other. The user's loss scale is
        applied on the way, against underflow in half precision, and taken out of the result. What is returned is not to
        be changed in place: two weights may share one tensor.

        Args:
            loss: 0-d, built from a pass with its graph.
            weights: parameters, features or logits to differentiate with respect to.
            create_graph: keep what differentiating the result needs.
        """
        weights, scale = list(weights), self.scale()
        if not weights:
            return {}
        ranks = self.passes.distributed.active
        with keeping_buffers(self.view.is_compiled), self.passes.backward_like_the_pass(weights):
            slopes = differentiate(
                [loss * scale],
                weights,
                self.view.parameters,
                create_graph=create_graph,
                ranks=ranks,
                hidden=self.view.encoder_parameters,
                nested=self._nested_backward(loss),
            )
        given = [(weight, g) for weight, g in zip(weights, slopes, strict=True) if g is not None]
        self._sparse |= {weight: g.sparse_dim() for weight, g in given if g.is_sparse}
        reached = {weight: dense(g) / scale if isinstance(scale, Tensor) else dense(g) for weight, g in given}
        self.runtime.count_gradients(reached)
        return reached

    def _nested_backward(self, loss: Tensor) -> str | None:
        """Looks for what back-propagates on its own, in the first graphs and as long as there is a checkpoint."""
        if not self._looks:
            return None
        nested = nested_backward([loss])
        self._looks = self._looks if nested == REENTRANT else self._looks - 1
        return nested

    __call__ = Renamed("compute_gradients")

    def add_gradients(self, gradients: Gradients) -> None:
        """Adds gradients to `.grad` as if they had been back-propagated: scaled, shared and sparse, alike.

        Args:
            gradients: of the loss in its own units; one call a `forward`, with all of them.
        """
        values = [g.to_sparse(self._sparse[w]) if w in self._sparse else g for w, g in gradients.items()]
        if values:
            deposit = _Deposit.apply(values, *gradients)  # type: ignore[no-untyped-call]
            self.runtime.backward(deposit if self.runtime.weight is None else self.runtime.times_weight(deposit))

    def scale(self) -> Tensor | float:
        """What the user's `backward` multiplies gradients by, measured on a loss of one; the float 1 if nothing."""
        if self.runtime.backward is Tensor.backward:
            return 1.0
        one = torch.ones((), device=self.view.device, requires_grad=True)
        with self.passes.distributed.on_this_rank():
            self.passes.probe(one.clone())
        return 1.0 if one.grad is None else one.grad

    def unit(self, logits: Tensor, target: Tensor) -> Tensor:
        """What one cross-entropy is in units of the criterion: its value for equal logits over `log(classes)`.

        1 for cross-entropy, 1/4 for a quarter of it; 1 where the criterion gives no scale (a single output, a loss that
        vanishes). For methods that compare or add a loss to a number without a unit.
        """
        even = torch.zeros_like(logits, dtype=torch.promote_types(logits.dtype, torch.float32))
        loss = self.passes.loss(even, target).detach()
        entropy = log(logits.shape[1]) if logits.dim() > 1 else 0.0
        return loss / entropy if entropy and loss.isfinite() and loss > 0 else torch.ones_like(loss)


class _Deposit(torch.autograd.Function):
    """A loss of zero whose gradient is what one says it is."""

    @staticmethod
    def forward(ctx: Any, gradients: list[Tensor], *weights: Tensor) -> Tensor:
        ctx.gradients = gradients
        return weights[0].new_zeros((), dtype=weights[0].dtype.to_real())

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *torch._foreach_mul(ctx.gradients, slope))

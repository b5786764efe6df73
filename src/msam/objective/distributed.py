"""Ranks of data-parallel training: whose gradients are shared, and means over all of them.

distributed.average(values, len(target))     # the same on every rank; values themselves without ranks
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from msam.blocks import dense, real
from msam.objective.model_view import ModelView
from msam.objective.wrappers import is_joining


class Distributed:
    """The ranks that train copies of one model.

    Args:
        view: the model.

    Attributes:
        active: whether there are ranks to agree with.
        is_static: whether passes go past the wrapper, because it allows one graph only.
    """

    def __init__(self, view: ModelView) -> None:
        self.view = view
        self.wrapper = view.parallel
        self.active = self.wrapper is not None
        self.is_static = self.wrapper is not None and self.wrapper.static_graph

    def average(self, values: Tensor, count: int) -> Tensor:
        """Mean over the ranks of data-parallel training, each weighted by its number of samples."""
        if self.wrapper is None:
            return values
        self._refuse_join()
        total = torch.cat([values.flatten() * count, values.new_tensor([count])])
        torch.distributed.all_reduce(total, group=self.wrapper.process_group)
        return (total[:-1] / total[-1]).view_as(values)

    def share_gradients(self, weights: Iterable[Tensor] | None = None) -> None:
        """Averages `.grad` over the ranks, for passes that the data-parallel wrapper did not see; one reduction.

        Args:
            weights: which ones; the model's if None.
        """
        if self.wrapper is None or not self.wrapper.require_backward_grad_sync:
            return
        self.wrapper.require_forward_param_sync = True  # as after a pass of its own: the next one spreads buffers first
        self.average_gradients(self.view.parameters() if weights is None else weights)

    def average_gradients(self, weights: Iterable[Tensor]) -> None:
        """Averages `.grad` over the ranks, also within the user's `no_sync`: for an ascent that all ranks share."""
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        if self.wrapper is None or not gradients:
            return
        self._refuse_join()
        shown = [real(dense(gradient)) for gradient in gradients]
        together = torch.cat([tensor.flatten() for tensor in shown])
        torch.distributed.all_reduce(together, group=self.wrapper.process_group)
        together /= torch.distributed.get_world_size(self.wrapper.process_group)
        parts = torch.split(together, [tensor.numel() for tensor in shown])
        for gradient, tensor, part in zip(gradients, shown, parts, strict=True):
            mean = part.view_as(tensor)
            real(gradient).copy_(mean.to_sparse(gradient.sparse_dim()) if gradient.is_sparse else mean)

    def on_this_rank(self) -> AbstractContextManager[Any]:
        """Gradients that are back-propagated inside stay on their rank."""
        return nullcontext() if self.wrapper is None or self.is_static else self.wrapper.no_sync()

    def spread_buffers(self) -> None:
        """Gives all ranks the first one's buffers, as the wrapper does before a pass that goes through it."""
        wrapper = self.wrapper
        if wrapper is None:
            return
        if wrapper.broadcast_buffers and wrapper.require_forward_param_sync:
            first = torch.distributed.get_global_rank(wrapper.process_group, 0)
            for buffer in self.view.bare.buffers():
                torch.distributed.broadcast(buffer, first, group=wrapper.process_group)
        wrapper.require_forward_param_sync = wrapper.require_backward_grad_sync  # as after a pass of its own

    def _refuse_join(self) -> None:
        if self.wrapper is not None and is_joining(self.wrapper):
            raise ValueError(
                "Within join() a rank may have no batch left, but this method measures something on all ranks in every "
                "batch; give each rank as many batches (DistributedSampler does) and leave join() out."
            )

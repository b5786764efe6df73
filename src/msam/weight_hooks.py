"""Hooks that a user has put on weights: each is called once a batch, on the gradient that arrives in `.grad`.

    with without_hooks(weights):
        slopes = torch.autograd.grad(loss, weights)          # of the loss alone
    hooked(weight, slope)                                    # what a plain backward pass would have made of it
    with deferred_optimizers(weights): ...                   # optimizers that step inside backward wait until the end

Tensor hooks (`register_hook`) mask or scale a gradient; hooks after accumulation
(`register_post_accumulate_grad_hook`) often step an optimizer. Torch has no public name for either list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from msam.types import Gradients

_BEFORE, _AFTER = "_backward_hooks", "_post_accumulate_grad_hooks"
STEPPED = (
    "Expected weights to stay while a method computes its gradient, found that a backward pass has changed them: an "
    "optimizer steps inside it; step once after `backward(inputs, target)`, or from register_post_accumulate_grad_hook."
)
changed_by_hooks = attrgetter(_BEFORE)
"""The hooks of a weight that may change its gradient, if it has any."""

steps_in_backward = attrgetter(_AFTER)
"""The hooks of a weight that may step an optimizer, if it has any."""


@contextmanager
def without_hooks(weights: Iterable[Tensor]) -> Iterator[None]:
    """No hook of these leaves is called inside."""
    weights = [weight for weight in weights if changed_by_hooks(weight) or steps_in_backward(weight)]
    if not weights:
        yield
        return
    with _emptied(weights, _BEFORE), _emptied(weights, _AFTER):
        yield


@contextmanager
def deferred_optimizers(weights: Sequence[Tensor]) -> Iterator[None]:
    """Hooks after accumulation are called on leaving, once for each weight that has a gradient; not after an error."""
    with _emptied(weights, _AFTER) as waiting:
        yield
    for weight, hooks in waiting:
        for hook in list(hooks.values()) if weight.grad is not None else ():
            hook(weight)


def hooked(gradients: Gradients) -> Gradients:
    """Gradients as the tensor hooks of their weights leave them.

    Raises:
        RuntimeError: if a hook moves its weight.
    """
    touched = [weight for weight in gradients if weight.is_leaf and getattr(weight, _BEFORE, None)]
    before = fingerprint(touched)
    through = {weight: _through(weight, gradient) for weight, gradient in gradients.items()}
    if before != fingerprint(touched):
        raise RuntimeError(STEPPED)
    return through


def fingerprint(weights: Sequence[Tensor]) -> list[float]:
    """Norms, which differ once weights have moved."""
    return torch.stack(torch._foreach_norm(list(weights))).tolist() if weights else []


def _through(weight: Tensor, gradient: Tensor) -> Tensor:
    for hook in list((getattr(weight, _BEFORE, None) or {}).values()) if weight.is_leaf else ():
        changed = hook(gradient)
        gradient = gradient if changed is None else changed
    return gradient


@contextmanager
def _emptied(weights: Iterable[Tensor], kind: str) -> Iterator[list[tuple[Tensor, dict[int, Any]]]]:
    """Takes the hooks of one kind away; inside, what was taken."""
    lists = [(weight, getattr(weight, kind, None)) for weight in weights if weight.is_leaf]
    taken = [(weight, hooks, dict(hooks)) for weight, hooks in lists if hooks]
    for _, hooks, _ in taken:
        hooks.clear()
    try:
        yield [(weight, saved) for weight, _, saved in taken]
    finally:
        for _, hooks, saved in taken:
            later = dict(hooks)
            hooks.clear()
            hooks.update(saved | later)

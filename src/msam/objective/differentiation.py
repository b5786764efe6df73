"""Gradients that leave `.grad` as it was, also where a part of the graph back-propagates on its own.

    slopes = differentiate([loss], weights, objective.parameters)       # one a weight, None if not reached

`torch.autograd.grad` sees the graph that a forward pass has left. A reentrant checkpoint is one node in it: its weights
are found when it is back-propagated, by a backward pass of its own into `.grad`, so there the gradients are collected.
Hooks on weights are left to whoever adds a gradient to `.grad`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from msam.model_state import collected_gradients
from msam.weight_hooks import without_hooks

REENTRANT = "CheckpointFunctionBackward"
"""Name of the node that a reentrant checkpoint leaves in a graph."""

_ISOLATED = "_IsolatedBackward"
"""Name of the library's own (`msam.objective.isolated`), which hides nothing."""


_REFUSED = (
    "A reentrant checkpoint hides weights from gradients that a method takes apart {}; pass use_reentrant=False to "
    "torch.utils.checkpoint, or to gradient_checkpointing_enable(gradient_checkpointing_kwargs=...)."
)


def differentiate(
    outputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    trained: Callable[[], Iterable[Tensor]],
    *,
    along: Sequence[Tensor] | None = None,
    create_graph: bool = False,
    ranks: bool = False,
    hidden: Callable[[], Collection[Tensor]] = tuple,
    nested: str | None = None,
) -> Sequence[Tensor | None]:
    """`d (sum of outputs) / d weights`, None for a weight that is not reached; the graph is kept.

    Args:
        outputs: 0-d, or of any shape with `along`.
        weights: parameters, or tensors within the graph.
        trained: gives the parameters that a part of the graph may back-propagate into on its own.
        along: the gradient of something by each output.
        create_graph: keep what differentiating the result needs.
        ranks: a data-parallel wrapper listens to what is accumulated.
        hidden: gives the weights that a function of Python may hide, if they are not reached.
        nested: what `nested_backward` has found, None if it has found nothing or was not asked.

    Raises:
        ValueError: if a reentrant checkpoint makes it impossible.
    """
    leaves = {weight for weight in weights if weight.is_leaf}
    if nested != REENTRANT or not leaves:
        with without_hooks(leaves):
            slopes = _slopes(outputs, weights, along, create_graph)
        unreached = leaves.intersection(w for w, slope in zip(weights, slopes, strict=True) if slope is None)
        nested = nested_backward(outputs) if unreached and not unreached.isdisjoint(hidden()) else None
        if nested is None or (nested != REENTRANT and (create_graph or ranks)):
            return slopes
    if create_graph or ranks:
        raise ValueError(_REFUSED.format("in data-parallel training" if ranks else "twice"))
    between = iter(_slopes(outputs, [weight for weight in weights if weight not in leaves], along, False))
    every = {*trained(), *leaves, *_leaves(outputs)}
    with without_hooks(every), collected_gradients(every) as collected:
        torch.autograd.backward(list(outputs), None if along is None else list(along), retain_graph=True)
        return [collected(weight) if weight in leaves else next(between) for weight in weights]


def _slopes(
    outputs: Sequence[Tensor], weights: Sequence[Tensor], along: Sequence[Tensor] | None, create_graph: bool
) -> Sequence[Tensor | None]:
    if not weights:
        return []
    try:
        return torch.autograd.grad(
            outputs, list(weights), along, retain_graph=True, create_graph=create_graph, allow_unused=True
        )
    except RuntimeError as error:
        if "use_reentrant" not in str(error):
            raise
        raise ValueError(_REFUSED.format("at its output")) from error


def nested_backward(outputs: Iterable[Tensor]) -> str | None:
    """Name of a node that may back-propagate on its own: a reentrant checkpoint, else any function of Python."""
    nodes: set[Any] = set(_nodes(outputs))
    inner = {nested_backward([node.output]) for node in nodes if _name(node) == _ISOLATED}
    names = {_name(node) for node in nodes if isinstance(node, BackwardCFunction)} - {_ISOLATED}
    names |= {name for name in inner if name is not None}
    return REENTRANT if REENTRANT in names else min(names, default=None)


def node_names(outputs: Iterable[Tensor]) -> set[str]:
    """Names of the operations behind some tensors."""
    return {_name(node) for node in _nodes(outputs)}


def _leaves(outputs: Iterable[Tensor]) -> Iterator[Tensor]:
    """The tensors that the graph accumulates gradients into."""
    nodes: set[Any] = set(_nodes(outputs))
    return (node.variable for node in nodes if _name(node) == "torch::autograd::AccumulateGrad")


def _name(node: Any) -> str:
    """A function of Python may keep a `name` of its own where others answer to it."""
    name: str = type(node).__name__ if isinstance(node, BackwardCFunction) else node.name()
    return name


def _nodes(outputs: Iterable[Tensor]) -> set[torch.autograd.graph.Node]:
    """The operations behind some tensors."""
    waiting, seen = [output.grad_fn for output in outputs], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [behind for behind, _ in node.next_functions]
    return seen

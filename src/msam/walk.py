"""The modules and parameters of a model, in torch's own order, without the names that torch would build on the way.

modules(model)                     # what list(model.modules()) is, several times as fast
parameters(model)                  # what list(model.parameters()) is

A training step asks several times; on a small model the names would take longer than the arithmetic.
"""

from __future__ import annotations

from torch import nn


def modules(model: nn.Module) -> list[nn.Module]:
    """A model and all modules in it, each once, outer ones first."""
    found: dict[nn.Module, None] = {}
    waiting: list[nn.Module | None] = [model]
    while waiting:
        module = waiting.pop()
        if module is not None and module not in found:
            found[module] = None
            waiting += reversed(module._modules.values())
    return list(found)


def parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters of a model, each once."""
    held = (weight for module in modules(model) for weight in module._parameters.values())
    return list(dict.fromkeys(weight for weight in held if weight is not None))

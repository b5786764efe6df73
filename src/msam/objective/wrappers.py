"""Wrappers that a model may come in: where other packages keep what is inside, asked for in this file alone.

    unwrapped(model)                   # [model, ..., the bare module], outermost first

`torch.compile` and Fabric have no public name for these; a version that names them otherwise is looked at as a model
of its own, which is right but shows no encoders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

_SHARDERS = frozenset({"FullyShardedDataParallel", "FSDPModule", "DeepSpeedEngine", "PipelineModule"})


def unwrapped(model: nn.Module) -> list[nn.Module]:
    """The model and what it wraps, outermost first."""
    modules = [model]
    while (inner := _inner(modules[-1])) is not None:
        modules.append(inner)
    return modules


def compiled(wrappers: Sequence[nn.Module]) -> nn.Module | None:
    """The wrapper that `torch.compile` made, if there is one."""
    return next((wrapper for wrapper in wrappers if hasattr(wrapper, "_orig_mod")), None)


def compile_alike(wrapper: nn.Module, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function, compiled with the backend and options of a compiled wrapper."""
    import torch

    alike: Callable[..., Any] = getattr(wrapper, "dynamo_ctx", torch.compile)(function)
    return alike


def fabric_inner(model: nn.Module) -> nn.Module | None:
    """What Fabric's outermost wrapper holds, if the model is one."""
    return model._modules.get("_forward_module")


def fabric_context(model: nn.Module) -> Callable[[], AbstractContextManager[Any]] | None:
    """The forward context of the precision that Fabric has set up a model with, if it has."""
    precision = getattr(getattr(model, "_strategy", None), "precision", None)
    return getattr(precision, "forward_context", None)


def sharder(model: nn.Module) -> str | None:
    """Who keeps the weights in parts on several ranks, if anybody does."""
    for module in model.modules():
        names = {each.__name__ for each in type(module).__mro__} & _SHARDERS
        if names:
            return min(names)
    return next(("DTensor" for weight in model.parameters() if hasattr(weight, "device_mesh")), None)


def is_joining(wrapper: DistributedDataParallel) -> bool:
    """Whether the ranks are within `wrapper.join()`, where one may have run out of batches."""
    return bool(getattr(getattr(wrapper, "_join_config", None), "enable", False))


def _inner(module: nn.Module) -> nn.Module | None:
    held = module._modules.get("_orig_mod")
    held = fabric_inner(module) if held is None else held
    if held is None and isinstance(module, (DistributedDataParallel, nn.DataParallel)):
        held = module.module
    return held


@contextmanager
def keeping_buffers(is_compiled: bool) -> Iterator[None]:
    """What is compiled inside can be differentiated more than once: it gives no buffers away to its first time.

    Compiled code is looked up by keys that do not tell the two kinds apart, so that nothing is looked up either.
    """
    if not is_compiled:
        yield
        return
    import torch._functorch.config as tracing
    import torch._inductor.config as generation

    with (
        tracing.patch(donated_buffer=False, enable_autograd_cache=False),
        generation.patch(fx_graph_cache=False),
    ):
        yield

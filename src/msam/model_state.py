"""The only file that changes a model: gradients, weights, flags, buffers, hooks, random state.

Every `with` puts back exactly what it found, bit for bit, also when the body raises.

    with perturbed(weights, epsilon), replayed(state), unrecorded(model):
        loss = criterion(model(inputs), target)      # at theta + epsilon, same dropout masks, statistics untouched
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

RandomState = dict[torch.device, Tensor]
"""State of the random generators that a forward pass may draw from: the CPU's and one per accelerator in use."""


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


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for every submodule; afterwards each has the flag it had (frozen ones stay frozen)."""
    flags = [(module, module.training) for module in modules(model)]
    for module, training in flags:
        if training:
            module.training = False
    try:
        yield
    finally:
        for module, training in flags:
            if module.training is not training:
                module.training = training


def training(*parts: object) -> None:
    """Training mode for models, and for optimizers that have one; what an engine does before a step, which stays."""
    for part in parts:
        if callable(change := getattr(part, "train", None)):
            change()


@contextmanager
def unrecorded(model: nn.Module) -> Iterator[None]:
    """Forward passes inside leave no trace in any buffer (running statistics, counters, power iterations).

    Normalisation layers in evaluation mode write nothing and are passed over. Buffers are written past autograd
    (`.data`): a graph made before that has saved one finds it as it was.
    """
    writing = [module for module in modules(model) if module.training or not isinstance(module, _NormBase)]
    found = [(module._buffers, name, buffer) for module in writing for name, buffer in module._buffers.items()]
    values = [buffer.data for _, _, buffer in found if buffer is not None and _writable(buffer)]
    saved = [torch.empty_like(value) for value in values]
    _copy(saved, values)
    try:
        yield
    finally:
        for owner, name, buffer in found:
            owner[name] = buffer
        _copy(values, saved)


def _writable(buffer: Tensor) -> bool:
    """Whether no two elements share memory; an expanded buffer cannot be written in place, by anybody."""
    return all(stride or size < 2 for stride, size in zip(buffer.stride(), buffer.shape, strict=True))


def _copy(into: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Copies tensors, all those of one kind in one call."""
    kinds: dict[object, list[tuple[Tensor, Tensor]]] = {}
    for pair in zip(into, values, strict=True):
        kinds.setdefault((pair[0].device, pair[0].dtype), []).append(pair)
    for pairs in kinds.values():
        targets, sources = zip(*pairs, strict=True)
        torch._foreach_copy_(targets, sources)


@contextmanager
def perturbed(weights: Sequence[Tensor], direction: Sequence[Tensor], length: float | Tensor = 1.0) -> Iterator[None]:
    """Weights plus `length * direction`. Restored by copying back: subtracting would move some by a rounding.

    An autocast around the whole step keeps casts of the weights, which would hide the perturbation; it forgets them.
    The direction is let go of once it has been added: a gradient that serves as one can be dropped inside.
    """
    saved = [weight.detach().clone() for weight in weights]
    torch.clear_autocast_cache()
    try:
        if saved:
            with torch.no_grad():
                _add(list(weights), list(direction), length)
        del direction
        yield
    finally:
        if saved:
            with torch.no_grad():
                torch._foreach_copy_(list(weights), saved)
        torch.clear_autocast_cache()


def _add(weights: list[Tensor], direction: list[Tensor], length: float | Tensor) -> None:
    """In one sweep, without a tensor for the product; on the device, without reading the length."""
    if isinstance(length, Tensor):
        torch._foreach_addcmul_(weights, direction, [length] * len(weights))
    else:
        torch._foreach_add_(weights, direction, alpha=length)


@contextmanager
def only(weights: Sequence[Tensor], among: Sequence[Tensor]) -> Iterator[None]:
    """Of the tensors `among`, only `weights` receive gradients."""
    kept = {id(weight) for weight in weights}
    frozen = [weight for weight in among if weight.requires_grad and id(weight) not in kept]
    for weight in frozen:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in frozen:
            weight.requires_grad_(True)


class StashedGradients:
    """Gradients that were there before: `with StashedGradients(weights) as earlier` starts from empty `.grad`.

    `restore_earlier` adds them to what has been computed since. Leaving without an error adds them if `restore_earlier`
    was not called, and keeps each earlier tensor's identity; leaving with an error puts back exactly what was found.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self.weights = weights
        self.earlier: list[Tensor | None] = []
        self._joined = False

    def __enter__(self) -> StashedGradients:
        self.earlier = [weight.grad for weight in self.weights]
        for weight in self.weights:
            weight.grad = None
        return self

    def restore_earlier(self) -> None:
        """Adds the earlier gradients to the present ones, before a pass whose gradients are shared between ranks."""
        self._joined = True
        for weight, earlier in zip(self.weights, self.earlier, strict=True):
            if earlier is not None:
                weight.grad = earlier.clone() if weight.grad is None else weight.grad.add_(earlier)

    def __exit__(self, error: object, *_: object) -> None:
        if error is None and not self._joined:
            self.restore_earlier()
        for weight, earlier in zip(self.weights, self.earlier, strict=True):
            if earlier is None and error is None:
                continue
            if error is None and earlier is not None and weight.grad is not None:
                earlier.copy_(weight.grad)
            weight.grad = earlier


def scale_gradients(weights: Sequence[Tensor], factor: float | Tensor) -> None:
    """Multiplies each `.grad` in place; weights without one are passed over. The number 0 lets go of the gradients."""
    if not isinstance(factor, Tensor) and factor == 0:
        for weight in weights:
            weight.grad = None
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    if gradients:
        torch._foreach_mul_(gradients, factor)


def restore_state(state: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Writes values kept from an earlier epoch back into a `state_dict`; not for use within a step."""
    with torch.no_grad():
        for name, value in values.items():
            state[name].copy_(value)


def told(tensor: Tensor, tell: Callable[[], None]) -> None:
    """Calls `tell` each time a gradient arrives at a tensor of a graph; the hook goes with the graph."""
    if tensor.requires_grad:
        tensor.register_hook(lambda slope: tell())  # type: ignore[no-untyped-call]  # as torch has it


@contextmanager
def captured(modules: Mapping[str, nn.Module], devices: Sequence[torch.device]) -> Iterator[Capture]:
    """Collects what each module returns in the forward passes inside, and the random state before and after it."""
    capture = Capture(devices)
    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.callback(module.register_forward_pre_hook(capture.before(name)).remove)
            hooks.callback(module.register_forward_hook(capture.after(name)).remove)
        yield capture


class Capture:
    """Outputs of named modules in one forward pass, with the random states that make it repeatable.

    Attributes:
        outputs: module name -> the tensor it returned; left out if it was called twice, or returned something else.
        states: module name -> random state when it was called.
        end: random state when the last of them had returned.
    """

    def __init__(self, devices: Sequence[torch.device]) -> None:
        self.devices = devices
        self.outputs: dict[str, Tensor] = {}
        self.states: dict[str, RandomState] = {}
        self.end: RandomState = {}
        self._calls: Counter[str] = Counter()

    def before(self, name: str) -> Callable[..., None]:
        """A forward pre-hook that notes the random state."""

        def hook(module: nn.Module, arguments: Any) -> None:
            self.states[name] = random_state(self.devices)

        return hook

    def after(self, name: str) -> Callable[..., None]:
        """A forward hook that notes the output and the random state."""

        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            self._calls[name] += 1
            self.outputs[name] = output
            if self._calls[name] > 1 or not isinstance(output, Tensor):
                del self.outputs[name]
            self.end = random_state(self.devices)

        return hook


def random_state(devices: Sequence[torch.device]) -> RandomState:
    """State of the generators of these devices (and of the CPU)."""
    states = {torch.device("cpu"): torch.get_rng_state()}
    for device in devices:
        if device.type != "cpu":
            states[device] = torch.get_device_module(device).get_rng_state(device)
    return states


def seeded_state(seed: int, devices: Sequence[torch.device]) -> RandomState:
    """What the generators of these devices (and of the CPU) would be after `manual_seed(seed)`; none is touched."""
    every = {torch.device("cpu"), *devices}
    return {device: torch.Generator(device).manual_seed(seed).get_state() for device in every}


@contextmanager
def replayed(state: RandomState) -> Iterator[None]:
    """Draws inside repeat those that followed `state`; the main stream goes on as if they had not been made."""
    present = random_state(list(state))
    _set_random_state(state)
    try:
        yield
    finally:
        _set_random_state(present)


def _set_random_state(state: RandomState) -> None:
    for device, value in state.items():
        if device.type == "cpu":
            torch.set_rng_state(value)
        else:
            torch.get_device_module(device).set_rng_state(value, device)

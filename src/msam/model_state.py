"""The only file that changes a model: gradients, weights, flags, buffers, hooks, random state.

Every `with` puts back exactly what it found, bit for bit, also when the body raises.

    with perturbed(weights, epsilon), replayed(state), unrecorded(model):
        loss = criterion(model(inputs), target)      # at theta + epsilon, same dropout masks, statistics untouched
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

GENERATORS = (torch.Generator, random.Random)
"""Kinds of generators that a model may draw from."""

RandomState = dict[torch.device, Tensor]
"""State of the random generators that a forward pass may draw from: the CPU's and one per accelerator in use."""

_CPU, _device = torch.device("cpu"), attrgetter("device")
_NORMALISATIONS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)


def modules(model: nn.Module) -> list[nn.Module]:
    """A model and all modules in it, each once, outer ones first."""
    reached: dict[nn.Module, None] = {}
    waiting: list[nn.Module | None] = [model]
    while waiting:
        module = waiting.pop()
        if module is not None and module not in reached:
            reached[module] = None
            waiting += reversed(module._modules.values())
    return list(reached)


def parameters(*models: nn.Module) -> list[nn.Parameter]:
    """The parameters of models, each once."""
    weights: dict[nn.Parameter, None] = {}
    for model in models:
        for module in modules(model):
            for weight in module._parameters.values():
                if weight is not None:
                    weights[weight] = None
    return list(weights)


def trainable(*parts: object) -> list[Tensor]:
    """The parameters that require gradients, each once, of those parts that are modules."""
    weights: dict[Tensor, None] = {}
    for part in parts:
        if isinstance(part, nn.Module):
            for module in modules(part):
                for weight in module._parameters.values():
                    if weight is not None and weight.requires_grad:
                        weights[weight] = None
    return list(weights)


def device_of(model: nn.Module) -> torch.device:
    """Where the parameters are (the CPU for a model without any)."""
    return next(map(_device, model.parameters()), _CPU)


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
def unrecorded(
    model: nn.Module,
    *,
    replay: RandomState | None = None,
    in_evaluation: bool = False,
    save: Callable[[], Callable[[], None]] | None = None,
) -> Iterator[None]:
    """Forward passes inside leave no trace in any buffer (running statistics, counters, power iterations).

    Normalisation layers in evaluation mode write nothing and are passed over.

    Args:
        model: whose buffers are kept.
        replay: draws inside repeat those that followed this state, as in `replayed`; else the random stream goes on.
        in_evaluation: the passes are in evaluation mode, as in `evaluation`.
        save: keeps what else passes may write (`msam.side_effects`), and returns what puts it back.
    """
    writing, flags = [], {}
    for module in modules(model):
        flags[module] = module.training
        if module._buffers and ((module.training and not in_evaluation) or not isinstance(module, _NORMALISATIONS)):
            writing.append(module)
    buffers = _SavedBuffers(writing) if writing else None
    present = None if replay is None else random_state(replay)
    undo = None if save is None else save()
    try:
        for module, training in flags.items() if in_evaluation else ():
            if training:
                module.training = False
        if replay is not None:
            set_random_state(replay)
        yield
    finally:
        if present is not None:
            set_random_state(present)
        if buffers is not None:
            buffers.restore()
        for module, training in flags.items() if in_evaluation else ():
            if module.training is not training:
                module.training = training
        if undo is not None:
            undo()


class _SavedBuffers:
    """Buffers as they were, to be put back past autograd (`.data`): a graph that has saved one finds it unchanged."""

    def __init__(self, writing: Sequence[nn.Module]) -> None:
        self._places = [
            (module._buffers, name, buffer) for module in writing for name, buffer in module._buffers.items()
        ]
        self._values = [buffer.data for _, _, buffer in self._places if buffer is not None and _writable(buffer)]
        self._saved = [torch.empty_like(value) for value in self._values]
        _copy(self._saved, self._values)

    def restore(self) -> None:
        for owner, name, buffer in self._places:
            owner[name] = buffer
        _copy(self._values, self._saved)


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
def perturbed(
    weights: Sequence[Tensor], direction: Sequence[Tensor], length: float | Tensor | Sequence[Tensor] = 1.0
) -> Iterator[None]:
    """Weights plus `length * direction`. Restored by copying back: subtracting would move some by a rounding.

    The length is one for all weights, or one for each.

    An autocast around the whole step keeps casts of the weights, which would hide the perturbation; it forgets them.
    The direction is let go of once it has been added: a gradient that serves as one can be dropped inside.
    """
    with torch.no_grad():
        saved = list(map(torch.clone, weights))
    torch.clear_autocast_cache()
    try:
        if saved:
            with torch.no_grad():
                if isinstance(length, (int, float)):
                    torch._foreach_add_(list(weights), list(direction), alpha=length)
                else:  # read on the device, without waiting for it
                    lengths = [length] * len(saved) if isinstance(length, Tensor) else list(length)
                    torch._foreach_addcmul_(list(weights), list(direction), lengths)
        del direction
        yield
    finally:
        if saved:
            with torch.no_grad():
                torch._foreach_copy_(list(weights), saved)
        torch.clear_autocast_cache()


@contextmanager
def requires_grad_only(weights: Sequence[Tensor], among: Sequence[Tensor]) -> Iterator[None]:
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

    Args:
        weights: whose gradients are set aside.
        until_the_end: add them on leaving only.
    """

    def __init__(self, weights: Sequence[Tensor], *, until_the_end: bool = False) -> None:
        self.weights, self.until_the_end = weights, until_the_end
        self.earlier: list[Tensor | None] = []
        self._joined = False

    def __enter__(self) -> StashedGradients:
        for weight in self.weights:
            self.earlier.append(weight.grad)
            weight.grad = None
        return self

    def restore_earlier(self, *, at_the_end: bool = False) -> None:
        """Adds the earlier gradients to the present ones, before a pass whose gradients are shared between ranks."""
        if self.until_the_end and not at_the_end:
            return
        self._joined = True
        for weight, earlier in zip(self.weights, self.earlier, strict=True):
            if earlier is not None:
                weight.grad = earlier.clone() if weight.grad is None else weight.grad.add_(earlier)

    def __exit__(self, error: object, *_: object) -> None:
        if error is None and not self._joined:
            self.restore_earlier(at_the_end=True)
        for weight, earlier in zip(self.weights, self.earlier, strict=True):
            if earlier is None and error is None:
                continue
            if error is None and earlier is not None and weight.grad is not None:
                earlier.copy_(weight.grad)
            weight.grad = earlier


class SavedState:
    """What a method holds beside its weights, to be put back: buffers, and the extra state of its `state_dict`.

    Args:
        method: the method.
        model: whose buffers are kept, too.
    """

    def __init__(self, method: nn.Module, model: nn.Module) -> None:
        inner = modules(method)
        remembering = (each for each in inner if type(each).get_extra_state is not nn.Module.get_extra_state)
        self._extra = [(each, deepcopy(each.get_extra_state())) for each in remembering]
        self._buffers = _SavedBuffers([each for each in (*inner, *modules(model)) if each._buffers])

    def restore(self) -> None:
        """Puts it back; once."""
        for module, state in self._extra:
            module.set_extra_state(state)
        self._buffers.restore()


def leaf_like(tensor: Tensor) -> Tensor:
    """The same values as the start of a graph of its own, which takes a gradient if the tensor does."""
    return tensor.detach().requires_grad_(tensor.requires_grad)


@contextmanager
def collected_gradients(weights: Iterable[Tensor]) -> Iterator[Callable[[Tensor], Tensor | None]]:
    """Gradients that are back-propagated inside can be taken one by one; afterwards `.grad` is what it was."""
    before = {weight: weight.grad for weight in weights}
    for weight in before:
        weight.grad = None
    try:
        yield lambda weight: weight.grad
    finally:
        for weight, gradient in before.items():
            weight.grad = gradient


def change_gradients(gradients: Mapping[Tensor, Tensor]) -> None:
    """Gives weights other gradients."""
    for weight, gradient in gradients.items():
        weight.grad = gradient


def scale_gradients(weights: Sequence[Tensor], factor: float | Tensor) -> None:
    """Multiplies each `.grad` in place; weights without one are passed over. The number 0 lets go of the gradients."""
    released = not isinstance(factor, Tensor) and factor == 0
    gradients = []
    for weight in weights:
        if released:
            weight.grad = None
        elif weight.grad is not None:
            gradients.append(weight.grad)
    if gradients:
        torch._foreach_mul_(gradients, factor)


def write_values(weight: Tensor, values: Tensor) -> None:
    """Writes earlier values of a weight back, past autograd."""
    weight.data.copy_(values)


def restore_state(state: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Writes values kept from an earlier epoch back into a `state_dict`; not for use within a step."""
    with torch.no_grad():
        for name, value in values.items():
            state[name].copy_(value)


def on_gradient(tensor: Tensor, notify: Callable[[], None]) -> None:
    """Calls `notify` each time a gradient arrives at a tensor of a graph; the hook goes with the graph."""
    if tensor.requires_grad:
        tensor.register_hook(lambda slope: notify())  # type: ignore[no-untyped-call]  # as torch has it


class Capture:
    """Outputs of named modules in the forward passes inside, with the random states that make each repeatable.

    with Capture(encoders, [device]) as capture:
        logits = model(inputs)

    Args:
        modules: name -> module.
        devices: whose random generators the passes draw from, beside the CPU's.

    Attributes:
        outputs: module name -> what it returned; left out if it was called more than once, or without a graph that the
            pass around it has (within a reentrant checkpoint), or has full backward hooks, which stand between its
            output and what the pass goes on with.
        states: module name -> random state when it was called.
        end: random state when the last of them had returned.
    """

    def __init__(self, modules: Mapping[str, nn.Module], devices: Collection[torch.device]) -> None:
        self.devices = devices
        self.outputs: dict[str, Any] = {}
        self.states: dict[str, RandomState] = {}
        self.end: RandomState = {}
        self._modules = modules
        self._with_graph = torch.is_grad_enabled()
        self._calls: Counter[str] = Counter()
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> Capture:
        for name, module in self._modules.items():
            self._hooks.append(module.register_forward_pre_hook(partial(self._before, name)))
            self._hooks.append(module.register_forward_hook(partial(self._after, name)))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _before(self, name: str, module: nn.Module, arguments: Any) -> None:
        self.states[name] = random_state(self.devices)

    def _after(self, name: str, module: nn.Module, arguments: Any, output: Any) -> None:
        self._calls[name] += 1
        self.outputs[name] = output
        hidden = torch.is_grad_enabled() is not self._with_graph or module._backward_hooks or module._backward_pre_hooks
        if self._calls[name] > 1 or hidden:
            del self.outputs[name]
        self.end = random_state(self.devices)


def random_state(devices: Iterable[torch.device]) -> RandomState:
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


def generator_state(generator: torch.Generator | random.Random) -> Any:
    """Where a generator of a model's own stands."""
    return generator.get_state() if isinstance(generator, torch.Generator) else generator.getstate()


def generator_at(generator: torch.Generator | random.Random, state: Any) -> torch.Generator | random.Random:
    """Another generator, which draws what this one drew from a state on (from where it is, if None)."""
    state = generator_state(generator) if state is None else state
    if isinstance(generator, torch.Generator):
        return torch.Generator(generator.device).set_state(state)
    other = random.Random()
    other.setstate(state)
    return other


@contextmanager
def replayed(state: RandomState) -> Iterator[None]:
    """Draws inside repeat those that followed `state`; the main stream goes on as if they had not been made."""
    present = random_state(state)
    set_random_state(state)
    try:
        yield
    finally:
        set_random_state(present)


def set_random_state(state: RandomState) -> None:
    """Lets the generators go on from an earlier state."""
    for device, value in state.items():
        if device.type == "cpu":
            torch.set_rng_state(value)
        else:
            torch.get_device_module(device).set_rng_state(value, device)

"""Every context puts back what it found, bit for bit: when its body ends and when it raises."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam.model_state import (
    Capture,
    StashedGradients,
    evaluation,
    perturbed,
    random_state,
    replayed,
    requires_grad_only,
    scale_gradients,
    seeded_state,
    unrecorded,
)
from zoo import batch, model, same, state

CPU = [torch.device("cpu")]


class Stopped(Exception):
    """What the bodies raise."""


@contextmanager
def raised() -> Iterator[None]:
    with pytest.raises(Stopped):  # noqa: PT012 (the body is the one under test)
        yield
        raise Stopped


@contextmanager
def completed() -> Iterator[None]:
    yield


def stop(how: Any) -> None:
    if how is raised:
        raise Stopped


ENDS = pytest.mark.parametrize("how", [completed, raised], ids=["completed", "raised"])


def half_frozen() -> nn.Module:
    """A model with one submodule in evaluation mode and one that takes no gradient."""
    net = model(2)
    net.encoders["audio"][2].eval()
    net.encoders["image"][0].requires_grad_(False)
    return net


CONTEXTS: dict[str, Callable[[nn.Module], AbstractContextManager[Any]]] = {
    "evaluation": evaluation,
    "unrecorded": unrecorded,
    "perturbed": lambda net: perturbed(list(net.parameters()), [torch.randn_like(w) for w in net.parameters()]),
    "only": lambda net: requires_grad_only(list(net.encoders["audio"].parameters()), among=list(net.parameters())),
    "replayed": lambda net: replayed(seeded_state(3, CPU)),
    "captured": lambda net: Capture(net.encoders, CPU),
    "aside": lambda net: StashedGradients(list(net.parameters())),
}


@ENDS
@pytest.mark.parametrize("name", CONTEXTS)
def test_context_puts_everything_back(name: str, how: Any) -> None:
    net = half_frozen()
    context = CONTEXTS[name](net)
    found = state(net)
    with how(), context:
        stop(how)
    assert same(state(net), found)


@ENDS
@pytest.mark.parametrize("name", [name for name in CONTEXTS if name != "perturbed"])
def test_context_around_a_pass_leaves_what_the_pass_alone_leaves(name: str, how: Any) -> None:
    """Except for what the context is there to hide: `unrecorded` hides statistics, `replayed` hides random draws."""
    net, plain, data = half_frozen(), half_frozen(), batch(2)
    hidden = {"unrecorded": "weights", "evaluation": "weights", "replayed": "random"}.get(name)
    context = CONTEXTS[name](net)
    before, start = state(net), torch.get_rng_state()
    with how(), context:
        F.cross_entropy(net(data[0]), data[1])
        stop(how)
    after = state(net)
    torch.set_rng_state(start)
    with evaluation(plain) if name == "evaluation" else completed():
        plain(data[0])
    expected = state(plain) | ({hidden: before[hidden]} if hidden else {})
    assert same(after, expected)


# ---- evaluation -----------------------------------------------------------------------------------------------------


@ENDS
def test_evaluation_reaches_every_module_and_keeps_frozen_ones_frozen(how: Any) -> None:
    net = half_frozen()
    flags = [module.training for module in net.modules()]
    assert not all(flags)
    with how(), evaluation(net):
        assert not any(module.training for module in net.modules())
        stop(how)
    assert [module.training for module in net.modules()] == flags


@ENDS
def test_evaluation_undoes_flags_that_the_body_set(how: Any) -> None:
    net = half_frozen()
    flags = [module.training for module in net.modules()]
    with how(), evaluation(net):
        net.train()
        stop(how)
    assert [module.training for module in net.modules()] == flags


# ---- unrecorded -----------------------------------------------------------------------------------------------------


class Counting(nn.Module):
    """Writes to its buffers in every way that modules do."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("inplace", torch.zeros(2))
        self.register_buffer("replaced", torch.zeros(2))
        self.register_buffer("hidden", torch.zeros(2, dtype=torch.int64))
        self.register_buffer("empty", None)
        self.register_buffer("spread", torch.ones(1, 3).expand(2, 3))

    def forward(self) -> None:
        self.inplace += 1
        self.replaced = self.replaced + 1
        self.hidden.data.add_(1)
        self.empty = torch.ones(1)


@ENDS
@pytest.mark.parametrize("training", [True, False])
def test_unrecorded_undoes_writing_replacing_and_filling_of_buffers(how: Any, training: bool) -> None:
    net = nn.ModuleList([Counting(), Counting()]).train(training)
    found = [dict(module.named_buffers()) for module in net]
    with how(), unrecorded(net):
        for module in net:
            module()
        assert net[0].inplace.tolist() == net[1].replaced.tolist() == net[0].hidden.tolist() == [1, 1]
        stop(how)
    for module, buffers in zip(net, found, strict=True):
        assert all(getattr(module, name) is buffer for name, buffer in buffers.items())
        assert module.empty is None
        assert module.inplace.tolist() == module.replaced.tolist() == module.hidden.tolist() == [0, 0]


def test_unrecorded_leaves_an_earlier_graph_that_saved_a_buffer_usable() -> None:
    """Frozen normalisation saves its statistics for the backward pass; autograd would notice that they were written."""
    layer = nn.BatchNorm1d(3).eval()
    output = layer(torch.randn(4, 3, requires_grad=True))
    with unrecorded(layer.train()):
        layer(torch.randn(4, 3))
    output.sum().backward()
    assert layer.weight.grad is not None


# ---- perturbed ------------------------------------------------------------------------------------------------------


@ENDS
def test_perturbed_adds_and_then_copies_back(how: Any) -> None:
    """0.1 + 1e9 - 1e9 is 0 in float32: only a copy restores."""
    weight, other = nn.Parameter(torch.full((3,), 0.1)), nn.Parameter(torch.ones(2, dtype=torch.float64))
    with how(), perturbed([weight, other], [torch.full((3,), 1e9), torch.ones(2, dtype=torch.float64)]):
        assert weight.tolist() == [1e9] * 3
        assert other.tolist() == [2, 2]
        stop(how)
    assert torch.equal(weight, torch.full((3,), 0.1))
    assert other.tolist() == [1, 1]
    assert weight.grad is None


def test_perturbed_moves_along_a_direction_by_a_length_and_lets_go_of_it() -> None:
    weight, other = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2, dtype=torch.float64))
    held = torch.ones(3)
    direction, gone = [held, torch.ones(2, dtype=torch.float64)], weakref.ref(held)
    del held
    with perturbed([weight, other], [direction.pop(0), direction.pop()], torch.tensor(0.5)):
        assert gone() is None
        assert weight.tolist() == [0.5] * 3
        assert other.tolist() == [0.5] * 2
    assert weight.tolist() == [0] * 3


def test_perturbed_is_seen_through_an_autocast_that_was_entered_before() -> None:
    layer, features = nn.Linear(4, 4), torch.randn(3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        before = layer(features)
        with perturbed([layer.weight], [torch.ones(4, 4)]):
            inside = layer(features)
        after = layer(features)
    assert not torch.equal(inside, before)
    assert torch.equal(after, before)


@ENDS
def test_perturbed_by_no_weights_is_nothing(how: Any) -> None:
    with how(), perturbed([], []):
        stop(how)


# ---- only -----------------------------------------------------------------------------------------------------------


@ENDS
def test_only_confines_gradients_and_unfreezes_nothing(how: Any) -> None:
    weights = [nn.Parameter(torch.ones(2)) for _ in range(3)]
    weights[2].requires_grad_(False)
    with how(), requires_grad_only(weights[:1], among=weights):
        sum(weight.sum() for weight in weights).backward()
        stop(how)
    assert [weight.grad is None for weight in weights] == [False, True, True]
    assert [weight.requires_grad for weight in weights] == [True, True, False]


# ---- gradients set aside --------------------------------------------------------------------------------------------


def test_aside_starts_empty_and_adds_what_was_there_keeping_its_tensor() -> None:
    with_earlier, without = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    with_earlier.grad = held = torch.tensor([1.0, 2.0])
    with StashedGradients([with_earlier, without]):
        assert with_earlier.grad is None
        ((with_earlier + without) * 3).sum().backward()
    assert with_earlier.grad is held
    assert held.tolist() == [4, 5]
    assert without.grad is not None
    assert without.grad.tolist() == [3, 3]


def test_aside_gives_back_what_nothing_was_added_to() -> None:
    weight = nn.Parameter(torch.ones(2))
    weight.grad = held = torch.tensor([1.0, 2.0])
    with StashedGradients([weight]):
        pass
    assert weight.grad is held
    assert held.tolist() == [1, 2]


def test_aside_rejoined_early_adds_once() -> None:
    weight = nn.Parameter(torch.ones(2))
    weight.grad = held = torch.tensor([1.0, 2.0])
    with StashedGradients([weight]) as earlier:
        weight.sum().backward()
        earlier.restore_earlier()
        assert weight.grad is not held
        weight.sum().backward()
    assert weight.grad is held
    assert held.tolist() == [3, 4]


@pytest.mark.parametrize("rejoined", [False, True])
def test_aside_gives_back_the_same_tensors_and_values_when_its_body_raises(rejoined: bool) -> None:
    weight, without = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    weight.grad = held = torch.tensor([1.0, 2.0])
    with pytest.raises(Stopped), StashedGradients([weight, without]) as earlier:  # noqa: PT012 (raises at its end)
        (weight + without).sum().backward()
        if rejoined:
            earlier.restore_earlier()
        raise Stopped
    assert weight.grad is held
    assert held.tolist() == [1, 2]
    assert without.grad is None


def test_scaling_passes_over_weights_without_gradient() -> None:
    weight, without = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([1.0, 2.0])
    scale_gradients([weight, without], torch.tensor(0.5, dtype=torch.float64))
    scale_gradients([without], 2.0)
    assert weight.grad.tolist() == [0.5, 1]
    assert weight.grad.dtype == torch.float32
    assert without.grad is None


def test_scaling_by_the_number_zero_lets_go_of_gradients() -> None:
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    scale_gradients([weight], torch.tensor(0.0))
    assert weight.grad.tolist() == [0, 0]
    scale_gradients([weight], 0.0)
    assert weight.grad is None


# ---- captured -------------------------------------------------------------------------------------------------------


def test_capture_holds_each_output_and_the_draws_that_made_it() -> None:
    net, (inputs, _) = model(2), batch(2)
    with Capture(net.encoders, CPU) as capture:
        net(inputs)
    assert torch.equal(capture.end[CPU[0]], torch.get_rng_state())
    for name, encoder in net.encoders.items():
        with replayed(capture.states[name]):
            assert torch.equal(encoder(inputs[name]), capture.outputs[name])


class Pair(nn.Module):
    def forward(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        return tensor, tensor


def test_capture_leaves_out_what_was_called_twice_and_keeps_outputs_of_any_kind() -> None:
    modules = {"once": nn.Identity(), "twice": nn.Identity(), "thrice": nn.Identity(), "pair": Pair(), "not": nn.Tanh()}
    with Capture(modules, CPU) as capture:
        for times, name in ((1, "once"), (2, "twice"), (3, "thrice"), (1, "pair")):
            for _ in range(times):
                modules[name](torch.ones(1))
    assert list(capture.outputs) == ["once", "pair"]
    assert isinstance(capture.outputs["pair"], tuple)


# ---- random state ---------------------------------------------------------------------------------------------------


@ENDS
def test_replayed_repeats_draws_and_the_main_stream_goes_on(how: Any) -> None:
    start = random_state(CPU)
    first = torch.rand(3)
    onward = torch.get_rng_state()
    with how(), replayed(start):
        assert torch.equal(torch.rand(3), first)
        stop(how)
    assert torch.equal(torch.get_rng_state(), onward)


def test_seeded_state_is_that_of_manual_seed_and_touches_nothing() -> None:
    before = torch.get_rng_state()
    found = seeded_state(5, CPU)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert torch.equal(found[CPU[0]], torch.get_rng_state())


@ENDS
@pytest.mark.parametrize("turn", range(3))
def test_contexts_nest_in_any_order(how: Any, turn: int) -> None:
    net, (inputs, _) = half_frozen(), batch(2)
    names = ["perturbed", "evaluation", "unrecorded", "replayed", "only", "captured", "aside"]
    contexts = [CONTEXTS[name](net) for name in names]
    found = state(net)
    with how(), ExitStack() as inside:
        for context in contexts[turn * 2 :] + contexts[: turn * 2]:
            inside.enter_context(context)
        net(inputs)
        stop(how)
    assert same(state(net), found)

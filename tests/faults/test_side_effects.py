"""What a model or a criterion remembers between batches moves once a batch, whatever the method runs again.

The reference is plain training: after one batch from the same weights, every method must leave the state that `Joint`
leaves, because its first pass is the plain one.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import msam
from msam import FusionModel, LateFusion, Method

WIDTHS = {"a": 4, "b": 4}
METHODS: dict[str, Callable[[], Method]] = {
    "sam": msam.SAM,
    "msam": msam.MSAM,
    "msam-loss-value": lambda: msam.MSAM(attribution=msam.Shapley(value="loss", strict=True)),
    "msam-encoder": lambda: msam.MSAM(scope="encoder"),
    "msam-shapley": lambda: msam.MSAM(scope="shapley"),
    "msam-part": lambda: msam.MSAM(part=0.5),
    "looksam": msam.LookSAM,
    "esam": msam.ESAM,
    "agm": msam.AGM,
    "agm-code": lambda: msam.AGM(faithful="code"),
    "ogm": msam.OGM,
    "opm": lambda: msam.OPM(execute=1.0),
    "mmpareto": lambda: msam.MMPareto(WIDTHS, 3),
    "cggm": lambda: msam.CGGM(WIDTHS, 3),
    "masam": lambda: msam.MASAM(WIDTHS, 3),
    "mla": lambda: msam.MLA(WIDTHS, 3),
    "mmcosine": msam.MMCosine,
    "reconboost": msam.ReconBoost,
    "cml": msam.CML,
    "unimodal": lambda: msam.Unimodal("a"),
}
counter = {"calls": 0}
total = 0


def fusion(**encoders: nn.Module) -> FusionModel:
    torch.manual_seed(0)
    return FusionModel({"a": nn.Linear(5, 4), "b": nn.Linear(5, 4)} | encoders, LateFusion(WIDTHS, 3))


def data() -> tuple[dict[str, Tensor], Tensor]:
    draw = torch.Generator().manual_seed(1)
    return {m: torch.randn(8, 5, generator=draw) for m in WIDTHS}, torch.arange(8) % 3


# ---- criteria that remember ----------------------------------------------------------------------------------------


class InBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * logits.detach().mean(0)
        return F.cross_entropy(logits - self.mean, target)


class InAttributes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mean, self.calls, self.history = torch.zeros(3), 0, deque(maxlen=3)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        self.mean.mul_(0.9).add_(logits.detach().mean(0), alpha=0.1)
        self.calls += 1
        loss = F.cross_entropy(logits - self.mean, target)
        self.history.append(float(loss.detach()))
        return loss


class InObject:
    """No module; holds one that remembers, and a list."""

    def __init__(self) -> None:
        self.inner, self.seen = InBuffer(), []

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        self.seen.append(len(target))
        loss: Tensor = self.inner(logits, target)
        return loss

    def method(self, logits: Tensor, target: Tensor) -> Tensor:
        return self(logits, target)


def in_closure() -> tuple[Callable[[Tensor, Tensor], Tensor], Callable[[], Any]]:
    mean, calls = torch.zeros(3), 0

    def criterion(logits: Tensor, target: Tensor) -> Tensor:
        nonlocal calls
        mean.mul_(0.9).add_(logits.detach().mean(0), alpha=0.1)
        calls += 1
        return F.cross_entropy(logits - mean, target)

    return criterion, lambda: (mean.tolist(), calls)


def in_globals(logits: Tensor, target: Tensor) -> Tensor:
    global total  # noqa: PLW0603
    total += 1
    counter["calls"] += 1
    return F.cross_entropy(logits, target)


def criteria(name: str) -> tuple[Any, Callable[[], Any]]:
    """A criterion, and what reads its state."""
    if name == "buffer":
        module = InBuffer()
        return module, lambda: [module.mean.tolist()]
    if name == "attributes":
        attributes = InAttributes()
        return attributes, lambda: (attributes.mean.tolist(), attributes.calls, list(attributes.history))
    if name in ("object", "bound method", "lambda"):
        thing = InObject()
        forms = {"object": thing, "bound method": thing.method, "lambda": lambda z, y: 2 * thing(z, y)}
        return forms[name], lambda: (thing.inner.mean.tolist(), list(thing.seen))
    if name == "closure":
        return in_closure()
    global total  # noqa: PLW0603
    total = counter["calls"] = 0
    return in_globals, lambda: (total, counter["calls"])


CRITERIA = ["buffer", "attributes", "object", "bound method", "lambda", "closure", "globals"]


@pytest.mark.parametrize("kind", CRITERIA)
@pytest.mark.parametrize("name", METHODS)
def test_a_criterion_that_remembers_is_called_once_a_batch_as_far_as_it_knows(name: str, kind: str) -> None:
    if name == "unimodal":
        pytest.skip("its pass is another")
    states = []
    for make in (msam.Joint, METHODS[name]):
        criterion, read = criteria(kind)
        method = make()
        backward = method.on(fusion(), criterion)
        method.train()
        backward(*data())
        states.append(read())
    assert states[0] == states[1]
    assert states[0] != criteria(kind)[1]()


@pytest.mark.parametrize("name", METHODS)
def test_a_gradient_is_that_of_the_state_which_its_pass_saw(name: str) -> None:
    """A criterion that writes its state in place, and one that binds a new tensor, which no graph can lose.

    Both work out the same mean with two roundings that may differ: 1e-5 of the largest gradient.
    """
    gradients = []
    for criterion in (InAttributes(), InBuffer()):
        model = fusion()
        METHODS[name]().on(model, criterion)(*data())
        gradients.append([torch.zeros(()) if weight.grad is None else weight.grad for weight in model.parameters()])
    scale = max(float(gradient.abs().max()) for gradient in gradients[1])
    assert all((one - other).abs().max() < 1e-5 * scale for one, other in zip(*gradients, strict=True))


# ---- models that remember -------------------------------------------------------------------------------------------


class Queue(nn.Module):
    """Keeps the last features in a buffer, an attribute, a list, and counts in numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 4)
        self.register_buffer("queue", torch.zeros(16, 4))
        self.attribute, self.place, self.lists = torch.zeros(16, 4), 0, [torch.zeros(4)]

    def forward(self, tensor: Tensor) -> Tensor:
        feature: Tensor = self.linear(tensor)
        if self.training:
            rows = slice(self.place, self.place + len(feature))
            if len(feature) == 8:
                self.queue[rows] = feature.detach()
                self.attribute[rows] = feature.detach()
            self.place = (self.place + 8) % 16
            self.lists.append(feature.detach().mean(0))
        return feature + 0.1 * self.attribute.mean(0)

    def state(self) -> Any:
        return self.queue.tolist(), self.attribute.tolist(), self.place, [each.tolist() for each in self.lists]


class Momentum(nn.Module):
    """A second encoder follows the first one in every pass of training, in one of three ways of writing."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.query = how, nn.Linear(5, 4)
        self.key = copy.deepcopy(self.query).requires_grad_(False)

    @torch.no_grad()
    def follow(self) -> None:
        for key, query in zip(self.key.parameters(), self.query.parameters(), strict=True):
            if self.how == "replaced":
                key.data = 0.9 * key.data + 0.1 * query.data
            elif self.how == "data":
                key.data.mul_(0.9).add_(query.data, alpha=0.1)
            else:
                key.mul_(0.9).add_(query, alpha=0.1)

    def forward(self, tensor: Tensor) -> Tensor:
        if self.training:
            self.follow()
        with torch.no_grad():
            keys = self.key(tensor)
        feature: Tensor = self.query(tensor)
        return feature + 0.1 * keys

    def state(self) -> Any:
        return [weight.tolist() for weight in self.key.parameters()]


class Draws(nn.Module):
    """Dropout from generators of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.draw, self.chance = nn.Linear(5, 4), torch.Generator().manual_seed(3), random.Random(3)

    def forward(self, tensor: Tensor) -> Tensor:
        feature: Tensor = self.linear(tensor)
        if not self.training:
            return feature
        return feature * (torch.rand(feature.shape, generator=self.draw) > self.chance.random() / 2)

    def state(self) -> Any:
        return self.draw.get_state().tolist(), self.chance.getstate()


seen_globally: list[float] = []


class Globally(nn.Module):
    """Writes to a list of its file, from a method that its forward pass calls."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 4)
        seen_globally.clear()

    def note(self, feature: Tensor) -> None:
        seen_globally.append(float(feature.detach().mean()))

    def forward(self, tensor: Tensor) -> Tensor:
        feature: Tensor = self.linear(tensor)
        if self.training:
            self.note(feature)
        return feature

    def state(self) -> Any:
        return list(seen_globally)


def by_hook() -> nn.Module:
    """A layer of torch's, with a hook that follows it."""
    layer, means = nn.Linear(5, 4), torch.zeros(4)

    def follow(module: nn.Module, arguments: Any, output: Tensor) -> None:
        if module.training:
            means.mul_(0.9).add_(output.detach().mean(0), alpha=0.1)

    layer.register_forward_hook(follow)
    layer.state = means.tolist  # type: ignore[assignment]
    return layer


MODELS: dict[str, Callable[[], Any]] = {
    "queue": Queue,
    **{how: lambda how=how: Momentum(how) for how in ("in place", "data", "replaced")},
    "draws": Draws,
    "globally": Globally,
    "hook": by_hook,
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", METHODS)
def test_a_model_that_remembers_moves_once_a_batch(name: str, kind: str) -> None:
    """Three batches, the weights moved by hand in between, so that they are the same for both."""
    if name == "unimodal":
        pytest.skip("it runs one encoder alone")
    states = []
    for make in (msam.Joint, METHODS[name]):
        torch.manual_seed(0)
        encoder = MODELS[kind]()
        model = fusion(a=encoder)
        backward = make().on(model, F.cross_entropy)
        for step in range(3):
            model.zero_grad()
            backward(*data())
            with torch.no_grad():
                for weight in model.parameters():
                    if weight.requires_grad:
                        weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(step)), alpha=0.1)
        states.append(encoder.state())
    assert states[0] == states[1]


@pytest.mark.parametrize("name", ["sam", "msam", "msam-encoder", "esam", "mmpareto"])
def test_a_call_that_remembers_moves_once_a_batch(name: str) -> None:
    states = []
    for make in (msam.Joint, METHODS[name]):
        calls: list[int] = []

        def call(model: nn.Module, inputs: Any, calls: list[int] = calls) -> Tensor:
            if model.training:
                calls.append(len(calls))
            logits: Tensor = model(inputs)
            return logits

        backward = make().on(fusion(), F.cross_entropy, call=call)
        for _ in range(2):
            backward(*data())
        states.append(list(calls))
    assert states == [[0, 1], [0, 1]]


def test_the_second_pass_repeats_draws_of_the_models_own_generators() -> None:
    """At rho = 1e-12 the second pass is the first one, if it draws the same."""
    gradients = []
    for method in (msam.Joint(), msam.SAM(rho=1e-12)):
        torch.manual_seed(0)
        model = fusion(a=Draws()).double()
        inputs, target = data()
        method.on(model, F.cross_entropy)({m: each.double() for m, each in inputs.items()}, target)
        gradients.append([weight.grad for weight in model.parameters()])
    assert all(torch.allclose(one, other, atol=1e-9, rtol=0) for one, other in zip(*gradients, strict=True))


def test_looking_at_a_model_changes_nothing_that_it_remembers() -> None:
    class Always(Queue):
        def forward(self, tensor: Tensor) -> Tensor:
            self.place += 1
            self.lists.append(tensor.mean(0))
            feature: Tensor = self.linear(tensor)
            return feature

    encoder = Always()
    objective = msam.Objective(fusion(a=encoder), F.cross_entropy)
    before = encoder.state()
    inputs, target = data()
    objective.logits(inputs)
    objective.features(inputs)
    msam.shapley(objective, inputs, target, value="loss")
    assert encoder.state() == before


def test_large_frozen_weights_that_a_second_pass_changes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("msam.side_effects._LIMIT", 0)
    backward = msam.SAM().on(fusion(a=Momentum("in place")), F.cross_entropy)
    with pytest.raises(RuntimeError, match=r"found 'encoders\.a\.key\.(weight|bias)' changed by a second pass"):
        backward(*data())


# ---- optimizers inside backward --------------------------------------------------------------------------------------


def trained(name: str, how: str) -> Tensor:
    """The weights after three batches of SGD, stepped after the method or inside its backward pass."""
    model, method = fusion(), METHODS[name]()
    weights, mine = list(model.parameters()), list(method.parameters())
    optimizers = {weight: torch.optim.SGD([weight], lr=0.1, momentum=0.9) for weight in [*weights, *mine]}

    def step(weight: Tensor) -> None:
        optimizers[weight].step()
        optimizers[weight].zero_grad()

    def backward(loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]
        for weight in weights:
            step(weight)

    if how == "hooks after accumulation":
        for weight in weights:
            weight.register_post_accumulate_grad_hook(step)
    if how == "hooks on gradients":
        for weight in weights:
            weight.register_hook(lambda slope, weight=weight: weight.data.add_(slope, alpha=-0.1) * 0 + slope)
    bound = method.on(model, F.cross_entropy, **({"backward": backward} if how == "backward" else {}))
    for number in range(3):
        torch.manual_seed(number)
        bound(*data())
        for weight in mine if how == "hooks after accumulation" else [*weights, *mine] if how == "after" else []:
            step(weight)
    return torch.cat([weight.detach().flatten() for weight in weights])


@pytest.mark.parametrize("name", METHODS)
def test_an_optimizer_in_hooks_after_accumulation_steps_once_a_batch(name: str) -> None:
    assert torch.equal(trained(name, "hooks after accumulation"), trained(name, "after"))


@pytest.mark.parametrize("how", ["backward", "hooks on gradients"])
@pytest.mark.parametrize("name", ["sam", "msam", "msam-encoder", "msam-shapley", "msam-part"])
def test_an_optimizer_that_steps_inside_backward_is_refused_by_methods_of_two_passes(name: str, how: str) -> None:
    with pytest.raises(RuntimeError, match=r"found that a backward pass has changed them.*step once after"):
        trained(name, how)


@pytest.mark.parametrize("how", ["backward"])
@pytest.mark.parametrize("name", ["ogm", "agm", "opm"])
def test_an_optimizer_inside_backward_is_right_where_a_method_back_propagates_once(name: str, how: str) -> None:
    assert torch.equal(trained(name, how), trained(name, "after"))

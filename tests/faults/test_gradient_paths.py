"""Gradients that go their own way: checkpoints that are computed again, and hooks on weights, under every method.

The reference is the same model without checkpoints or hooks: a checkpoint changes no number, and a hook acts on what
arrives in `.grad`, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

import msam
from msam import FusionModel, LateFusion, Method
from msam.sharpness.landscape import Landscape

pytestmark = [  # of torch, about passes without gradients and about hooks on the first layer
    pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning"),
    pytest.mark.filterwarnings("ignore:Full backward hook is firing when gradients:UserWarning"),
]

HIDDEN = ("output of the encoder", "outputs of the encoders", "called once")
WIDTHS = {"a": 4, "b": 4}
METHODS: dict[str, Callable[[], Method]] = {
    "joint": msam.Joint,
    "sam": msam.SAM,
    "msam": msam.MSAM,
    "msam-encoder": lambda: msam.MSAM(scope="encoder"),
    "msam-shapley": lambda: msam.MSAM(scope="shapley"),
    "looksam": msam.LookSAM,
    "esam": lambda: msam.ESAM(beta=1.0, gamma=1.0),
    "aesam": msam.AESAM,
    "fsam": msam.FSAM,
    "agm": msam.AGM,
    "agm-code": lambda: msam.AGM(faithful="code"),
    "ogm": msam.OGM,
    "ogm-ge": msam.OGMGE,
    "opm": lambda: msam.OPM(execute=1.0),
    "mmpareto": lambda: msam.MMPareto(WIDTHS, 3),
    "cggm": lambda: msam.CGGM(WIDTHS, 3),
    "cggm-code": lambda: msam.CGGM(WIDTHS, 3, faithful="code"),
    "masam": lambda: msam.MASAM(WIDTHS, 3),
    "masam-code": lambda: msam.MASAM(WIDTHS, 3, faithful="code"),
    "mla": lambda: msam.MLA(WIDTHS, 3),
    "mmcosine": msam.MMCosine,
    "reconboost": msam.ReconBoost,
    "cml": msam.CML,
    "cml-code": lambda: msam.CML(faithful="code"),
    "lfm": lambda: msam.LFM(WIDTHS, 3),
    "unimodal": lambda: msam.Unimodal("a"),
}


def encoder(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 8), *layers, nn.Tanh(), nn.Linear(8, 4))


class Inside(nn.Module):
    """An encoder that is a checkpoint, as transformers have it."""

    def __init__(self, body: nn.Module, reentrant: bool) -> None:
        super().__init__()
        self.body, self.reentrant = body, reentrant

    def forward(self, tensor: Tensor) -> Tensor:
        start = tensor.detach().requires_grad_() if self.reentrant else tensor
        made: Tensor = checkpoint(self.body, start, use_reentrant=self.reentrant)
        return made


class Segments(Inside):
    """A first layer, then segments."""

    def forward(self, tensor: Tensor) -> Tensor:
        first: Tensor = self.body[0](tensor)  # type: ignore[index]
        made: Tensor = checkpoint_sequential(self.body[1:], 2, first, use_reentrant=self.reentrant)  # type: ignore[index]
        return made


class Around(FusionModel):
    """A model that calls its encoders as checkpoints."""

    reentrant = True

    def forward(self, inputs: Any) -> Tensor:
        features = {}
        for name, module in self.encoders.items():
            start = inputs[name].detach().requires_grad_()
            features[name] = checkpoint(module, start, use_reentrant=self.reentrant)
        return self.fuse(features)


def data() -> tuple[dict[str, Tensor], Tensor]:
    draw = torch.Generator().manual_seed(1)
    return {m: torch.randn(8, 5, generator=draw, dtype=torch.float64) for m in WIDTHS}, torch.arange(8) % 3


def model(wrap: Callable[[nn.Module], nn.Module], *layers: Callable[[], nn.Module], kind: Any = FusionModel) -> Any:
    torch.manual_seed(0)
    encoders = {m: wrap(encoder(*(make() for make in layers))) for m in WIDTHS}
    return kind(encoders, LateFusion(WIDTHS, 3)).double()


def step(net: nn.Module, name: str, batches: int = 2) -> dict[str, Tensor]:
    """Gradients after some batches, by name without the wrappers' own part, and buffers."""
    torch.manual_seed(2)
    backward = METHODS[name]().on(net, F.cross_entropy)
    for _ in range(batches):
        net.zero_grad()
        backward(*data())
    grads = {key: torch.zeros(()) if w.grad is None else w.grad for key, w in net.named_parameters()}
    return {key.replace("body.", ""): value.clone() for key, value in {**grads, **dict(net.named_buffers())}.items()}


def close(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """To 1e-10 in double precision: sums may be taken in another order."""
    return one.keys() == other.keys() and all(torch.allclose(one[k], other[k], rtol=1e-10, atol=1e-12) for k in one)


# ---- checkpoints ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [Inside, Segments], ids=["inside", "segments"])
@pytest.mark.parametrize("reentrant", [True, False], ids=["reentrant", "not-reentrant"])
@pytest.mark.parametrize("name", METHODS)
def test_a_checkpoint_inside_an_encoder_changes_no_gradient(name: str, reentrant: bool, form: Any) -> None:
    plain = step(model(lambda body: body), name)
    assert close(step(model(lambda body: form(body, reentrant)), name), plain)
    assert any(value.any() for key, value in plain.items() if key.startswith("encoders.a"))


@pytest.mark.parametrize("layer", [nn.Dropout, lambda: nn.BatchNorm1d(8)], ids=["dropout", "batch-norm"])
@pytest.mark.parametrize("name", METHODS)
def test_a_checkpoint_that_is_computed_again_sees_the_state_of_its_pass(name: str, layer: Any) -> None:
    """Gradients are those without checkpoints, and running statistics those that plain training with them leaves."""
    wrap = lambda body: Inside(body, reentrant=False)  # noqa: E731
    made, plain = step(model(wrap, layer), name, 1), step(model(lambda body: body, layer), name, 1)
    joint = step(model(wrap, layer), "joint", 1)
    running = {key for key in made if "running" in key or "tracked" in key}
    if name != "msam-shapley":  # what is absent is encoded with running statistics, which such a checkpoint moves twice
        assert close(
            {k: v for k, v in made.items() if k not in running}, {k: v for k, v in plain.items() if k not in running}
        )
    if name not in {"unimodal", "reconboost"}:  # they back-propagate into one encoder
        assert close({k: made[k] for k in running}, {k: joint[k] for k in running})


@pytest.mark.parametrize("reentrant", [True, False], ids=["reentrant", "not-reentrant"])
@pytest.mark.parametrize("name", METHODS)
def test_a_checkpoint_around_an_encoder_loses_no_gradient(name: str, reentrant: bool) -> None:
    """Features that a reentrant checkpoint hides cannot be given to a classifier: that is said, never passed over."""
    around = type("Around", (Around,), {"reentrant": reentrant})
    try:
        made = step(model(lambda body: body, kind=around), name)
    except ValueError as error:
        assert reentrant
        assert any(words in str(error) for words in HIDDEN)  # noqa: PT017
        return
    assert close(made, step(model(lambda body: body), name))


def test_curvature_behind_a_reentrant_checkpoint_is_refused() -> None:
    objective = msam.Objective(model(lambda body: Inside(body, reentrant=True)), F.cross_entropy)
    with pytest.raises(ValueError, match=r"no second derivative \(a reentrant checkpoint; pass use_reentrant=False\)"):
        Landscape(objective, [data()]).gradient()


# ---- hooks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in METHODS if name not in {"agm-code"}])
def test_a_hook_that_scales_a_weights_gradient_scales_what_arrives_once(name: str) -> None:
    """The hook is on a weight that no perturbation depends on: its gradient is a tenth, all others are what they were.

    Where the perturbation does depend on it, as in SAM, it is that of the scaled gradient, as in a plain loop: the
    reference there is a rho so small that the perturbation makes no difference.
    """
    tiny = {"sam": 1e-12, "msam": 1e-12, "msam-encoder": 1e-12, "msam-shapley": 1e-12, "aesam": 1e-12, "fsam": 1e-12}
    tiny |= {"looksam": 1e-12, "esam": 1e-12, "masam": 1e-12, "masam-code": 1e-12}
    grads = []
    for hooked in (False, True):
        net, method = model(lambda body: body), METHODS[name]()
        if name in tiny:
            method.rho = tiny[name]  # type: ignore[assignment]
        weight = net.encoders["a"][0].weight
        if hooked:
            weight.register_hook(lambda slope: slope * 0.1)
        torch.manual_seed(2)
        method.on(net, F.cross_entropy)(*data())
        grads.append({k: torch.zeros(()) if w.grad is None else w.grad for k, w in net.named_parameters()})
    grads[0]["encoders.a.0.weight"] *= 0.1
    assert all(torch.allclose(grads[0][key], grads[1][key], rtol=1e-7, atol=1e-9) for key in grads[0])


@pytest.mark.parametrize("name", METHODS)
def test_a_hook_that_bounds_a_gradient_bounds_what_arrives(name: str) -> None:
    net = model(lambda body: body)
    weight = net.encoders["a"][0].weight
    weight.register_hook(lambda slope: slope.clamp(-1e-4, 1e-4))
    METHODS[name]().on(net, F.cross_entropy)(*data())
    assert 0 < weight.grad.abs().max() <= 1e-4 * (1 + 1e-9)


@pytest.mark.parametrize("name", ["joint", "ogm", "ogm-ge", "mmpareto", "cggm", "mla", "mmcosine", "opm", "agm", "lfm"])
def test_a_hook_is_called_once_a_batch_by_methods_that_back_propagate_once(name: str) -> None:
    net, calls = model(lambda body: body), []
    net.encoders["a"][0].weight.register_hook(lambda slope: calls.append(slope.clone()))
    METHODS[name]().on(net, F.cross_entropy)(*data())
    assert len(calls) == 1
    assert torch.equal(calls[0], net.encoders["a"][0].weight.grad)


@pytest.mark.parametrize("name", METHODS)
def test_hooks_are_there_afterwards_also_if_the_criterion_raises(name: str) -> None:
    net = model(lambda body: body)
    weight, calls = net.encoders["a"][0].weight, []
    handle = weight.register_hook(lambda slope: calls.append("before"))
    weight.register_post_accumulate_grad_hook(lambda weight: calls.append("after"))
    METHODS[name]().on(net, F.cross_entropy)(*data())

    def broken(logits: Tensor, target: Tensor) -> Tensor:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        METHODS[name]().on(net, broken)(*data())
    calls.clear()
    net.zero_grad()
    F.cross_entropy(net(data()[0]), data()[1]).backward()  # type: ignore[no-untyped-call]
    assert calls == ["before", "after"]
    handle.remove()
    F.cross_entropy(net(data()[0]), data()[1]).backward()  # type: ignore[no-untyped-call]
    assert calls == ["before", "after", "after"]


@pytest.mark.parametrize("name", ["sam", "msam", "msam-encoder", "msam-shapley", "ogm", "mmpareto"])
def test_hooks_act_on_each_micro_batch_of_an_accumulated_gradient(name: str) -> None:
    def gradients(batches: int) -> dict[str, Tensor]:
        net = model(lambda body: body)
        net.encoders["a"][0].weight.register_hook(lambda slope: slope.clamp(-1e-3, 1e-3))
        backward = METHODS[name]().on(net, F.cross_entropy)
        for _ in range(batches):
            backward(*data())
        return {key: weight.grad for key, weight in net.named_parameters()}

    once, twice = gradients(1), gradients(2)
    assert all(torch.allclose(2 * once[key], twice[key], rtol=1e-12) for key in once)


@pytest.mark.parametrize("name", list(METHODS))
def test_a_hook_on_a_module_that_scales_what_comes_back_scales_it(name: str) -> None:
    """As a layer that scales the gradient does, in every pass."""

    class Scaled(nn.Module):
        def __init__(self, body: nn.Module) -> None:
            super().__init__()
            self.body = body

        def forward(self, tensor: Tensor) -> Tensor:
            made: Tensor = self.body(tensor)
            return 0.1 * made + (0.9 * made).detach()

    def by_hook(body: nn.Module) -> nn.Module:
        body.register_full_backward_pre_hook(lambda module, slopes: tuple(0.1 * slope for slope in slopes))
        return body

    expected = step(model(Scaled), name, 1)
    try:
        made = step(model(by_hook), name, 1)
    except ValueError as error:  # classifiers on an encoder's output would go past the hook
        assert any(words in str(error) for words in HIDDEN)  # noqa: PT017
        return
    assert all(torch.allclose(made[key], expected[key], rtol=1e-6, atol=1e-9) for key in made)

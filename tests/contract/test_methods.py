"""The contract of design section 4: every method x models x numbers of modalities. A new method is one row of METHODS."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from zoo import NAMES, Opaque, batch, close, gradients, model, run, same, state

from msam import ASAM, GNP, MSAM, SAM, Joint, Method, Shapley, Unimodal

METHODS: dict[str, Callable[[], Method]] = {
    "joint": Joint,
    "unimodal": lambda: Unimodal("audio"),
    "sam": lambda: SAM(rho=0.2),
    "asam": lambda: ASAM(rho=0.4),
    "gnp": lambda: GNP(alpha=0.3, rho=0.2),
    "msam": lambda: MSAM(rho=0.2),
    "msam-adaptive": lambda: MSAM(rho=0.2, adaptive=True),
    "msam-encoder": lambda: MSAM(rho=0.2, scope="encoder"),
    "msam-encoder+head": lambda: MSAM(rho=0.2, scope="encoder+head"),
    "msam-shapley": lambda: MSAM(rho=0.2, scope="shapley"),
    "msam-random": lambda: MSAM(rho=0.2, dominant="random"),
    "msam-weakest": lambda: MSAM(rho=0.2, dominant="weakest"),
    "msam-fixed": lambda: MSAM(rho=0.2, dominant="audio", scope="encoder"),
    "msam-every": lambda: MSAM(rho=0.2, every=2),
    "msam-loss-value": lambda: MSAM(rho=0.2, attribution=Shapley(value="loss", momentum=0.5)),
    "msam-mean-feature": lambda: MSAM(rho=0.2, attribution=Shapley(absent="mean-feature", every=2)),
    "msam-shuffle": lambda: MSAM(rho=0.2, attribution=Shapley(absent="shuffle", estimator="antithetic", strict=True)),
}
LATE_ONLY = {"msam-encoder+head"}
CASES = [
    pytest.param(name, count, fusion, id=f"{name}-{count}-{fusion}")
    for name in METHODS
    for count in (1, 2, 3, 5)
    for fusion in ("late", "early")
    if not (name in LATE_ONLY and fusion == "early" and count > 1)
]
PAIRS = [case for case in CASES if case.values[1] in (2, 5)]


@pytest.mark.parametrize(("name", "count", "fusion"), CASES)
def test_leaves_the_model_as_one_plain_pass_would(name: str, count: int, fusion: str) -> None:
    net, plain, data = model(count, fusion), model(count, fusion), batch(count)
    backward = METHODS[name]().on(net, F.cross_entropy)
    for _ in range(2):
        torch.manual_seed(3)
        outcome = backward(*data)
        found = state(net)
        torch.manual_seed(3)
        if name == "unimodal":
            plain.encoders["audio"](data[0]["audio"])
            assert same(gradients(net).keys(), {k: 0 for k in gradients(net) if "audio" in k or "fusion" in k}.keys())
            expected = state(plain)
            if fusion == "late":
                assert same(found, expected)
            continue
        loss = F.cross_entropy(plain(data[0]), data[1])
        assert same(found, state(plain))
        assert torch.equal(outcome.loss, loss.detach())
    assert not outcome.loss.requires_grad
    assert not outcome.logits.requires_grad
    assert all(isinstance(value, (float, str)) for value in outcome.notes.values())


@pytest.mark.parametrize(("name", "count", "fusion"), PAIRS)
def test_puts_everything_back_when_the_criterion_raises(name: str, count: int, fusion: str) -> None:
    for failing in (1, 2, 3):
        net = model(count, fusion)
        calls = 0

        def criterion(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            nonlocal calls
            calls += 1
            if calls == failing:
                raise RuntimeError("stop")
            return F.cross_entropy(logits, target)

        F.cross_entropy(net(batch(count, seed=5)[0]), batch(count, seed=5)[1]).backward()
        before, held = gradients(net), [weight.grad for weight in net.parameters()]
        plain = copy.deepcopy(net)
        torch.manual_seed(3)
        try:
            METHODS[name]().on(net, criterion)(*batch(count))
        except RuntimeError:
            found = state(net)
            assert same(gradients(net), before)
            assert all(weight.grad is old for weight, old in zip(net.parameters(), held, strict=True))
            if name != "unimodal":
                torch.manual_seed(3)
                plain(batch(count)[0])
                assert same(found, state(plain))
        else:
            assert calls < failing


@pytest.mark.parametrize(("name", "count", "fusion"), PAIRS)
def test_adds_to_existing_gradients_in_place(name: str, count: int, fusion: str) -> None:
    net, data = model(count, fusion), batch(count)
    alone = run(METHODS[name](), net, *data)
    F.cross_entropy(net(data[0]), data[1]).backward()
    net = model(count, fusion)
    for weight in net.parameters():
        weight.grad = torch.full_like(weight, 0.25)
    held = {key: weight.grad for key, weight in net.named_parameters()}
    torch.manual_seed(11)
    METHODS[name]().on(net, F.cross_entropy)(*data)
    expected = {key: alone.get(key, torch.zeros_like(grad)) + 0.25 for key, grad in gradients(net).items()}
    assert close(gradients(net), expected, 1e-14)
    assert all(weight.grad is held[key] for key, weight in net.named_parameters())


@pytest.mark.parametrize(("name", "count", "fusion"), PAIRS)
def test_is_scale_equivariant(name: str, count: int, fusion: str) -> None:
    net, data = model(count, fusion), batch(count)
    plain = run(METHODS[name](), net, *data)
    factor = 2.0**10  # a power of two: scaling is exact, only norms and quotients may round
    scaled = run(METHODS[name](), net, *data, criterion=lambda z, y: factor * F.cross_entropy(z, y))
    assert close({key: grad / factor for key, grad in scaled.items()}, plain, 1e-13)
    backwards = run(METHODS[name](), net, *data, backward=lambda loss: (factor * loss).backward())
    assert close({key: grad / factor for key, grad in backwards.items()}, plain, 1e-13)


@pytest.mark.parametrize(("name", "fusion"), [(n, f) for n in METHODS for f in ("late", "early") if n not in LATE_ONLY])
def test_relabelling_modalities_permutes_the_result(name: str, fusion: str) -> None:
    if name == "msam-fixed" or name == "unimodal":
        pytest.skip("names a modality")
    net, (inputs, target) = model(3, fusion), batch(3)
    renamed = dict(zip(NAMES[:3], ("zebra", "apple", "mango"), strict=True))
    other = copy.deepcopy(net)
    other.encoders = nn.ModuleDict({renamed[key]: module for key, module in net.encoders.items()})
    if fusion == "late":
        other.fusion.heads = nn.ModuleDict({renamed[key]: module for key, module in net.fusion.heads.items()})
    else:
        other.fusion.names = tuple(renamed[key] for key in net.fusion.names)
    left = run(METHODS[name](), net, inputs, target)
    right = run(METHODS[name](), other, {renamed[key]: tensor for key, tensor in inputs.items()}, target)
    assert all(torch.equal(a, b) for a, b in zip(left.values(), right.values(), strict=True))


@pytest.mark.parametrize("name", METHODS)
def test_state_dict_round_trip_continues_identically(name: str) -> None:
    net, method = model(3), METHODS[name]()
    backward = method.on(net, F.cross_entropy)
    for seed in range(3):
        backward(*batch(3, seed=seed))
    net.zero_grad()
    fresh, copied = METHODS[name](), copy.deepcopy(net)
    fresh.load_state_dict(copy.deepcopy(method.state_dict()))
    other = fresh.on(copied, F.cross_entropy)
    for seed in (3, 4):
        torch.manual_seed(seed)
        backward(*batch(3, seed=seed))
        torch.manual_seed(seed)
        notes = other(*batch(3, seed=seed)).notes
        assert all(isinstance(value, (str, float)) for value in notes.values())
    assert same(gradients(net), gradients(copied))


@pytest.mark.parametrize(("name", "fusion"), [(n, f) for n in METHODS for f in ("late", "early") if n not in LATE_ONLY])
def test_micro_batches_add_up(name: str, fusion: str) -> None:
    net, parts = model(2, fusion), [batch(2, seed=seed) for seed in range(4)]
    expected: dict[str, Any] = {}
    method, copied = METHODS[name](), copy.deepcopy(net)
    backward = method.on(copied, lambda z, y: F.cross_entropy(z, y) / 4)
    torch.manual_seed(0)
    for part in parts:
        backward(*part)
        for key, grad in gradients(copied).items():
            expected[key] = expected.get(key, 0) + grad
        copied.zero_grad()
    torch.manual_seed(0)
    backward = METHODS[name]().on(net, lambda z, y: F.cross_entropy(z, y) / 4)
    for part in parts:
        backward(*part)
    assert close(gradients(net), expected, 1e-14)


@pytest.mark.parametrize(("name", "fusion"), [(n, f) for n in METHODS for f in ("late", "early") if n not in LATE_ONLY])
def test_gradient_scaler_changes_nothing(name: str, fusion: str) -> None:
    trained = []
    for scaling in (False, True):
        net = model(2, fusion, dtype=torch.float32)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, enabled=scaling)
        step = METHODS[name]().on(net, F.cross_entropy, backward=lambda loss, s=scaler: s.scale(loss).backward())
        torch.manual_seed(1)
        for seed in range(4):
            step(*batch(2, seed=seed, dtype=torch.float32))
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        trained.append({key: tensor.clone() for key, tensor in net.state_dict().items()})
    # float32: norms and quotients of scaled gradients round differently; four momentum steps at lr 0.1
    assert close(*[{k: v for k, v in t.items() if v.is_floating_point()} for t in trained], 2e-6)


@pytest.mark.parametrize("name", METHODS)
def test_overflowing_scale_skips_the_step_and_restores_the_weights(name: str) -> None:
    net = model(2, dtype=torch.float32)
    weights = {key: weight.detach().clone() for key, weight in net.named_parameters()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=3e38)
    step = METHODS[name]().on(
        net, lambda z, y: 1e3 * F.cross_entropy(z, y), backward=lambda v: scaler.scale(v).backward()
    )
    step(*batch(2, dtype=torch.float32))
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() < 3e38
    assert same(weights, {key: weight.detach() for key, weight in net.named_parameters()})


@pytest.mark.parametrize(("name", "count", "fusion"), PAIRS)
def test_bfloat16_autocast_is_near_float32(name: str, count: int, fusion: str) -> None:
    net, data = model(count, fusion, dtype=torch.float32), batch(count, size=32, dtype=torch.float32)
    half = run(METHODS[name](), net, *data, context=lambda: torch.autocast("cpu", torch.bfloat16))
    full = run(METHODS[name](), net, *data)
    dot = sum((half[key] * full[key]).sum() for key in full)
    norms = [sum(grad.square().sum() for grad in grads.values()).sqrt() for grads in (half, full)]
    assert all(grad.dtype == torch.float32 for grad in half.values())
    assert dot / (norms[0] * norms[1]) > 0.95  # bf16 keeps 8 bits and may name another dominant modality


@pytest.mark.parametrize("name", [name for name in METHODS if name not in LATE_ONLY and name != "unimodal"])
def test_works_on_a_model_that_shows_only_forward_or_refuses_before_training(name: str) -> None:
    net, data = Opaque(model(2)), batch(2)
    try:
        backward = METHODS[name]().on(net, F.cross_entropy)
    except ValueError as error:
        assert "needs a model with" in str(error)
        assert "Joint" in str(error)
        return
    if "feature" in name:
        with pytest.raises(ValueError, match="zero-input"):
            backward(*data)
        return
    backward(*data)
    assert gradients(net)


def test_every_public_method_is_in_the_contract() -> None:
    import msam

    public = {cls for cls in vars(msam).values() if isinstance(cls, type) and issubclass(cls, Method)} - {Method}
    assert public == {type(make()) for make in METHODS.values()}

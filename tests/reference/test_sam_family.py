"""The sharpness-aware methods against independent implementations and their stated limits."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam import ASAM, GNP, MSAM, SAM, Joint, Objective, Shapley
from msam.model_state import StashedGradients, perturbed
from msam.objective.model_view import ModelView
from msam.perturbation import sam_perturbation
from zoo import Opaque, Unfusable, batch, close, gradients, model, run

BOTH = pytest.mark.parametrize("fusion", ["late", "early"])
COUNTS = pytest.mark.parametrize("count", [1, 2, 3, 6])


def fixed(share: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A value function of two players whose clamped share of the first is given."""
    return lambda logits, target: torch.tensor([share, 1 - share, 1.0], dtype=torch.float64)


def literal_step(net: nn.Module, inputs: dict[str, Tensor], target: Tensor, rho: float, value: float) -> None:
    """Algorithm 1 as printed: three backwards, no reuse; dropout masks and running statistics handled by hand."""
    weights, start = list(net.parameters()), torch.get_rng_state()

    def loss() -> Tensor:
        torch.set_rng_state(start)
        return F.cross_entropy(net(inputs), target)

    dominant = torch.autograd.grad(value * loss(), weights)
    buffers, after = [b.clone() for b in net.buffers()], torch.get_rng_state()
    rest = torch.autograd.grad((1 - value) * loss(), weights)
    norm = torch.sqrt(sum(g.square().sum() for g in dominant))
    saved = [w.detach().clone() for w in weights]
    with torch.no_grad():
        for weight, grad in zip(weights, dominant, strict=True):
            weight += rho * grad / norm
    perturbed = torch.autograd.grad(value * loss(), weights)
    with torch.no_grad():
        for weight, old in zip(weights, saved, strict=True):
            weight.copy_(old)
        for buffer, old in zip(net.buffers(), buffers, strict=True):
            buffer.copy_(old)
    torch.set_rng_state(after)
    for weight, first, second in zip(weights, perturbed, rest, strict=True):
        weight.grad = first + second


@COUNTS
@BOTH
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_loss_scope_is_the_literal_algorithm_over_20_momentum_steps(
    fusion: str, count: int, dtype: torch.dtype, tolerance: float
) -> None:
    ours, theirs = model(count, fusion, dtype=dtype), model(count, fusion, dtype=dtype)
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4) for net in (ours, theirs)]
    backward = MSAM(rho=0.1).on(ours, F.cross_entropy)
    torch.manual_seed(0)
    for seed in range(20):
        data, start = batch(count, seed=seed, dtype=dtype), torch.get_rng_state()
        share = backward(*data).notes["share"]  # the weights have tests of their own
        torch.set_rng_state(start)
        literal_step(theirs, *data, 0.1, share)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    left, right = ours.state_dict(), theirs.state_dict()
    assert all(torch.allclose(left[k], right[k], rtol=0, atol=tolerance) for k in left)


@pytest.mark.parametrize("kind", ["sam", "asam"])
@BOTH
def test_sam_and_asam_equal_the_commonly_copied_optimizer(kind: str, fusion: str) -> None:
    """An independent two-step optimiser in the manner of the public ones, 20 momentum steps, BatchNorm included."""
    adaptive, rho = kind == "asam", {"sam": 0.1, "asam": 0.5}[kind]
    ours, theirs = model(2, fusion), model(2, fusion)
    method = ASAM(rho, eta=0.0) if adaptive else SAM(rho)
    backward = method.on(ours, F.cross_entropy)
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9) for net in (ours, theirs)]
    norms = [m for m in theirs.modules() if isinstance(m, nn.BatchNorm1d)]
    for seed in range(20):
        inputs, target = batch(2, seed=seed)
        torch.manual_seed(seed)
        backward(inputs, target)
        torch.manual_seed(seed)
        F.cross_entropy(theirs(inputs), target).backward()
        moved = [(w, w.detach().clone()) for w in theirs.parameters()]
        scaled = [(w.abs() if adaptive else 1) * w.grad for w in theirs.parameters()]
        norm = torch.stack([g.norm(p=2) for g in scaled]).norm(p=2)
        with torch.no_grad():
            for weight in theirs.parameters():
                weight.add_((weight.pow(2) if adaptive else 1) * weight.grad * rho / (norm + 1e-12))
        theirs.zero_grad()
        for layer in norms:
            layer.track_running_stats = False
        torch.manual_seed(seed)
        F.cross_entropy(theirs(inputs), target).backward()
        for layer in norms:
            layer.track_running_stats = True
        with torch.no_grad():
            for weight, old in moved:
                weight.copy_(old)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    left, right = ours.state_dict(), theirs.state_dict()
    assert all(torch.allclose(left[k], right[k], rtol=0, atol=1e-10) for k in left)  # theirs adds 1e-12 to the norm


def test_asam_ball_has_its_radius_in_the_scaled_space() -> None:
    from msam.perturbation import asam_epsilon

    weights, grads = [torch.tensor([2.0, -0.5]), torch.tensor([3.0])], [torch.tensor([1.0, 4.0]), torch.tensor([-2.0])]
    epsilon = asam_epsilon(weights, grads, rho=0.7, eta=0.01)
    scaled = torch.cat([e / (w.abs() + 0.01) for e, w in zip(epsilon, weights, strict=True)])
    assert torch.isclose(scaled.norm(), torch.tensor(0.7))


@COUNTS
@BOTH
@pytest.mark.parametrize("scope", ["loss", "encoder", "shapley"])
def test_limits_that_are_joint_training_hold_bit_for_bit(fusion: str, count: int, scope: str) -> None:
    net, data = model(count, fusion), batch(count)
    joint = run(Joint(), net, *data)
    for method in (
        MSAM(rho=0.0, scope=scope),
        MSAM(rho=0.1, weight=0.0, scope=scope),
        SAM(0.0),
        GNP(0.0, 0.1),
        ASAM(0.0),
    ):
        found = run(method, net, *data)
        assert all(torch.equal(found[key], joint[key]) for key in joint)


@COUNTS
@BOTH
def test_full_weight_is_sam_bit_for_bit(fusion: str, count: int) -> None:
    net, data = model(count, fusion), batch(count)
    sam = run(SAM(0.1), net, *data)
    for method in (MSAM(rho=0.1, weight=1.0), GNP(alpha=1.0, rho=0.1)):
        found = run(method, net, *data)
        assert all(torch.equal(found[key], sam[key]) for key in sam)


@BOTH
def test_one_modality_is_sam(fusion: str) -> None:
    net, data = model(1, fusion), batch(1)
    sam = run(SAM(0.1), net, *data)
    assert close(run(MSAM(rho=0.1), net, *data), sam, 0)
    assert close(run(MSAM(rho=0.1, scope="encoder+head"), net, *data), sam, 0)
    assert close(run(MSAM(rho=0.1, scope="shapley"), net, *data), sam, 1e-14)  # g - g_d + g_d(theta + epsilon) rounds


@BOTH
def test_loss_scope_is_gnp_with_the_share_of_the_batch(fusion: str) -> None:
    net, data = model(2, fusion), batch(2)
    share = MSAM(rho=0.1, attribution=Shapley(value=fixed(0.7)))
    assert close(run(share, net, *data), run(GNP(alpha=0.7, rho=0.1), net, *data), 1e-15)


@BOTH
@pytest.mark.parametrize("scope", ["encoder", "encoder+head"])
@pytest.mark.parametrize("weight", ["share", 1.0, 0.4])
@pytest.mark.parametrize("dominant", ["audio", "image", "text"])
def test_encoder_scope_with_reused_features_equals_the_full_second_pass(
    fusion: str, scope: str, weight: Any, dominant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if scope == "encoder+head" and fusion == "early":
        pytest.skip("needs one head a modality")
    net, data = model(3, fusion), batch(3)
    method = MSAM(rho=0.1, scope=scope, weight=weight, dominant=dominant, attribution=Shapley(strict=True))
    reused = run(method, net, *data)
    monkeypatch.setattr(ModelView, "separable", False)
    full = run(method, net, *data)
    assert reused.keys() == full.keys()
    assert all(torch.equal(reused[key], full[key]) for key in reused)
    if scope == "encoder":  # a model without `fuse` cannot reuse anything either, and plays the same game
        shown = {key.removeprefix("inner."): grad for key, grad in run(method, Unfusable(net), *data).items()}
        assert all(torch.equal(reused[key], shown[key]) for key in reused)


@BOTH
def test_encoder_scope_by_hand(fusion: str) -> None:
    """u = w g_d(theta + epsilon_d) + (1 - w) g_d(theta) in the dominant encoder, g(theta) elsewhere."""
    net, (inputs, target) = model(2, fusion), batch(2)
    found = run(MSAM(rho=0.3, scope="encoder", dominant="image", weight=0.6), net, inputs, target)
    plain = run(Joint(), net, inputs, target)
    norm = torch.sqrt(sum(g.square().sum() for k, g in plain.items() if k.startswith("encoders.image")))
    moved = copy.deepcopy(net)
    with torch.no_grad():
        for key, weight in moved.named_parameters():
            if key.startswith("encoders.image"):
                weight += 0.3 * plain[key] / norm
    there = run(Joint(), moved, inputs, target)
    mixed = {k: 0.6 * there[k] + 0.4 * g if k.startswith("encoders.image") else g for k, g in plain.items()}
    assert close(found, mixed, 1e-15)


def climbed(net: nn.Module, gradient: dict[str, Tensor], rho: float, block: str = "") -> nn.Module:
    """The model at `theta + rho g / |g|`, all of it or the weights whose names start with `block`."""
    moved, inside = copy.deepcopy(net), {k: g for k, g in gradient.items() if k.startswith(block)}
    norm = torch.sqrt(sum(g.square().sum() for g in inside.values()))
    with torch.no_grad():
        for key, weight in moved.named_parameters():
            weight += rho * inside[key] / norm if key in inside else 0.0
    return moved


@BOTH
@pytest.mark.parametrize(("scope", "block", "noisy"), [("loss", "", True), ("encoder", "encoders.image", False)])
def test_a_second_pass_on_a_part_of_the_batch_by_hand(fusion: str, scope: Any, block: str, noisy: bool) -> None:
    """u = w g_B'(theta + epsilon) + (1 - w) g_B(theta), B' the first quarter, counted as one."""
    net, (inputs, target) = model(2, fusion, noisy), batch(2)
    method = MSAM(rho=0.3, scope=scope, dominant="image", weight=0.6, part=0.25)
    found, plain = run(method, net, inputs, target), run(Joint(), net, inputs, target)
    some = {name: tensor[:3] for name, tensor in inputs.items()}
    there = run(Joint(), climbed(net, plain, 0.3, block), some, target[:3])
    mixed = {k: 0.6 * there[k] + 0.4 * g if k.startswith(block) else g for k, g in plain.items()}
    assert close(found, mixed)
    backward = method.on(net, F.cross_entropy)
    rise = backward(inputs, target).notes["sharpness"]
    assert backward.objective.counts.encoder_forwards["image"] == backward.objective.counts.backwards == 1.25
    if not noisy:  # else the two losses are of other statistics
        moved = climbed(net, plain, 0.3, block)
        expected = F.cross_entropy(moved(some), target[:3]) - F.cross_entropy(net(some), target[:3])
        assert rise == pytest.approx(expected.item(), abs=1e-12)


@pytest.mark.parametrize("scope", ["loss", "encoder", "shapley"])
def test_one_part_and_more_is_the_whole_second_pass(scope: Any) -> None:
    data = batch(2)
    whole, part = (run(MSAM(rho=0.3, scope=scope, part=share), model(2), *data) for share in (1.0, 0.99))
    assert all(torch.equal(whole[key], part[key]) for key in whole)


@BOTH
def test_a_second_pass_in_bfloat16_by_hand(fusion: str) -> None:
    net, (inputs, target) = model(2, fusion, dtype=torch.float32), batch(2, dtype=torch.float32)
    found, full = (run(MSAM(rho=0.3, weight=1.0, low_precision=low), net, inputs, target) for low in (True, False))
    moved = copy.deepcopy(net)
    backward = Joint().on(copy.deepcopy(net), F.cross_entropy)
    torch.manual_seed(11)
    backward(inputs, target)
    plain = backward.objective.parameters()
    with perturbed(list(moved.parameters()), *sam_perturbation([w.grad for w in plain], 0.3)):
        there = run(Joint(), moved, inputs, target, context=lambda: torch.autocast("cpu", torch.bfloat16))
    assert all(torch.equal(found[key], there[key]) for key in found)
    assert not close(found, full, 1e-6)


@pytest.mark.parametrize("dominant", ["audio", "image"])
def test_shapley_scope_equals_encoder_and_head_for_a_linear_fusion(dominant: str) -> None:
    """With zero features absent and no bias, a linear head's Shapley logits are each modality's own part."""
    net, data = model(2, "late"), batch(2)
    net.fusion.bias.requires_grad_(False)
    split = MSAM(rho=0.1, scope="shapley", dominant=dominant, attribution=Shapley(absent="zero-feature"))
    block = MSAM(rho=0.1, scope="encoder+head", dominant=dominant, weight=1.0)
    assert close(run(split, net, *data), run(block, net, *data), 1e-14)


@BOTH
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("absent", ["zero-feature", "zero-input"])
def test_shapley_parts_sum_to_the_gradient(fusion: str, count: int, absent: Any) -> None:
    from msam.attribution import exact
    from msam.objective import Part

    net, data = model(count, fusion), batch(count)
    objective, design = Objective(net, F.cross_entropy), exact(count)
    torch.manual_seed(2)
    first = objective.accumulate_gradient(*data)
    whole = gradients(net)
    net.zero_grad()
    for row in design.weights:
        objective.coalitions.accumulate_part_gradient(first, *data, Part(design.masks, row, absent))
    assert close(gradients(net), whole, 1e-14)


def test_worked_number_on_a_quadratic() -> None:
    """l = a theta^2 / 2 gives u = a (theta + v rho sign(theta)); baselines F2."""
    net = nn.ParameterList([nn.Parameter(torch.tensor([0.5]))])
    loss: Any = lambda z, y: 3.0 * z.square().sum() / 2  # noqa: E731
    call: Any = lambda m, inputs: m[0] * torch.ones(1)  # noqa: E731
    seven = MSAM(0.1, attribution=Shapley(value=fixed(0.7)))
    for method, share in ((SAM(0.1), 1.0), (seven, 0.7), (GNP(0.6, 0.1), 0.6), (Joint(), 0.0)):
        net[0].grad = None
        backward = method.on(net, loss, call=call, modalities=["audio", "image"])  # may be lengths
        backward({"audio": torch.ones(1), "image": torch.ones(1)}, torch.zeros(1))
        assert net[0].grad.item() == pytest.approx(3 * (0.5 + share * 0.1), rel=1e-6)


def test_zero_gradient_is_not_perturbed() -> None:
    net, (inputs, target) = model(2), batch(2)
    found = run(SAM(0.1), net, inputs, target, criterion=lambda z, y: 0 * F.cross_entropy(z, y))
    assert all(torch.equal(grad, torch.zeros_like(grad)) for grad in found.values())


def test_frozen_encoder_is_neither_moved_nor_given_a_gradient() -> None:
    net, data = model(2), batch(2)
    net.encoders["audio"].requires_grad_(False)
    for scope in ("loss", "encoder", "encoder+head", "shapley"):
        found = run(MSAM(rho=0.1, scope=scope, dominant="audio"), net, *data)
        assert not [key for key in found if key.startswith("encoders.audio")]
        assert [key for key in found if key.startswith("encoders.image")]


def test_opaque_and_open_models_take_the_same_loss_scope_step() -> None:
    net, data = model(3), batch(3)
    left = run(MSAM(rho=0.1, attribution=Shapley(strict=True)), net, *data)
    right = run(MSAM(rho=0.1), Opaque(net), *data)
    assert close(left, {key.removeprefix("inner."): grad for key, grad in right.items()}, 1e-14)


def test_shared_encoder_falls_back_to_the_full_second_pass() -> None:
    net, (inputs, target) = model(2, noisy=False), batch(2)
    net.encoders["image"] = net.encoders["audio"]
    inputs = {"audio": inputs["audio"], "image": inputs["audio"].flip(0)}
    found = run(MSAM(rho=0.1, scope="encoder", dominant="image", weight=1.0), net, inputs, target)
    plain = run(Joint(), net, inputs, target)
    norm = torch.sqrt(sum(g.square().sum() for k, g in plain.items() if k.startswith("encoders")))
    moved = copy.deepcopy(net)
    with torch.no_grad():
        for key, weight in moved.named_parameters():
            if key.startswith("encoders"):
                weight += 0.1 * plain[key] / norm
    there = run(Joint(), moved, inputs, target)
    assert close(found, {k: there[k] if k.startswith("encoders") else plain[k] for k in plain}, 1e-14)


def test_aside_restores_identity_and_values_on_error() -> None:
    weight = nn.Parameter(torch.ones(2))
    weight.grad = held = torch.tensor([1.0, 2.0])
    with pytest.raises(KeyError), StashedGradients([weight]) as earlier:  # noqa: PT012 (the order is the test)
        (weight * 3).sum().backward()
        earlier.restore_earlier()
        raise KeyError
    assert weight.grad is held
    assert held.tolist() == [1.0, 2.0]

"""ESAM, LookSAM, AE-SAM and F-SAM: worked numbers, stated limits, and literal re-implementations over steps."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam import AESAM, ESAM, FSAM, SAM, Joint, LookSAM, Method
from msam.blocks import orthogonal
from zoo import batch, close, gradients, model, run, same

BOTH = pytest.mark.parametrize("fusion", ["late", "early"])
COUNTS = pytest.mark.parametrize("count", [1, 2, 3, 6])

Named = dict[str, Tensor]


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def quadratic(method: Method, *slopes: Tensor) -> list[Tensor]:
    """What a method adds, batch by batch, for `l = |theta - a|^2 / 2` at theta = 0 where the gradient is `slope`.

    There `grad l(theta + epsilon) = slope + epsilon`.
    """
    net = nn.ParameterList([nn.Parameter(torch.zeros_like(slopes[0]))])
    criterion: Any = lambda z, y: (z - y).square().sum() / 2  # noqa: E731
    backward = method.on(net, criterion, call=lambda m, inputs: m[0][None])
    found = []
    for slope in slopes:
        net[0].grad = None
        backward({}, -slope[None])
        found.append(net[0].grad.clone())
    return found


def named_gradients(net: nn.Module, data: Any, epsilon: Named | None = None) -> tuple[Named, Tensor]:
    """Gradient and logits at `theta + epsilon` with the draws of `seeded` steps, by a copy that is thrown away."""
    moved = copy.deepcopy(net)
    with torch.no_grad():
        for key, step in (epsilon or {}).items():
            moved.get_parameter(key).add_(step)
    torch.manual_seed(11)
    logits = moved(data[0])
    F.cross_entropy(logits, data[1]).backward()
    return gradients(moved), logits.detach()


def norm(tensors: Named) -> float:
    return math.sqrt(sum(tensor.square().sum().item() for tensor in tensors.values()))


def along(tensors: Named, length: float) -> Named:
    return {key: tensor * length / norm(tensors) for key, tensor in tensors.items()}


def dot(left: Named, right: Named) -> float:
    return sum((left[key] * right[key]).sum().item() for key in left)


def compared(method: Method, literal: Callable[[nn.Module, Any], Named], count: int, fusion: str, steps: int) -> None:
    """Equality with a literal step on consecutive batches, with an SGD step with momentum between them."""
    net = model(count, fusion)
    backward = method.on(net, F.cross_entropy)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for seed in range(steps):
        data = batch(count, seed=seed)
        expected = literal(net, data)
        torch.manual_seed(11)
        backward(*data)
        assert close(gradients(net), expected, 1e-11)
        optimizer.step()
        optimizer.zero_grad()


# ---- limits ----------------------------------------------------------------------------------------------------------

IS_SAM = {
    "esam": lambda: ESAM(0.2, beta=1, gamma=1),
    "looksam": lambda: LookSAM(0.2, every=1),
    "ae-sam": lambda: AESAM(0.2, first=-math.inf, last=-math.inf),
    "f-sam": lambda: FSAM(0.2, sigma=0),
    "f-sam-code": lambda: FSAM(0.2, sigma=0, faithful="code"),
}
IS_JOINT = {
    "esam": lambda: ESAM(0, gamma=1),
    "looksam": lambda: LookSAM(0),
    "ae-sam": lambda: AESAM(0),
    "ae-sam-never": lambda: AESAM(0.2, first=math.inf, last=math.inf),
    "f-sam": lambda: FSAM(0),
}


@BOTH
@COUNTS
@pytest.mark.parametrize("name", IS_SAM)
def test_limits_that_are_sam_hold_bit_for_bit(name: str, count: int, fusion: str) -> None:
    method, net = IS_SAM[name](), model(count, fusion)
    for seed in range(2):  # the second has something to remember
        data = batch(count, seed=seed)
        assert same(run(method, net, *data), run(SAM(0.2), net, *data))
        method.on(copy.deepcopy(net), F.cross_entropy)(*data)


@BOTH
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", IS_JOINT)
def test_limits_that_are_joint_training_hold_bit_for_bit(name: str, count: int, fusion: str) -> None:
    net, data = model(count, fusion), batch(count)
    assert same(run(IS_JOINT[name](), net, *data), run(Joint(), net, *data))


def test_looksam_without_length_is_joint_between_its_climbs() -> None:
    method, net = LookSAM(0.2, every=3, alpha=0), model(2)
    for seed in range(4):
        data = batch(2, seed=seed)
        assert same(run(method, net, *data), run(Joint() if seed % 3 else SAM(0.2), net, *data))
        method.on(copy.deepcopy(net), F.cross_entropy)(*data)


# ---- ESAM ------------------------------------------------------------------------------------------------------------


def test_esam_worked_number() -> None:
    """With both tensors perturbed, epsilon is twice SAM's at beta = 1/2; with one, along that one alone."""
    net = nn.ParameterList([nn.Parameter(vector(0.0)), nn.Parameter(vector(0.0))])
    criterion: Any = lambda z, y: (z - y).square().sum() / 2  # noqa: E731
    target = vector(-3.0, -4.0)[None]
    expected = {(0, 1): (3 + 0.12, 4 + 0.16), (0,): (3 + 0.2, 4), (1,): (3, 4 + 0.2), (): (3, 4)}
    seen = set()
    for seed in range(12):
        for weight in net:
            weight.grad = None
        method = ESAM(rho=0.1, beta=0.5, gamma=1, seed=seed)
        method.on(net, criterion, call=lambda m, inputs: torch.cat(list(m))[None])({}, target)
        stream = random.Random(seed * 1_000_003 + 1)
        drawn = tuple(i for i in range(2) if stream.random() < 0.5)
        assert [weight.grad.item() for weight in net] == pytest.approx(expected[drawn])
        seen.add(drawn)
    assert seen == set(expected)


def test_esam_descends_on_the_samples_that_mind_most() -> None:
    """`l_i = c_i theta^2 / 2` rises by `c_i (theta rho + rho^2 / 2)`: the largest c_i, not the largest l_i."""
    net = nn.ParameterList([nn.Parameter(vector(0.5))])
    curvature = vector(1.0, 8.0, 3.0, 5.0)
    criterion: Any = lambda z, y: (y * z.square()).mean() / 2 - 7 * y.mean()  # noqa: E731
    method = ESAM(rho=0.1, beta=1, gamma=0.5)
    backward = method.on(net, criterion, call=lambda m, inputs: m[0] * inputs["ones"])
    backward({"ones": torch.ones(4)}, curvature)
    assert net[0].grad.item() == pytest.approx((8 + 5) / 2 * 0.6)
    assert (backward.objective.counts.forwards, backward.objective.counts.backwards) == (2.5, 1.5)


@BOTH
@pytest.mark.parametrize("count", [2, 3])
def test_esam_equals_the_literal_steps(count: int, fusion: str) -> None:
    batches = 0

    def literal(net: nn.Module, data: Any) -> Named:
        nonlocal batches
        batches += 1
        stream = random.Random(5 * 1_000_003 + batches)
        drawn = [key for key, _ in net.named_parameters() if stream.random() < 0.6]
        plain, before = named_gradients(net, data)
        epsilon = along({key: plain[key] for key in drawn}, 0.3 / 0.6)
        _, after = named_gradients(net, data, epsilon)
        rises = F.cross_entropy(after, data[1], reduction="none") - F.cross_entropy(before, data[1], reduction="none")
        chosen = sorted(sorted(range(12), key=lambda i: -rises[i].item())[:4])
        part = {name: tensor[chosen] for name, tensor in data[0].items()}, data[1][chosen]
        return named_gradients(net, part, epsilon)[0]

    compared(ESAM(0.3, beta=0.6, gamma=1 / 3, seed=5), literal, count, fusion, 5)


# ---- LookSAM ---------------------------------------------------------------------------------------------------------


def test_looksam_worked_number() -> None:
    assert torch.cat(orthogonal([vector(1.0, 2.0)], [vector(1.0, 0.0)])).tolist() == [0, 2]
    assert torch.cat(orthogonal([vector(1.0), vector(2.0)], [vector(3.0), vector(3.0)])).tolist() == [-0.5, 0.5]
    assert torch.cat(orthogonal([vector(1.0)], [vector(0.0)])).tolist() == [1]
    method = LookSAM(every=2, alpha=0.7)
    method.set_extra_state({"batches": 1, "sideways": {"0": vector(0.0, 2.0)}})
    (found,) = quadratic(method, vector(3.0, 4.0))
    assert found.tolist() == pytest.approx([3, 4 + 0.7 * 5])


@BOTH
@pytest.mark.parametrize("count", [2, 3])
def test_looksam_equals_the_literal_steps(count: int, fusion: str) -> None:
    batches, sideways = 0, {}

    def literal(net: nn.Module, data: Any) -> Named:
        nonlocal batches, sideways
        batches += 1
        plain = named_gradients(net, data)[0]
        if batches % 3 != 1:
            part = along(sideways, 0.6 * norm(plain))
            return {key: gradient + part[key] for key, gradient in plain.items()}
        sharp = named_gradients(net, data, along(plain, 0.3))[0]
        cosine = dot(plain, sharp) / (norm(plain) * norm(sharp))
        part = along(plain, norm(sharp) * cosine)
        sideways = {key: gradient - part[key] for key, gradient in sharp.items()}
        return sharp

    compared(LookSAM(0.3, every=3, alpha=0.6), literal, count, fusion, 8)


def test_looksam_makes_one_pass_between_its_climbs() -> None:
    backward = LookSAM(every=3).on(model(2), F.cross_entropy)
    for seed in range(4):
        backward(*batch(2, seed=seed))
    assert (backward.objective.counts.forwards, backward.objective.counts.backwards) == (6, 6)


# ---- AE-SAM ----------------------------------------------------------------------------------------------------------


def test_aesam_worked_number() -> None:
    """Squares 4 and 1: means 0.4 and 0.46, variances 1.296 and 1.19556."""
    for c, second in ((1.0, False), (-1.0, True), (0.0, True)):
        method = AESAM(first=c, last=c)
        assert method.employs(4.0)
        assert method.employs(1.0) is second
        state = method.get_extra_state()
        assert (state["mean"], state["variance"]) == pytest.approx((0.46, 1.19556))


def test_aesam_threshold_moves_with_the_epochs_and_stays() -> None:
    backward = (method := AESAM(first=1, last=-1, epochs=4)).on(model(2), F.cross_entropy)
    seen = []
    for _ in range(6):
        seen.append(method.threshold)
        backward.next_epoch()
    assert seen == [1, 0.5, 0, -0.5, -1, -1]


@BOTH
@pytest.mark.parametrize("count", [2, 3])
def test_aesam_equals_the_literal_steps(count: int, fusion: str) -> None:
    mean, variance, climbs = 0.0, 0.0, []

    def literal(net: nn.Module, data: Any) -> Named:
        nonlocal mean, variance
        plain = named_gradients(net, data)[0]
        square = norm(plain) ** 2
        mean = 0.8 * mean + 0.2 * square
        variance = 0.8 * variance + 0.2 * (square - mean) ** 2
        climbs.append(square >= mean + 0.1 * math.sqrt(variance))
        return named_gradients(net, data, along(plain, 0.3))[0] if climbs[-1] else plain

    compared(AESAM(0.3, first=0.1, last=0.1, decay=0.8), literal, count, fusion, 8)
    assert set(climbs) == {True, False}


def test_aesam_counts_what_it_does() -> None:
    backward = AESAM(0.1, first=math.inf, last=math.inf).on(model(2), F.cross_entropy)
    assert backward(*batch(2)).notes == {"climbs": 0.0}
    assert (backward.objective.counts.forwards, backward.objective.counts.backwards) == (1, 1)


# ---- F-SAM -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faithful", "second"),
    [("code", (-1.0, 1.0)), ("paper", (-0.09, 0.9))],  # m_0 = (1, 0); m_1 = (0.09, 0.1)
)
def test_fsam_worked_number(faithful: Any, second: tuple[float, float]) -> None:
    first, found = quadratic(FSAM(0.1, faithful=faithful), vector(1.0, 0.0), vector(0.0, 1.0))
    assert first.tolist() == pytest.approx([1.1, 0])
    length = math.hypot(*second)
    assert found.tolist() == pytest.approx([0.1 * second[0] / length, 1 + 0.1 * second[1] / length])


@BOTH
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("faithful", ["code", "paper"])
def test_fsam_equals_the_literal_steps(count: int, fusion: str, faithful: Any) -> None:
    mean: Named = {}

    def literal(net: nn.Module, data: Any) -> Named:
        nonlocal mean
        plain = named_gradients(net, data)[0]
        if faithful == "code":
            noise = {key: gradient - 0.7 * mean[key] for key, gradient in plain.items()} if mean else plain
            old = mean or plain
            mean = {key: 0.8 * old[key] + 0.2 * gradient for key, gradient in plain.items()}
        else:
            mean = {key: 0.8 * mean.get(key, 0) + 0.2 * gradient for key, gradient in plain.items()}
            noise = {key: gradient - 0.7 * mean[key] for key, gradient in plain.items()}
        return named_gradients(net, data, along(noise, 0.3))[0]

    compared(FSAM(0.3, sigma=0.7, momentum=0.8, faithful=faithful), literal, count, fusion, 6)


# ---- what they remember ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [FSAM, lambda: LookSAM(every=2)])
def test_memory_does_not_depend_on_the_loss_scale_and_survives_an_overflow(make: Callable[[], Method]) -> None:
    found = []
    for scales in ((1.0, 1.0, 1.0), (2.0**9, 2.0**3, 2.0**11)):
        net, scale = model(2), [1.0]
        backward = make().on(net, F.cross_entropy, backward=lambda loss, scale=scale: (loss * scale[0]).backward())
        for seed, scale[0] in enumerate(scales):
            net.zero_grad()
            torch.manual_seed(seed)
            backward(*batch(2, seed=seed))
        found.append({key: gradient / scale[0] for key, gradient in gradients(net).items()})
    assert close(*found, 1e-13)
    before = copy.deepcopy(backward.method.state_dict())
    backward.method.set_extra_state({**backward.method.get_extra_state(), "batches": 0})
    broken = backward.method.on(net, lambda z, y: F.cross_entropy(z, y) * math.inf)
    broken(*batch(2))
    kept = [
        {k: v for k, v in state["_extra_state"].items() if k != "batches"}
        for state in (before, broken.method.state_dict())
    ]
    assert same(*kept)


@pytest.mark.parametrize("make", [FSAM, lambda: LookSAM(every=2)])
def test_weights_may_be_frozen_and_thawed_between_steps(make: Callable[[], Method]) -> None:
    net, method = model(2), make()
    backward = method.on(net, F.cross_entropy)
    for frozen in (False, True, False, False):
        net.encoders["audio"].requires_grad_(not frozen)
        net.zero_grad()
        backward(*batch(2))
        assert len(gradients(net)) == len([w for w in net.parameters() if w.requires_grad])
    (memory,) = (value for value in method.get_extra_state().values() if isinstance(value, dict))
    assert memory.keys() == dict(net.named_parameters()).keys()


def test_aesam_does_not_count_an_overflow() -> None:
    method = AESAM()
    assert not method.employs(math.inf)
    assert not method.employs(math.nan)
    assert method.get_extra_state() == {"epoch": 0, "mean": 0.0, "variance": 0.0}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ESAM(beta=0), "beta must be"),
        (lambda: ESAM(gamma=1.5), "gamma must be"),
        (lambda: LookSAM(every=0), "every must be"),
        (lambda: AESAM(decay=1.5), "decay must be"),
        (lambda: FSAM(sigma=-1), "sigma must be"),
        (lambda: FSAM(faithful="both"), "faithful must be one of"),
    ],
)
def test_arguments_out_of_range_are_refused(make: Callable[[], Method], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()

"""Rivals of 2024 to 2026 and kin of SAM: worked numbers, stated limits, and literal re-implementations in float64."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam import (
    ARL,
    DGL,
    GSAM,
    PDMP,
    SAM,
    FunctionalSAM,
    InfoReg,
    Joint,
    ModalityDropout,
    MomentumSAM,
    Relearning,
    SynIB,
)
from msam.methods.arl import spreads
from msam.methods.modality_dropout import kept_modalities
from msam.methods.relearning import clusters, purity
from msam.methods.synib import confidence
from zoo import CLASSES, NAMES, batch, close, gradients, model, run, same

BOTH = pytest.mark.parametrize("fusion", ["late", "early"])
COUNTS = pytest.mark.parametrize("count", [1, 2, 3])
NEAR = 1e-12
"""Of float64 sums in another order, relative to numbers of size one."""


def alone(net: nn.Module, features: dict[str, Tensor]) -> list[Tensor]:
    """Logits of each modality, the other features being zeros."""
    return [net.fuse({k: f if k == m else torch.zeros_like(f) for k, f in features.items()}) for m in features]


def encoded(net: nn.Module, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: encoder(inputs[name]) for name, encoder in net.encoders.items()}


def grads(loss: Tensor, weights: list[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]


def by_name(net: nn.Module, values: list[Tensor]) -> dict[str, Tensor]:
    return dict(zip(dict(net.named_parameters()), values, strict=True))


def moved(net: nn.Module, steps: list[Tensor]) -> nn.Module:
    """A copy of the model at other weights."""
    other = copy.deepcopy(net)
    with torch.no_grad():
        for weight, step in zip(other.parameters(), steps, strict=True):
            weight += step
    return other


def plain(net: nn.Module, data: Any) -> list[Tensor]:
    return grads(F.cross_entropy(net(data[0]), data[1]), list(net.parameters()))


# ---- DGL -------------------------------------------------------------------------------------------------------------


@BOTH
@COUNTS
def test_dgl_is_two_separate_gradients(count: int, fusion: str) -> None:
    net, (inputs, target) = model(count, fusion, noisy=False), batch(count)
    features = encoded(net, inputs)
    weights = list(net.parameters())
    fused = grads(F.cross_entropy(net.fuse({k: f.detach() for k, f in features.items()}), target), weights)
    own = grads(3.0 * sum(F.cross_entropy(z, target) for z in alone(net, features)), weights)
    expected = {
        name: own[i] if name.startswith("encoders") else fused[i] for i, name in enumerate(dict(net.named_parameters()))
    }
    assert close(run(DGL(alpha=3.0), net, inputs, target), expected, NEAR)


def test_dgl_encoders_never_feel_one_another() -> None:
    net, (inputs, target) = model(2, "late", noisy=False), batch(2)
    first = run(DGL(), net, inputs, target)
    second = run(DGL(), net, {**inputs, "image": torch.randn_like(inputs["image"])}, target)
    audio = [key for key in first if key.startswith("encoders.audio")]
    assert audio
    assert same({k: first[k] for k in audio}, {k: second[k] for k in audio})
    assert not same(first, second)


# ---- SynIB -----------------------------------------------------------------------------------------------------------


def test_synib_worked_number() -> None:
    """`p = (1/4, 3/4)`: `KL = log 2 - H = 0.6931 - 0.5623 = 0.1308`; nothing for even logits."""
    excess = confidence(torch.tensor([[0.0, math.log(3)]], dtype=torch.float64))
    assert float(excess) == pytest.approx(math.log(2) + 0.25 * math.log(0.25) + 0.75 * math.log(0.75), abs=1e-12)
    assert float(confidence(torch.zeros(5, 3))) == pytest.approx(0, abs=1e-6)


@BOTH
def test_synib_by_hand(fusion: str) -> None:
    net, (inputs, target) = model(3, fusion, noisy=False), batch(3)
    features = encoded(net, inputs)
    penalties = []
    for gone in features:
        z = net.fuse({k: torch.zeros_like(f) if k == gone else f for k, f in features.items()})
        p = z.softmax(-1)
        penalties.append((p * (p.log() + math.log(CLASSES))).sum(-1).mean())
    loss = F.cross_entropy(net.fuse(features), target) + 2.0 * sum(penalties) / 3
    expected = by_name(net, grads(loss, list(net.parameters())))
    assert close(run(SynIB(beta=2.0), net, inputs, target), expected, NEAR)


@pytest.mark.parametrize(("method", "count"), [(SynIB(beta=0), 3), (SynIB(), 1), (ModalityDropout(0), 3)])
def test_nothing_to_add_is_joint_training(method: Any, count: int) -> None:
    net, data = model(count), batch(count)
    assert same(run(method, net, *data), run(Joint(), net, *data))


# ---- modality dropout ------------------------------------------------------------------------------------------------


def test_modality_dropout_keeps_at_least_one_and_drops_at_its_rate() -> None:
    stream = torch.Generator().manual_seed(0)
    kept = kept_modalities(20_000, 3, 0.5, stream)
    assert bool(kept.any(1).all())
    share = 0.5 + 0.125 / 3  # one of the lost samples' three modalities is kept in its place
    assert abs(float(kept.double().mean()) - share) < 5 * math.sqrt(0.25 / 60_000)
    assert kept_modalities(50, 3, 1.0, stream).sum(1).tolist() == [1] * 50
    assert bool(kept_modalities(50, 3, 0.0, stream).all())


@BOTH
def test_modality_dropout_by_hand(fusion: str) -> None:
    net, (inputs, target) = model(3, fusion, noisy=False), batch(3)
    kept = kept_modalities(len(target), 3, 0.5, torch.Generator().manual_seed(4 * 1_000_003))
    features = {k: f * kept[:, i, None] for i, (k, f) in enumerate(encoded(net, inputs).items())}
    expected = by_name(net, grads(F.cross_entropy(net.fuse(features), target), list(net.parameters())))
    assert close(run(ModalityDropout(0.5, seed=4), net, inputs, target), expected, NEAR)


# ---- ARL, PDMP -------------------------------------------------------------------------------------------------------


def test_arl_worked_number() -> None:
    """Entropies 1 and 3 are shares 0.25 (floored at 0.3) and 0.75, so `w = (5/7, 2/7)`; even sizes, `T = 7`:

    `s = softmax(7 (0.5 * 5/7, 0.5 * 2/7)) = softmax(2.5, 1)`.
    """
    shares = ARL(temperature=7).shares(torch.tensor([[1.0, 3.0], [2.0, 2.0]], dtype=torch.float64))
    assert shares.tolist() == pytest.approx(torch.tensor([2.5, 1.0], dtype=torch.float64).softmax(0).tolist())
    assert ARL(faithful="code").shares(torch.rand(2, 2)).tolist() == [0.5, 0.5]


@BOTH
@pytest.mark.parametrize("faithful", ["paper", "code"])
def test_arl_by_hand(fusion: str, faithful: Any) -> None:
    net, (inputs, target) = model(2, fusion, noisy=False), batch(2)
    features = encoded(net, inputs)
    logits = alone(net, features)
    loss = F.cross_entropy(net.fuse(features), target) + 4 * sum(F.cross_entropy(z, target) for z in logits)
    p = [z.detach().softmax(-1) for z in logits]
    entropy = torch.stack([-(q * q.log()).sum(-1).mean() for q in p])
    size = torch.stack([z.detach().abs().mean() for z in logits])
    assert close({"": spreads(torch.stack(logits).detach())}, {"": torch.stack([entropy, size])}, NEAR)
    inverse = 1 / (entropy / entropy.sum()).clamp(min=0.3)
    w, d = inverse / inverse.sum(), size / size.sum()
    s = torch.stack([8 * d[1] * w[0], 8 * d[0] * w[1]]).softmax(0) if faithful == "paper" else torch.tensor([0.5, 0.5])
    factors = {f"encoders.{name}": 1 + s[i].item() for i, name in enumerate(NAMES[:2])}
    found = by_name(net, grads(loss, list(net.parameters())))
    expected = {k: g * next((f for start, f in factors.items() if k.startswith(start)), 1.0) for k, g in found.items()}
    assert close(run(ARL(faithful=faithful), net, inputs, target), expected, NEAR)


def test_pdmp_multiplies_encoders_and_nothing_else() -> None:
    net, data = model(3), batch(3)
    joint, found = run(Joint(), net, *data), run(PDMP("image", lead=2.0, rest=0.25), net, *data)
    factor = {key: 2.0 if "encoders.image" in key else 0.25 if "encoders." in key else 1.0 for key in joint}
    assert same(found, {key: factor[key] * slope for key, slope in joint.items()})
    assert same(run(PDMP("image", 1.0, 1.0), net, *data), joint)
    with pytest.raises(ValueError, match="leader must be one of"):
        PDMP("smell").on(net, F.cross_entropy)


# ---- InfoReg ---------------------------------------------------------------------------------------------------------


def test_inforeg_holds_the_leader_while_its_information_grows() -> None:
    net, (inputs, target) = model(2, noisy=False), batch(2)
    method = InfoReg(beta=0.5)
    backward = method.on(net, F.cross_entropy)
    backward(inputs, target)
    start = {k: w.detach().clone() for k, w in net.named_parameters()}
    with torch.no_grad():
        for weight in net.parameters():
            weight -= 0.1 * weight.grad
    net.zero_grad()
    leader = backward(inputs, target).notes["dominant"]
    features = encoded(net, inputs)
    logits = alone(net, features)
    loss = F.cross_entropy(net.fuse(features), target) + sum(F.cross_entropy(z, target) for z in logits)
    scores = [z.softmax(-1).gather(1, target[:, None]).mean() for z in logits]
    index = NAMES.index(str(leader))
    assert scores[index].item() == max(score.item() for score in scores)
    strength = 0.5 * torch.exp(torch.tanh(scores[index] - scores[1 - index])).detach()
    unit = F.cross_entropy(torch.zeros_like(logits[0]), target) / math.log(CLASSES)
    expected = by_name(net, grads(loss, list(net.parameters())))
    for key, weight in net.named_parameters():
        if key.startswith(f"encoders.{leader}."):
            expected[key] = expected[key] + strength * unit * (weight.detach() - start[key])
    assert close(gradients(net), expected, 1e-10)


def test_inforeg_growth_worked_number() -> None:
    """Means of the last ten and the ten before: 2 and 1 of twenty epochs, growth `(2 - 1) / 2`."""
    method = InfoReg()
    assert method.growth(0) == math.inf
    method._history = torch.cat([torch.ones(10, 1), 2 * torch.ones(10, 1)])
    assert method.growth(0) == pytest.approx(0.5)
    method._history = torch.ones(12, 1)
    assert method.growth(0) == pytest.approx(0)


# ---- re-learning -----------------------------------------------------------------------------------------------------


def test_purity_of_clusters_that_are_the_classes_and_of_clusters_that_are_not() -> None:
    labels = torch.arange(60) % 3
    points = F.one_hot(labels, 3).double() + 0.01 * torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    assert float(purity(points, labels, seed=2)) >= 2 / 3
    best = max(float(purity(points, labels, seed)) for seed in range(8))
    assert best == 1
    assert set(clusters(points, 3, 2).tolist()) <= {0, 1, 2}
    blind = purity(torch.zeros(60, 2), labels)
    assert float(blind) == pytest.approx(1 / 3)


def test_relearning_puts_encoders_back_by_their_gap() -> None:
    net = model(2, noisy=False)
    train, valid = batch(2, 40, seed=1), batch(2, 40, seed=2)
    backward = Relearning(strength=2.0, every=2, times=1).on(net, F.cross_entropy)
    first = {k: w.detach().clone() for k, w in net.named_parameters()}
    backward(*train)
    with torch.no_grad():
        for weight in net.parameters():
            weight += 0.3 * torch.randn_like(weight)
    trained = {k: w.detach().clone() for k, w in net.named_parameters()}
    backward.next_epoch([train], [valid])
    assert same({k: w.detach() for k, w in net.named_parameters()}, trained)
    features = [{k: f.detach().float() for k, f in encoded(net, part[0]).items()} for part in (train, valid)]
    backward.next_epoch([train], [valid])
    for name in NAMES[:2]:
        gap = abs(float(purity(features[0][name], train[1]) - purity(features[1][name], valid[1])))
        share = math.tanh(2.0 * gap)
        expected = {
            k: share * first[k] + (1 - share) * v for k, v in trained.items() if k.startswith(f"encoders.{name}")
        }
        assert close({k: dict(net.named_parameters())[k].detach() for k in expected}, expected, 1e-6)
    assert same(
        {k: w.detach() for k, w in net.named_parameters() if "fusion" in k},
        {k: v for k, v in trained.items() if "fusion" in k},
    )
    after = {k: w.detach().clone() for k, w in net.named_parameters()}
    for _ in range(2):
        backward.next_epoch([train], [valid])
    assert same({k: w.detach() for k, w in net.named_parameters()}, after)


# ---- kin of SAM ------------------------------------------------------------------------------------------------------


@BOTH
def test_gsam_by_hand(fusion: str) -> None:
    net, data = model(2, fusion, noisy=False), batch(2)
    g = plain(net, data)
    norm = torch.sqrt(sum((x * x).sum() for x in g))
    s = plain(moved(net, [0.3 * x / norm for x in g]), data)
    product, square = sum((a * b).sum() for a, b in zip(g, s, strict=True)), sum((b * b).sum() for b in s)
    expected = [b - 0.7 * (a - product / square * b) for a, b in zip(g, s, strict=True)]
    assert close(run(GSAM(rho=0.3, alpha=0.7), net, *data), by_name(net, expected), NEAR)


def test_gsam_without_its_part_is_sam() -> None:
    net, data = model(2), batch(2)
    assert close(run(GSAM(rho=0.2, alpha=0.0), net, *data), run(SAM(rho=0.2), net, *data), 1e-14)


@BOTH
def test_functional_sam_by_hand(fusion: str) -> None:
    net, data = model(2, fusion, noisy=False), batch(2)
    g = plain(net, data)
    norm = torch.sqrt(sum((x * x).sum() for x in g))
    logits = net(data[0])
    (slope,) = torch.autograd.grad(F.cross_entropy(logits, data[1]), logits)
    other = moved(net, [0.3 * x / norm for x in g])
    expected = grads((other(data[0]) * slope).sum(), list(other.parameters()))
    assert close(run(FunctionalSAM(rho=0.3), net, *data), by_name(net, expected), NEAR)


def test_functional_sam_of_a_linear_loss_is_sam() -> None:
    net, data = model(2), batch(2)
    weight = torch.randn(len(data[1]), CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def linear(logits: Tensor, target: Tensor) -> Tensor:
        return (logits * weight).mean()

    left = run(FunctionalSAM(rho=0.2), net, *data, criterion=linear)
    assert close(left, run(SAM(rho=0.2), net, *data, criterion=linear), NEAR)


def test_momentum_sam_follows_its_running_gradient() -> None:
    net = model(2, noisy=False)
    backward = MomentumSAM(rho=0.4, momentum=0.5).on(net, F.cross_entropy)
    velocity = [torch.zeros_like(w) for w in net.parameters()]
    for seed in range(3):
        data = batch(2, seed=seed)
        net.zero_grad()
        norm = torch.sqrt(sum((v * v).sum() for v in velocity))
        steps = [-0.4 * v / norm if norm > 0 else torch.zeros_like(v) for v in velocity]
        expected = plain(moved(net, steps), data)
        backward(*data)
        assert close(gradients(net), by_name(net, expected), NEAR)
        velocity = [0.5 * v + g for v, g in zip(velocity, expected, strict=True)]


@pytest.mark.parametrize("method", [GSAM(rho=0), FunctionalSAM(rho=0), MomentumSAM(rho=0), MomentumSAM(rho=0.3)])
def test_no_radius_and_no_momentum_yet_is_joint_training(method: Any) -> None:
    net, data = model(2), batch(2)
    assert close(run(method, net, *data), run(Joint(), net, *data), 1e-15)

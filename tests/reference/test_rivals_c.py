"""OPM, CML, LFM and MBSD: worked numbers, stated limits, traps, and literal re-implementations."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam import CML, LFM, MBSD, OPM, Joint, Method
from msam.heads import Heads
from msam.methods.lfm import alignment, fitted
from msam.methods.mbsd import reconcilement
from msam.methods.opm import dropped
from zoo import CLASSES, NAMES, Opaque, batch, close, gradients, model, run, same

BOTH = pytest.mark.parametrize("fusion", ["late", "early"])
COUNTS = pytest.mark.parametrize("count", [1, 2, 3, 6])


def widths(count: int) -> dict[str, int]:
    return dict.fromkeys(NAMES[:count], 6)


def passed(net: nn.Module, inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Features and logits of the pass that `run` makes, and the random state before the fusion."""
    torch.manual_seed(11)
    features = {name: encoder(inputs[name]) for name, encoder in net.encoders.items()}
    between = torch.get_rng_state()
    return features, net.fuse(features), between


def fused_again(net: nn.Module, features: dict[str, Tensor], between: Tensor) -> Tensor:
    torch.set_rng_state(between)
    return net.fuse(features)


def gradients_of(loss: Tensor, net: nn.Module) -> dict[str, Tensor]:
    named = dict(net.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
    return {key: grad for key, grad in zip(named, found, strict=True) if grad is not None}


# ---- OPM -------------------------------------------------------------------------------------------------------------


def test_opm_worked_number() -> None:
    """`r = 1.2 / 0.6 = 2`: `q = 0.5 (1 + 0.5 tanh 1) = 0.690`; nothing at a ratio of one, all at a base of one."""
    rates = OPM().rates(torch.tensor([1.2, 0.6])).tolist()
    assert rates == pytest.approx([0.5 * (1 + 0.5 * math.tanh(1)), 0])
    assert round(rates[0], 3) == 0.690
    assert OPM().rates(torch.tensor([0.4, 0.4])).tolist() == [0, 0]
    assert OPM(base=1.0).rates(torch.tensor([0.4, 0.3])).tolist() == [1, 0]
    assert OPM().rates(torch.tensor([0.4])).tolist() == [0]
    three = OPM(extension="pairwise-mean").rates(torch.tensor([0.6, 0.3, 0.2])).tolist()
    assert three == pytest.approx([0.5 * (1 + 0.5 * math.tanh(1.5)), 0, 0])


def test_opm_lengthens_what_is_left_by_what_is_lost() -> None:
    """theta = (3 * 0.6 + 1 * 0) / 4 = 0.45."""
    features = {"audio": torch.ones(4000, 3), "image": torch.ones(4000, 1)}
    found = dropped(features, torch.tensor([0.6, 0.0]), torch.Generator().manual_seed(0))
    assert torch.allclose(found["image"], torch.tensor(1 / 0.55))
    rows = found["audio"]
    assert ((rows == 0).all(1) | torch.isclose(rows, torch.tensor(1 / 0.55)).all(1)).all()
    assert (rows[:, 0] == 0).float().mean().item() == pytest.approx(0.6, abs=4 * math.sqrt(0.24 / 4000))


@COUNTS
def test_opm_equals_the_literal_step(count: int) -> None:
    seen = set()
    for seed in range(6):
        net, (inputs, target) = model(count), batch(count, seed=seed)
        method = OPM(start=0, execute=0.5, extension="pairwise-mean", seed=seed)
        features, logits, between = passed(net, inputs)
        heads, bias = net.fusion.heads, net.fusion.bias
        score = {}
        for name, feature in features.items():
            part = (feature @ heads[name].weight.T + bias / count).softmax(1)
            score[name] = sum(part[i, label].item() for i, label in enumerate(target)) / len(target)
        rate = {}
        for name in features:
            others = [score[other] for other in features if other != name]
            ratio = sum(score[name] / other for other in others) / max(len(others), 1)
            rate[name] = min(0.5 * (1 + 0.5 * math.tanh(ratio - 1)), 1) if ratio > 1 else 0.0
        theta = sum(6 * q for q in rate.values()) / (6 * count)
        stream = torch.Generator().manual_seed(seed * 1_000_003)
        executed = torch.rand((), generator=stream).item() < 0.5
        if executed:
            kept = {name: (torch.rand(12, generator=stream) >= q)[:, None] for name, q in rate.items()}
            changed = {name: kept[name] * feature / (1 - theta) for name, feature in features.items()}
            logits = fused_again(net, changed, between)
        assert close(run(method, net, inputs, target), gradients_of(F.cross_entropy(logits, target), net), 1e-12)
        seen.add(executed)
    assert seen == {True, False}


def test_opm_limits_that_are_joint_training_hold_bit_for_bit() -> None:
    net, data = model(2), batch(2)
    joint = run(Joint(), net, *data)
    for options in ({"base": 0.0}, {"execute": 0.0}, {"start": 1}):
        assert same(run(OPM(**{"start": 0, "execute": 1.0, **options}), net, *data), joint)
    method = OPM(start=1, end=1, execute=1.0)
    for epoch in range(3):
        assert same(run(method, net, *data), joint) is (epoch != 1)
        method.on(net, F.cross_entropy).next_epoch()
    with pytest.raises(ValueError, match="compares two modalities"):
        OPM().on(model(3), F.cross_entropy)


def test_opm_passes_are_counted() -> None:
    backward = OPM(start=0, execute=1.0).on(model(2), F.cross_entropy)
    outcome = backward(*batch(2))
    counts = backward.objective.counts
    assert (counts.forwards, counts.backwards, counts.fusions) == (1, 1, 3)
    assert sorted(outcome.notes) == ["drop/audio", "drop/image"]
    assert max(outcome.notes.values()) > 0


# ---- CML -------------------------------------------------------------------------------------------------------------


def confident(*chances: float) -> Tensor:
    """Logits of two classes that give the first these probabilities, `[samples, 2]`."""
    return torch.tensor([[math.log(p), math.log(1 - p)] for p in chances], dtype=torch.float64)


def test_cml_worked_number() -> None:
    """Confidences 0.6, 0.9, 0.8, 0.7 with both modalities, 0.9, 0.6, 0.9, 0.8 with one; the first class is the true."""
    both, one = confident(0.6, 0.9, 0.2, 0.3), confident(0.9, 0.6, 0.1, 0.8)
    logits, target = torch.stack([both, one]), torch.zeros(4, dtype=torch.long)
    assert CML().rise(logits, target).item() == pytest.approx((0.3 + 0.1 + 0.1) / 4)
    # the fourth sample counts no longer: both modalities are wrong about it, one alone is right
    assert CML(faithful="code").rise(logits, target).item() == pytest.approx((0.3 + 0.1) / 4)


def test_cml_code_holds_the_confidence_of_a_wrong_larger_coalition() -> None:
    both, one = confident(0.2).requires_grad_(), confident(0.1).requires_grad_()
    for faithful, held in (("paper", False), ("code", True)):
        rise = CML(faithful=faithful).rise(torch.stack([both, one]), torch.zeros(1, dtype=torch.long))
        found = torch.autograd.grad(rise, [both, one])
        assert bool((found[0] == 0).all()) is held
        assert found[1].abs().sum() > 0


def test_cml_takes_every_modality_away_first_now_and_then() -> None:
    method, gone = CML(), set()
    for number in range(20):
        method._batches = number
        chain = method.chain(3)
        assert chain.sum(1).tolist() == [3, 2, 1]
        assert (chain[1:] <= chain[:-1]).all()
        gone.add((~chain[1]).nonzero().item())
    assert gone == {0, 1, 2}


@BOTH
@pytest.mark.parametrize("count", [2, 3, 6])
@pytest.mark.parametrize("faithful", ["paper", "code"])
def test_cml_equals_the_literal_step(count: int, fusion: str, faithful: Any) -> None:
    for seed in range(2):
        net, (inputs, target) = model(count, fusion), batch(count, seed=seed)
        features, logits, between = passed(net, inputs)
        order = list(range(count))
        random.Random(seed * 1_000_003 + 1).shuffle(order)
        chain, buffers = [logits], copy.deepcopy(dict(net.named_buffers()))
        for gone in range(1, count):
            left = {NAMES[i] for i in order[gone:]}
            some = {name: h if name in left else torch.zeros_like(h) for name, h in features.items()}
            chain.append(fused_again(net, some, between))
        for name, buffer in net.named_buffers():
            buffer.data.copy_(buffers[name])
        penalty = torch.zeros(())
        for larger, smaller in pairwise(chain):
            for i, label in enumerate(target):
                up, down = larger[i].softmax(0).max(), smaller[i].softmax(0).max()
                if faithful == "code" and larger[i].argmax() != label:
                    up = up.detach()
                    down = down if smaller[i].argmax() != label else up
                penalty = penalty + torch.relu(down - up) / len(target)
        losses = [F.cross_entropy(each, target) for each in chain]
        loss = sum(losses) / count if faithful == "code" else losses[0]
        method = CML(weight=3.0, faithful=faithful, seed=seed)
        assert close(run(method, net, inputs, target), gradients_of(loss + 3 * penalty, net), 1e-12)


@BOTH
@COUNTS
def test_cml_without_weight_is_joint_training_bit_for_bit(count: int, fusion: str) -> None:
    net, data = model(count, fusion), batch(count)
    joint = run(Joint(), net, *data)
    assert same(run(CML(weight=0), net, *data), joint)
    if count == 1:
        assert same(run(CML(weight=5, faithful="code"), net, *data), joint)


def test_cml_needs_features_that_fuse_again() -> None:
    with pytest.raises(ValueError, match=r"CML needs .*`fuse"):
        CML().on(Opaque(model(2)), F.cross_entropy)


# ---- LFM and MBSD ----------------------------------------------------------------------------------------------------


def test_lfm_worked_number() -> None:
    """p = (1/2, 1/2), p' = (1/4, 3/4): q = (3/8, 5/8), and the code's divergence is from q, not to it."""
    logits = torch.stack([confident(0.5), confident(0.25)])

    def divergence(p: list[float], q: list[float]) -> float:
        return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))

    q, first, second = [0.375, 0.625], [0.5, 0.5], [0.25, 0.75]
    found = alignment(logits).item()
    assert found == pytest.approx((divergence(q, first) + divergence(q, second)) / 2)
    assert abs(found - (divergence(first, q) + divergence(second, q)) / 2) > 1e-4
    assert alignment(torch.stack([logits[0]] * 3)).item() == pytest.approx(0, abs=1e-15)
    assert alignment(logits[:1]).item() == 0


def test_lfm_share_falls_as_the_authors_polynomial() -> None:
    shares = [fitted(epoch) for epoch in range(400)]
    assert shares[0] == 0.795376296
    assert shares[100] == pytest.approx(0.4608, abs=5e-5)
    assert all(later <= earlier for earlier, later in pairwise(shares))
    assert (shares.index(0.05), shares[-1]) == (167, 0.05)
    backward = (method := LFM(widths(2), CLASSES)).on(model(2), F.cross_entropy)
    assert backward(*batch(2)).notes["share"] == shares[0]
    backward.next_epoch()
    assert method.share == shares[1]
    assert LFM(widths(2), CLASSES, align=0.3).share == 0.3


def test_mbsd_worked_number() -> None:
    """p[y] = 0.5 and 0.2 for the first sample, which one modality gets right; nobody is right about the second."""
    logits = torch.stack([confident(0.5001, 0.4), confident(0.2, 0.1)])
    target = torch.tensor([0, 0])
    distance = (logits[0, 0] - logits[1, 0]).square().sum().item() / 2
    expected = 0.3001 * (distance + 0.2 * (math.log(0.2) - 0.5001)) / 2
    assert reconcilement(logits, target).item() == pytest.approx(expected)
    assert reconcilement(logits[:1], target).item() == 0
    assert reconcilement(torch.stack([logits[0]] * 2), target).item() == 0


def literal_lfm(logits: list[Tensor], target: Tensor) -> Tensor:
    pairs = [(a.softmax(1), b.softmax(1)) for i, a in enumerate(logits) for b in logits[i + 1 :]]
    total = torch.zeros(())
    for p, r in pairs:
        q = (p + r) / 2
        total = total + sum(F.kl_div(each.log(), q, reduction="batchmean") for each in (p, r)) / 2
    return total / max(len(pairs), 1)


def literal_mbsd(logits: list[Tensor], target: Tensor) -> Tensor:
    pairs, total = 0, torch.zeros(())
    for i, a in enumerate(logits):
        for b in logits[i + 1 :]:
            pairs += 1
            for x, z, label in zip(a, b, target, strict=True):
                p, r = x.softmax(0)[label], z.softmax(0)[label]
                if x.argmax() == label or z.argmax() == label:
                    strong, weak = max(p, r), min(p, r)
                    divergence = F.kl_div(strong, weak, reduction="none")
                    total = total + (strong - weak) * ((x - z).square().sum() / CLASSES + divergence) / len(target)
    return total / max(pairs, 1)


@BOTH
@COUNTS
@pytest.mark.parametrize("name", ["lfm", "mbsd"])
def test_pairwise_methods_equal_the_literal_step(name: str, count: int, fusion: str) -> None:
    net, (inputs, target), own = model(count, fusion), batch(count), Heads(widths(count), CLASSES, 3).double()
    features, logits, _ = passed(net, inputs)
    alone = [own[key](feature) for key, feature in features.items()]
    losses = F.cross_entropy(logits, target) + sum(F.cross_entropy(each, target) for each in alone)
    if name == "lfm":
        share = 0.7 if count > 1 else 0
        loss = (1 - share) * losses + share * literal_lfm(alone, target)
        method: Method = LFM(widths(count), CLASSES, align=0.7, seed=3)
    else:
        loss, method = losses + 2 * literal_mbsd(alone, target), MBSD(widths(count), CLASSES, weight=2.0, seed=3)
    copied = copy.deepcopy(net)
    torch.manual_seed(11)
    method.on(copied, F.cross_entropy)(inputs, target)
    assert close(gradients(copied), gradients_of(loss, net), 1e-12)
    assert close(gradients(method), {f"heads.{key}": g for key, g in gradients_of(loss, own).items()}, 1e-12)


@BOTH
@COUNTS
@pytest.mark.parametrize(
    "make", [lambda sizes: LFM(sizes, CLASSES, align=0), lambda sizes: MBSD(sizes, CLASSES, weight=0)]
)
def test_pairwise_methods_without_weight_are_the_sum_of_all_losses(
    make: Callable[[Any], Method], count: int, fusion: str
) -> None:
    net, (inputs, target) = model(count, fusion), batch(count)
    features, logits, _ = passed(net, inputs)
    own = Heads(widths(count), CLASSES).double()
    losses = [F.cross_entropy(z, target) for z in (logits, *(own[key](h) for key, h in features.items()))]
    assert close(run(make(widths(count)), net, inputs, target), gradients_of(sum(losses), net), 1e-14)


@pytest.mark.parametrize("name", ["cml", "lfm", "mbsd"])
def test_penalties_keep_their_weight_when_the_criterion_is_scaled(name: str) -> None:
    makers = {"cml": CML(5.0), "lfm": LFM(widths(2), CLASSES), "mbsd": MBSD(widths(2), CLASSES)}
    net, data = model(2), batch(2)
    quarter = run(makers[name], net, *data, criterion=lambda z, y: F.cross_entropy(z, y) / 4)
    assert close({key: 4 * g for key, g in quarter.items()}, run(makers[name], net, *data), 1e-14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OPM(base=1.5), "base must be"),
        (lambda: OPM(extension="both"), "extension must be one of"),
        (lambda: CML(weight=-1), "weight must be"),
        (lambda: CML(faithful="both"), "faithful must be one of"),
        (lambda: LFM({"a": 1}, 2, align=1.5), "align must be"),
        (lambda: MBSD({"a": 1}, 2, weight=-1), "weight must be"),
    ],
)
def test_arguments_out_of_range_are_refused(make: Callable[[], Method], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()

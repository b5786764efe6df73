"""What `faithful="paper"` and `faithful="code"` compute where the two differ, against literal loops and worked numbers.

Each literal loop is written from the equations of the method's page, in float64. The tolerances, 1e-12, are some
thousand roundings of float64 on gradients of order one.
"""

from __future__ import annotations

import copy
import inspect
import math
from typing import Any, get_args, get_type_hints

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import msam
from msam import CML, ESAM, LFM, MASAM, MLA, MSES, Method, ReconBoost
from msam.heads import Heads
from msam.methods.masam import projected
from msam.methods.mla import blended
from zoo import CLASSES, NAMES, batch, close, gradients, model, run, same

BOTH = pytest.mark.parametrize("fusion", ["late", "early"])
MODED = [
    method
    for name in msam.__all__
    if isinstance(method := getattr(msam, name), type)
    and issubclass(method, Method)
    and "faithful" in inspect.signature(method).parameters
]


def widths(count: int) -> dict[str, int]:
    return dict.fromkeys(NAMES[:count], 6)


def by_hand(net: nn.Module, inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """Features and logits of the pass that `run` makes."""
    torch.manual_seed(11)
    features = {name: encoder(inputs[name]) for name, encoder in net.encoders.items()}
    return features, net.fuse(features)


def gradients_of(loss: Tensor, net: nn.Module) -> dict[str, Tensor]:
    named = dict(net.named_parameters())
    slopes = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
    return {key: slope for key, slope in zip(named, slopes, strict=True) if slope is not None}


# ---- the rule --------------------------------------------------------------------------------------------------------


def test_methods_with_two_forms_are_those_of_the_table() -> None:
    assert {method.__name__ for method in MODED} == {
        "AGM",
        "ARL",
        "CGGM",
        "CML",
        "FSAM",
        "LFM",
        "MASAM",
        "MLA",
        "MMPareto",
        "MSES",
        "OGM",
        "OGMGE",
        "PMR",
        "ReconBoost",
    }


@pytest.mark.parametrize("method", MODED)
def test_paper_is_the_default_and_code_the_other(method: type[Method]) -> None:
    assert inspect.signature(method).parameters["faithful"].default == "paper"
    assert get_args(get_type_hints(method.__init__)["faithful"]) == ("paper", "code")


@pytest.mark.parametrize("method", MODED)
def test_another_form_is_refused_in_one_sentence(method: type[Method]) -> None:
    sizes = {"widths": widths(2), "classes": CLASSES}
    known = {name: value for name, value in sizes.items() if name in inspect.signature(method).parameters}
    with pytest.raises(ValueError, match=r"faithful must be one of \['paper', 'code'\], found 'both'") as error:
        method(**known, faithful="both")
    assert "\n" not in str(error.value)


# ---- MLA -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
def test_mla_code_gives_the_head_its_plain_gradient(count: int) -> None:
    method = MLA(widths(count), CLASSES, faithful="code").double()
    for seed in range(3):
        net, data = model(count), batch(count, seed=seed)
        features, _ = by_hand(copy.deepcopy(net), data[0])
        losses = sum(F.cross_entropy(method.head(feature), data[1]) for feature in features.values())
        expected = gradients_of(losses, method.head)
        method.zero_grad()
        torch.manual_seed(11)
        method.on(net, F.cross_entropy)(*data)
        assert close(gradients(method), {f"head.{key}": slope for key, slope in expected.items()}, 1e-12)
        assert torch.equal(method.projection, torch.eye(6, dtype=torch.float64))


@pytest.mark.parametrize("width", [6, 64, 512])
def test_mla_paper_shortens_the_heads_gradient_by_the_root_of_the_width(width: int) -> None:
    """P has norm one and, but in one direction, equal eigenvalues: at most `1 / sqrt(width - 1)`."""
    generator = torch.Generator().manual_seed(0)
    mean, slope = (torch.randn(*size, generator=generator, dtype=torch.float64) for size in ((width,), (4, width)))
    projection = MLA({"a": width}, 4).turned(torch.eye(width, dtype=torch.float64), mean)
    ratio = ((slope @ projection.T).norm() / slope.norm()).item()
    assert 0.5 / math.sqrt(width - 1) < ratio <= 1 / math.sqrt(width - 1)


def test_mla_code_takes_one_entropy_a_batch_along_its_samples() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = (
        torch.randn(3, 7, CLASSES, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 2, 4])[:, None, None]
    )
    entropies = []
    for each in logits:
        p = each.exp() / each.exp().sum(0)
        entropies.append(-(p * p.log()).sum())
    shares = [(max(entropies) - entropy).exp() for entropy in entropies]
    expected = sum(share / sum(shares) * each for share, each in zip(shares, logits, strict=True))
    assert torch.allclose(blended(logits, together=True), expected, rtol=0, atol=1e-12)
    assert torch.allclose(blended(logits[:, :1], together=True), logits[:, :1].mean(0), rtol=0, atol=1e-12)


def test_mla_predicts_in_the_form_it_was_asked_for() -> None:
    net, (inputs, _) = model(2), batch(2)
    logits = {}
    for faithful in ("paper", "code"):
        method = MLA(widths(2), CLASSES, faithful=faithful).double()
        backward = method.on(net, F.cross_entropy)
        whole = backward.predict(inputs)
        first = backward.predict({name: x[:3] for name, x in inputs.items()})
        logits[faithful] = whole
        assert torch.allclose(whole[:3], first, rtol=0, atol=1e-12) is (faithful == "paper")
    assert not torch.allclose(logits["paper"], logits["code"])


# ---- MSES ------------------------------------------------------------------------------------------------------------


def held_out(method: MSES, losses: list[list[float]], net: nn.Module) -> list[list[bool]]:
    """Epochs whose held-out losses are given; which modalities have stopped after each."""
    backward, stopped = method.on(net, F.cross_entropy), []
    for epoch in losses:
        method._alone = lambda *_, epoch=epoch: torch.tensor(epoch, dtype=torch.float64)  # type: ignore[method-assign]
        backward.next_epoch(valid=[batch(2)])
        stopped.append([method._over(waited) for waited in method._waited])
    del method._alone  # type: ignore[method-assign]
    return stopped


def test_mses_code_smooths_the_raw_loss_before_and_waits_one_epoch_more() -> None:
    """Smoothed, first modality: 1, .6 + .8 = 1.4, 1.2 + 0 = 1.2, 0 + .36 = .36 (least), .54 + 3.6, 5.4 + 3.6, 9."""
    method = MSES(patience=2, faithful="code")
    first = [1.0, 2.0, 0.0, 0.9, 9.0, 9.0, 9.0]
    smooth, stopped = [], []
    for epoch, loss in enumerate(first):
        stopped += held_out(method, [[loss, 1.0 - 0.1 * epoch]], model(2))
        smooth.append(method._smooth[0])
    assert smooth == pytest.approx([1.0, 1.4, 1.2, 0.36, 4.14, 9.0, 9.0])
    assert [audio for audio, _ in stopped] == [False] * 6 + [True]  # 7 - 4 > 2
    assert not any(image for _, image in stopped)
    paper = MSES(patience=2)
    assert [audio for audio, _ in held_out(paper, [[loss, 1.0] for loss in first], model(2))][:4] == [False] * 4


@BOTH
def test_mses_code_puts_the_whole_model_back_once_and_then_gives_zeros(fusion: str) -> None:
    net, method = model(2, fusion), MSES(patience=1, faithful="code")
    held_out(method, [[1.0, 1.0]], net)
    best = copy.deepcopy(net.state_dict())
    for losses, shift in ([[5.0, 0.5]], 0.1), ([[5.0, 0.4]], 0.2):
        with torch.no_grad():
            for weight in net.parameters():
                weight.add_(shift)
        stopped = held_out(method, losses, net)
    assert stopped == [[True, False]]
    assert same(dict(net.state_dict()), dict(best))  # the other modality and the fusion too
    slopes = run(method, net, *batch(2))
    joint = run(msam.Joint(), net, *batch(2))
    assert slopes.keys() == joint.keys()
    ended = {key for key in joint if "audio" in key}
    assert all(not slopes[key].any() if key in ended else torch.equal(slopes[key], joint[key]) for key in joint)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.3)
    moved = copy.deepcopy(net.state_dict())
    held_out(method, [[5.0, 0.3]], net)
    assert same(dict(net.state_dict()), dict(moved))  # not put back again: momentum may move what has stopped


@pytest.mark.parametrize("faithful", ["paper", "code"])
def test_mses_continues_from_its_state(faithful: Any) -> None:
    method, fresh = (MSES(patience=2, faithful=faithful) for _ in range(2))
    losses = [[1.0, 1.0], [2.0, 0.9], [0.0, 0.8], [9.0, 0.7]]
    held_out(method, losses[:2], model(2))
    fresh.load_state_dict(copy.deepcopy(method.state_dict()))
    assert held_out(method, losses[2:], model(2)) == held_out(fresh, losses[2:], model(2))
    assert method._smooth == fresh._smooth


# ---- MASAM -----------------------------------------------------------------------------------------------------------


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_masam_code_worked_numbers() -> None:
    """a = (2, 0), b = (1, 1): p = (1, 0), cos = 0.7071. a = (1, 0), b = (-1, 1): p = a, the full radius."""
    weight = vector(0.0, 0.0)
    agree = projected({weight: vector(2, 0)}, {weight: vector(1, 1)}, [weight], 0.3)
    assert torch.allclose(agree[0], vector(0.3 * math.sqrt(0.5), 0), atol=1e-15)
    conflict = projected({weight: vector(1, 0)}, {weight: vector(-1, 1)}, [weight], 0.3)
    assert torch.allclose(conflict[0], vector(0.3, 0), atol=1e-15)


def test_masam_code_scales_all_tensors_by_the_cosine_of_the_last() -> None:
    first, last = vector(0.0, 0.0), vector(0.0, 0.0)
    fused, alone = {first: vector(0, 3), last: vector(1, 0)}, {first: vector(0, -1), last: vector(3, 4)}
    found = projected(fused, alone, [first, last], 0.5)  # p = (0, 3), (3, 0); |p| = sqrt(18); cos of the last 0.6
    expected = [vector(0, 3) * 0.5 * 0.6 / math.sqrt(18), vector(3, 0) * 0.5 * 0.6 / math.sqrt(18)]
    assert all(torch.allclose(a, b, atol=1e-15) for a, b in zip(found, expected, strict=True))


def literal_masam(
    net: Any, heads: Any, data: Any, rho: float, weight: float, choose: Any
) -> tuple[str, dict[str, Tensor]]:
    """The authors' two passes, tensor by tensor."""
    inputs, target = data
    features, logits = by_hand(net, inputs)
    fused = gradients_of(F.cross_entropy(logits, target), net)
    losses = {name: F.cross_entropy(heads[name](feature), target) for name, feature in features.items()}
    alone = {name: gradients_of(loss, net) for name, loss in losses.items()}
    cosines = {}
    for name in losses:
        keys = [key for key in fused if key.startswith(f"encoders.{name}.")]
        each = [F.cosine_similarity(alone[name][k].reshape(1, -1), fused[k].reshape(1, -1)).item() for k in keys]
        cosines[name] = sum(each) / len(each)
    chosen = choose({name: loss.item() for name, loss in losses.items()}, cosines)
    steps, cos = {}, 0.0
    for key in (key for key in fused if key.startswith(f"encoders.{chosen}.")):
        a, b = fused[key], alone[chosen][key]
        dot = (a * b).sum()
        steps[key] = a if dot < 0 else dot / a.square().sum() * a
        cos = F.cosine_similarity(b.reshape(1, -1), a.reshape(1, -1)).item()  # that of the last tensor stays
    norm = math.sqrt(sum(step.square().sum().item() for step in steps.values()))
    moved = copy.deepcopy(net)
    with torch.no_grad():
        for key, parameter in moved.named_parameters():
            if key in steps:
                parameter += steps[key] * rho / norm * (cos if cos > 0 else 1.0)

    def total(at: Any) -> dict[str, Tensor]:
        features, logits = by_hand(at, inputs)
        return gradients_of(
            F.cross_entropy(logits, target)
            + weight * sum(F.cross_entropy(heads[name](feature), target) for name, feature in features.items()),
            at,
        )

    there, here = total(moved), total(net)
    return chosen, {key: there[key] if key.startswith("encoders.") else here[key] for key in here}


@BOTH
@pytest.mark.parametrize("count", [2, 3])
def test_masam_code_equals_the_literal_steps(count: int, fusion: str) -> None:
    method = MASAM(widths(count), CLASSES, rho=0.3, mix=0.7, momentum=0.8, weight=0.6, faithful="code").double()
    heads, last, mean = Heads(widths(count), CLASSES).double(), None, None

    def choose(losses: dict[str, float], cosines: dict[str, float]) -> str:
        nonlocal last, mean
        before = mean or losses
        mean = {name: 0.8 * before[name] + 0.2 * loss for name, loss in losses.items()}
        decay = {name: max(0.0, (last or losses)[name] - mean[name]) for name in losses}
        last = losses
        return max(losses, key=lambda name: 0.7 * decay[name] + 0.3 * cosines[name])

    for seed in range(6):
        net, data = model(count, fusion), batch(count, seed=seed)
        chosen, expected = literal_masam(copy.deepcopy(net), heads, data, 0.3, 0.6, choose)
        torch.manual_seed(11)
        outcome = method.on(net, F.cross_entropy)(*data)
        assert outcome.notes["dominant"] == chosen
        assert close(gradients(net), expected, 1e-12)


@BOTH
def test_masam_without_radius_is_the_sum_of_all_losses_in_both_forms(fusion: str) -> None:
    net, data = model(2, fusion), batch(2)
    paper, code = (run(MASAM(widths(2), CLASSES, rho=0, faithful=each), net, *data) for each in ("paper", "code"))
    assert same(paper, code)


class Straight(nn.Module):
    """One weight a modality, `z = w x (1, 0)`, so that a classifier that points the other way conflicts."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({"a": nn.Linear(1, 1, bias=False), "b": nn.Linear(1, 1, bias=False)}).double()

    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        logit = features["a"] + 0.01 * features["b"]
        return torch.cat([logit, torch.zeros_like(logit)], 1)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.fuse({name: encoder(inputs[name]) for name, encoder in self.encoders.items()})


@pytest.mark.parametrize(("faithful", "sign"), [("paper", -1), ("code", 1)])
def test_masam_goes_down_a_conflict_on_paper_and_up_in_code(faithful: Any, sign: int) -> None:
    """The fused loss changes by `rho cos |a|`: a lies along its own gradient, cos = -1 or c = 1."""
    net, data = Straight(), ({"a": torch.ones(4, 1).double(), "b": torch.ones(4, 1).double()}, torch.zeros(4).long())
    method = MASAM({"a": 1, "b": 1}, 2, rho=1e-3, mix=0, faithful=faithful).double()
    with torch.no_grad():
        for encoder in net.encoders.values():
            encoder.weight.zero_()
        method.heads.weight("a").copy_(vector(-1, 1)[:, None])
        method.heads.weight("b").copy_(vector(-1, 1)[:, None])
    outcome = method.on(net, F.cross_entropy)(*data)
    slope = {"a": -0.5, "b": -0.005}[outcome.notes["dominant"]]
    assert outcome.notes["sharpness"] == pytest.approx(sign * 1e-3 * abs(slope), rel=1e-2)


# ---- LFM -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3])
def test_lfm_code_has_no_unimodal_losses_and_a_factor_of_two(count: int) -> None:
    net, (inputs, target) = model(count), batch(count)
    features, logits = by_hand(net, inputs)
    each = {
        name: count * (feature @ net.fusion.heads[name].weight.T) + net.fusion.bias
        for name, feature in features.items()
    }
    assert torch.allclose(sum(each.values()) / count, logits, atol=1e-12)
    pairs, apart = 0, torch.zeros((), dtype=torch.float64)
    for i, first in enumerate(each.values()):
        for second in list(each.values())[i + 1 :]:
            p, r = first.softmax(1), second.softmax(1)
            q, pairs = (p + r) / 2, pairs + 1
            apart = (
                apart + (F.kl_div(p.log(), q, reduction="batchmean") + F.kl_div(r.log(), q, reduction="batchmean")) / 2
            )
    share = 0.7 if pairs else 0.0
    loss = 2 * ((1 - share) * F.cross_entropy(logits, target) + share * apart / max(pairs, 1))
    method = LFM(widths(count), CLASSES, align=0.7, faithful="code")
    assert close(run(method, net, inputs, target), gradients_of(loss, net), 1e-12)
    assert list(method.parameters()) == []


def test_lfm_code_needs_parts_of_the_logits() -> None:
    with pytest.raises(ValueError, match=r"LFM needs .*additive fusion"):
        LFM(widths(2), CLASSES, faithful="code").on(model(2, "early"), F.cross_entropy)
    LFM(widths(2), CLASSES).on(model(2, "early"), F.cross_entropy)


# ---- CML -------------------------------------------------------------------------------------------------------------


def test_cml_code_counts_the_pairs_of_the_authors_loop() -> None:
    """Right larger coalition: counts. Both wrong: counts, the larger held. Only the smaller right: does not count."""
    generator = torch.Generator().manual_seed(3)
    logits = (3 * torch.randn(3, 400, CLASSES, generator=generator, dtype=torch.float64)).requires_grad_()
    target = torch.randint(CLASSES, (400,), generator=generator)
    confidence, named = logits.softmax(-1).max(-1)
    expected = torch.zeros((), dtype=torch.float64)
    for k in range(2):
        right = (named[k] == target).double()
        both_wrong = ((named[k] != target) & (named[k + 1] != target)).double()
        expected = expected + torch.relu((confidence[k + 1] - confidence[k]) * right).sum()
        expected = expected + torch.relu((confidence[k + 1] - confidence[k].detach()) * both_wrong).sum()
    rise = CML(faithful="code").rise(logits, target)
    assert rise.item() == pytest.approx(expected.item() / 400, rel=1e-12)
    slopes = [torch.autograd.grad(value, logits, retain_graph=True)[0] for value in (rise, expected / 400)]
    assert torch.allclose(*slopes, rtol=0, atol=1e-15)


# ---- ReconBoost ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
def test_reconboost_code_grows_its_ensemble_without_pretraining(count: int) -> None:
    net, (inputs, target) = model(count), batch(count)
    features, logits = by_hand(net, inputs)
    parts = [net.fusion.heads[name](h) + net.fusion.bias / count for name, h in features.items()]
    onehot = F.one_hot(target, CLASSES)
    for epoch in range(2 * count + 2):
        stage, rectifying = divmod(epoch, 2)
        turn, joined = stage % count, min(stage + rectifying, count)
        if rectifying:
            loss = F.cross_entropy(sum(parts[:joined]), target)
            trained = set(NAMES[:joined])
        else:
            others = [part.detach() for m, part in enumerate(parts[:joined]) if m != turn]
            q = sum(others).softmax(1) if joined else torch.ones_like(logits)
            log_p = parts[turn].log_softmax(1)
            loss = (-3.0 * onehot * log_p + 0.5 * onehot * q * log_p).mean()
            trained = {NAMES[turn]}
        expected = {
            key: slope
            for key, slope in gradients_of(loss, net).items()
            if key == "fusion.bias" or any(name in trained for name in key.split("."))
        }
        method = ReconBoost(3.0, 0.5, boost=1, rectify=1, faithful="code")
        method.set_extra_state({"epoch": epoch})
        assert close(run(method, net, inputs, target), expected, 1e-12)


def test_reconboost_weighs_all_samples_alike_in_the_first_stage_of_the_code() -> None:
    """`q = 1`: the gradient is `(w1 - w2) / C` times that of the modality's own cross-entropy."""
    net, data = model(2), batch(2)
    features, _ = by_hand(net, data[0])
    own = F.cross_entropy(net.fusion.heads["audio"](features["audio"]) + net.fusion.bias / 2, data[1])
    found = run(ReconBoost(5.0, 1.0, faithful="code"), net, *data)
    expected = {key: slope * 4 / CLASSES for key, slope in gradients_of(own, net).items()}
    assert close(found, {key: expected[key] for key in found}, 1e-12)
    assert not close(run(ReconBoost(5.0, 1.0, faithful="code", pretrained=True), net, *data), found, 1e-6)


# ---- ESAM ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.1, 0.6])
def test_esam_updates_every_weight_and_keeps_a_rounded_share(beta: float) -> None:
    net, data = model(2, noisy=False), batch(2, 11)
    backward = ESAM(rho=0.1, beta=beta, gamma=0.5).on(net, F.cross_entropy)
    backward(*data)
    assert gradients(net).keys() == {key for key, _ in net.named_parameters()}
    assert backward.objective.counts.forwards == pytest.approx(2 + round(0.5 * 11) / 11)  # whole, whole, a part

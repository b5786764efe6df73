"""OGM-GE, AGM, MMPareto, CGGM and MASAM: worked numbers, stated limits, traps, and literal re-implementations."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn

from msam import AGM, CGGM, MASAM, OGM, OGMGE, FusionModel, Joint, LateFusion, Method, MMPareto, Objective
from msam.attribution import exact
from msam.blocks import added, cosine, products
from msam.heads import Heads
from msam.methods.mmpareto import fused_weight
from zoo import CLASSES, NAMES, Opaque, Unfusable, batch, close, gradients, model, run, same

BOTH = pytest.mark.parametrize("fusion", ["late", "early"])
COUNTS = pytest.mark.parametrize("count", [1, 2, 3, 6])


def widths(count: int) -> dict[str, int]:
    return dict.fromkeys(NAMES[:count], 6)


def heads(count: int, seed: int = 0) -> Heads:
    return Heads(widths(count), CLASSES, seed).double()


def step(method: Method, net: nn.Module, *data: Any, **options: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Gradients and notes of one step; model and method are left as they are."""
    copied = copy.deepcopy(net)
    torch.manual_seed(11)
    outcome = copy.deepcopy(method).on(copied, F.cross_entropy, **options)(*data)
    return gradients(copied), outcome.notes


def encoder_of(key: str) -> str | None:
    return key.split(".")[1] if key.startswith("encoders.") else None


def features_and_logits(net: FusionModel, inputs: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """A pass by hand, with the random draws of `step`."""
    torch.manual_seed(11)
    features = {name: net.encoders[name](inputs[name]) for name in net.encoders}
    return features, net.fuse(features)


def losses_of(net: FusionModel, own: Heads, data: Any) -> tuple[Tensor, dict[str, Tensor]]:
    features, logits = features_and_logits(net, data[0])
    alone = {name: F.cross_entropy(own[name](feature), data[1]) for name, feature in features.items()}
    return F.cross_entropy(logits, data[1]), alone


def by_name(net: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    found = torch.autograd.grad(loss, list(net.parameters()), retain_graph=True, allow_unused=True)
    return {key: g for (key, _), g in zip(net.named_parameters(), found, strict=True) if g is not None}


# ---- OGM and OGM-GE --------------------------------------------------------------------------------------------------


class Convolutional(nn.Sequential):
    def __init__(self) -> None:
        layers = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        super().__init__(*layers)


def images() -> tuple[FusionModel, tuple[dict[str, Tensor], Tensor]]:
    torch.manual_seed(3)
    net = FusionModel({"audio": Convolutional(), "image": Convolutional()}, LateFusion({"audio": 12, "image": 12}, 4))
    target = torch.arange(8) % 4
    inputs = {name: torch.randn(8, 1, 6, 6, dtype=torch.float64) + target[:, None, None, None] for name in net.encoders}
    return net.double(), (inputs, target)


@pytest.mark.parametrize(("alpha", "expected"), [(0.8, 0.0783), (0.1, 0.8026)])
def test_ogm_worked_number(alpha: float, expected: float, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = torch.tensor([1.2, 0.6], dtype=torch.float64)
    monkeypatch.setattr(OGM, "scores", lambda *_: scores)
    _, notes = step(OGM(alpha), model(2), *batch(2))
    assert notes["factor/audio"] == pytest.approx(expected, abs=5e-5)
    assert notes["factor/audio"] == pytest.approx(1 - math.tanh(2 * alpha), rel=1e-12)
    assert notes["factor/image"] == 1


def test_ogm_scales_by_the_ratio_not_by_its_excess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OGM, "scores", lambda *_: torch.tensor([0.5 + 1e-9, 0.5], dtype=torch.float64))
    _, notes = step(OGM(0.8), model(2), *batch(2))
    assert notes["factor/audio"] == pytest.approx(1 - math.tanh(0.8), abs=1e-6)


def literal_ogm(net: FusionModel, data: Any, alpha: float, only_4d: bool) -> dict[str, Tensor]:
    """The equations, sample by sample, with halves of the bias."""
    features, logits = features_and_logits(net, data[0])
    score = dict.fromkeys(features, 0.0)
    for name, feature in features.items():
        part = feature.flatten(1) @ net.fusion.heads[name].weight.T + net.fusion.bias / 2
        for i, label in enumerate(data[1]):
            score[name] += torch.softmax(part[i], 0)[label].item()
    found = by_name(net, F.cross_entropy(logits, data[1]))
    for key, gradient in found.items():
        name = encoder_of(key)
        if name and (gradient.dim() == 4 or not only_4d):
            (other,) = set(score) - {name}
            ratio = score[name] / score[other]
            found[key] = gradient * (1 - math.tanh(alpha * max(ratio, 0)) if ratio > 1 else 1)
    return found


@pytest.mark.parametrize("faithful", ["paper", "code"])
def test_ogm_equals_the_literal_loop(faithful: Any) -> None:
    net, data = images()
    found, notes = step(OGM(0.3, faithful), net, *data)
    assert sorted(notes.values())[1] == 1
    assert close(found, literal_ogm(copy.deepcopy(net), data, 0.3, faithful == "code"))
    if faithful == "paper":
        assert close(step(OGM(0.3), model(2), *batch(2))[0], literal_ogm(model(2), batch(2), 0.3, False))


@pytest.mark.parametrize("faithful", ["paper", "code"])
def test_ogm_ge_adds_noise_of_the_unscaled_deviation_to_both_encoders(faithful: Any) -> None:
    """At every step, also where the factor is one; the fusion and, in the code's reading, other tensors get none."""
    net, data = images()
    found, notes = step(OGMGE(0.8, faithful, seed=4), net, *data)
    scaled, plain = step(OGM(0.8, faithful), net, *data)[0], step(Joint(), net, *data)[0]
    generator = torch.Generator().manual_seed(4 * 1_000_003)
    assert 1 in notes.values()
    for key, gradient in plain.items():
        noise = torch.zeros_like(gradient)
        if encoder_of(key) and (gradient.dim() == 4 or faithful == "paper"):
            noise = torch.empty_like(gradient).normal_(generator=generator) * gradient.std()
            assert noise.abs().sum() > 0
        assert torch.allclose(found[key], scaled[key] + noise, rtol=0, atol=1e-14)


def test_ogm_ge_noise_is_new_every_batch_and_the_same_when_resumed() -> None:
    data, method = batch(2), OGMGE()
    first = run(method, model(2), *data)
    assert same(run(method, model(2), *data), first)
    method.on(model(2), F.cross_entropy)(*data)
    second = run(method, model(2), *data)
    assert not close(first, second, 1e-6)
    resumed = OGMGE()
    resumed.load_state_dict(method.state_dict())
    assert same(run(resumed, model(2), *data), second)


@pytest.mark.parametrize("make", [OGM, OGMGE])
def test_ogm_outside_its_window_is_joint_training(make: Callable[..., OGM]) -> None:
    net, data = model(2), batch(2)
    joint = run(Joint(), net, *data)
    method = make(start=1, end=1)
    assert same(run(method, net, *data), joint)
    backward = method.on(copy.deepcopy(net), F.cross_entropy)
    backward.next_epoch()
    assert not same(run(method, net, *data), joint)
    backward.next_epoch()
    assert same(run(method, net, *data), joint)
    assert method.get_extra_state()["epoch"] == 2


def test_ogm_without_strength_is_joint_training_bit_for_bit() -> None:
    for net, data in ((model(2), batch(2)), images()):
        assert same(run(OGM(alpha=0), net, *data), run(Joint(), net, *data))
    for count in (1, 3):
        method = OGM(alpha=0, extension="pairwise-mean")
        assert same(run(method, model(count), *batch(count)), run(Joint(), model(count), *batch(count)))


def test_ogm_extension_is_the_method_for_two_and_means_the_ratios_for_more() -> None:
    net, data = model(2), batch(2)
    assert same(run(OGM(), net, *data), run(OGM(extension="pairwise-mean"), net, *data))
    ratios = OGM(extension="pairwise-mean").ratios(torch.tensor([0.6, 0.3, 0.2]))
    assert ratios.tolist() == pytest.approx([(2 + 3) / 2, (0.5 + 1.5) / 2, (1 / 3 + 2 / 3) / 2])
    assert OGM(extension="pairwise-mean").ratios(torch.tensor([0.6])).tolist() == [0]


def test_ogm_refuses_what_it_is_not_defined_for() -> None:
    for net, message in (
        (model(3), "two modalities, found 3; extension='pairwise-mean'"),
        (model(2, "early"), "an additive fusion"),
        (Opaque(model(2)), "share no weights"),
    ):
        with pytest.raises(ValueError, match=message):
            OGMGE().on(net, F.cross_entropy)
    with pytest.raises(ValueError, match=r"four dimensions only, of which the encoders \['audio', 'image'\] have none"):
        OGM(faithful="code").on(model(2), F.cross_entropy)
    with pytest.raises(ValueError, match="needs class indices"):
        OGM().on(model(2), F.mse_loss)(batch(2)[0], torch.zeros(12, CLASSES, dtype=torch.float64))


def test_parts_follow_the_encoders_not_the_order_of_the_heads() -> None:
    net, data = model(2), batch(2)
    turned = copy.deepcopy(net)
    turned.fusion.heads = nn.ModuleDict(dict(reversed(list(net.fusion.heads.items()))))
    live = [Objective(each, F.cross_entropy) for each in (net, turned)]
    parts = []
    for objective in live:
        torch.manual_seed(0)
        parts.append(objective.evaluation.parts(objective.forward(*data)))
    assert torch.equal(*parts)
    masks = exact(2).masks
    left, right = (objective.coalition_logits(data[0], masks, "zero-input") for objective in live)
    assert torch.equal(left, right)


# ---- AGM -------------------------------------------------------------------------------------------------------------


def test_agm_worked_number_and_old_running_mean() -> None:
    method, scores = AGM(alpha=1.0), torch.tensor([0.5, 1.0], dtype=torch.float64)
    assert method.coefficients(scores).tolist() == pytest.approx([0.5227, 1.4821], abs=5e-5)
    again = method.coefficients(scores)
    assert again.tolist() == [1, 1]  # by now the running means are the scores
    third = method.coefficients(torch.tensor([1.0, 1.0], dtype=torch.float64))
    assert third.tolist() == pytest.approx([math.exp(math.exp(0.5) - 1), math.exp(math.exp(-0.5) - 1)])
    assert method.get_extra_state()["means"].tolist() == pytest.approx([2 / 3, 1])


def test_agm_cap_keeps_the_coefficients_finite() -> None:
    apart = torch.tensor([0.0, 18.4]), torch.tensor([18.4, 0.0])
    for cap, finite in ((None, False), (10.0, True)):
        method = AGM(alpha=4, cap=cap)
        method.coefficients(apart[0])
        assert bool(method.coefficients(apart[1]).isfinite().all()) is finite


@COUNTS
@BOTH
@pytest.mark.parametrize("faithful", ["code", "paper"])
def test_agm_without_strength_is_joint_training_bit_for_bit(fusion: str, count: int, faithful: Any) -> None:
    net, data = model(count, fusion), batch(count)
    assert same(run(AGM(0, faithful), net, *data), run(Joint(), net, *data))
    if count == 1:
        assert same(run(AGM(2, faithful), net, *data), run(Joint(), net, *data))


def literal_agm(net: nn.Module, data: Any, alpha: float, means: list[float], batches: int) -> list[float]:
    """As the authors do it: zero inputs, evaluation mode with gradient, and a hook on each modality's output."""
    inputs, target = data
    names, outputs = list(inputs), {}
    everything = net(inputs)
    net.eval()
    for size in range(1, len(names)):
        for chosen in (set(c) for c in _subsets(names, size)):
            masked = {name: x if name in chosen else torch.zeros_like(x) for name, x in inputs.items()}
            outputs[frozenset(chosen)] = net(masked)
    net.train()
    outputs[frozenset(names)] = everything
    parts = []
    for name in names:
        part = torch.zeros_like(everything)
        for coalition, logits in outputs.items():
            if name in coalition:
                others = len(coalition) - 1
                weight = math.factorial(others) * math.factorial(len(names) - others - 1) / math.factorial(len(names))
                without = outputs.get(coalition - {name}, torch.zeros_like(logits))
                part = part + weight * (logits - without)
        parts.append(part)
    chances = [part.detach().softmax(1)[range(len(target)), target] for part in parts]
    scores = [-torch.log(p.clamp(min=1e-8)).mean().item() for p in chances]
    count = len(names)

    def lead(values: list[float], m: int) -> float:
        return math.exp(count / (count - 1) * (sum(values) / count - values[m]))

    for m, part in enumerate(parts):
        kappa = math.exp(alpha * min(lead(means, m) - lead(scores, m), 10))
        part.register_hook(lambda g, kappa=kappa: g * kappa)
    F.cross_entropy(sum(parts), target).backward()
    return [old * batches / (batches + 1) + new / (batches + 1) for old, new in zip(means, scores, strict=True)]


def _subsets(names: list[str], size: int) -> list[tuple[str, ...]]:
    from itertools import combinations

    return list(combinations(names, size))


@BOTH
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("show", [lambda net: net, Opaque])
def test_agm_equals_the_hooks_over_20_momentum_steps(fusion: str, count: int, show: Any) -> None:
    ours, theirs = show(model(count, fusion)), show(model(count, fusion))
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9) for net in (ours, theirs)]
    backward, means = AGM(alpha=1.5, faithful="code").on(ours, F.cross_entropy), [0.0] * count
    for seed in range(20):
        data = batch(count, seed=seed)
        torch.manual_seed(seed)
        backward(*data)
        torch.manual_seed(seed)
        means = literal_agm(theirs, data, 1.5, means, seed)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    left, right = ours.state_dict(), theirs.state_dict()
    assert all(torch.allclose(left[k], right[k], rtol=0, atol=1e-10) for k in left)
    assert backward.method.get_extra_state()["means"].tolist() == pytest.approx(means)


@BOTH
@pytest.mark.parametrize("count", [2, 3])
def test_agm_modes_agree_on_a_model_that_has_only_one(fusion: str, count: int) -> None:
    net, data = model(count, fusion, noisy=False), batch(count)
    code, paper = (run(AGM(2.0, faithful), net, *data) for faithful in ("code", "paper"))
    opaque = run(AGM(2.0, "paper"), Opaque(net), *data)
    assert close(code, paper, 1e-14)
    assert close(paper, {key.removeprefix("inner."): g for key, g in opaque.items()}, 1e-14)


@BOTH
@pytest.mark.parametrize("in_evaluation", [False, True])
def test_agm_outputs_sum_to_the_logits(fusion: str, in_evaluation: bool) -> None:
    net, data = model(3, fusion), batch(3)
    objective, design = Objective(net, F.cross_entropy), exact(3)
    live = objective.forward(*data)
    logits = objective.coalitions.training_logits(live, data[0], design.masks, in_evaluation=in_evaluation)
    assert torch.allclose(torch.tensordot(design.weights, logits, 1).sum(0), live.logits)
    assert not torch.allclose(logits[0], logits[-1])


@BOTH
def test_agm_clips_by_the_largest_element_of_the_heads_weight(fusion: str) -> None:
    net, data = model(2, fusion), batch(2)
    plain = run(AGM(1.5), net, *data)
    last = list(net.fusion.heads.values()) if fusion == "late" else [net.fusion.trunk[-1]]
    weights = {id(module.weight) for module in last}
    head = {key for key, weight in net.named_parameters() if id(weight) in weights}
    assert head
    largest = max(plain[key].abs().max().item() for key in head)
    norm = math.sqrt(sum(g.square().sum().item() for g in plain.values()))
    assert close(run(AGM(1.5, clip=largest * 1.01), net, *data), plain, 1e-14)
    clipped = run(AGM(1.5, clip=largest * 0.99), net, *data)
    assert close(clipped, {key: g * largest * 0.99 / norm for key, g in plain.items()}, 1e-14)


# ---- MMPareto --------------------------------------------------------------------------------------------------------


def test_mmpareto_worked_number() -> None:
    weight = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    fused = {weight: torch.tensor([1.0, 0.0], dtype=torch.float64)}
    alone = {weight: torch.tensor([-1.0, 1.0], dtype=torch.float64)}
    found = products(fused, alone, [weight])
    k = fused_weight(found)
    assert k.item() == pytest.approx(3 / 5)
    assert cosine(found).item() == pytest.approx(-1 / math.sqrt(2))
    for faithful in ("code", "paper"):
        (g,) = MMPareto({"a": 1}, 2, 1.5, faithful).integrated(fused, alone, [weight], k).values()
        assert g.tolist() == pytest.approx([0.671, 1.342], abs=5e-4)


@given(st.lists(st.tuples(*[st.floats(-3, 3)] * 2), min_size=1, max_size=4))
def test_mmpareto_direction_agrees_with_both_and_is_never_shortened(pairs: list[tuple[float, float]]) -> None:
    weights = [nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in pairs]
    fused, alone = (
        {w: torch.tensor([p[i]], dtype=torch.float64) for w, p in zip(weights, pairs, strict=True)} for i in (0, 1)
    )
    found = products(fused, alone, weights)
    k = fused_weight(found)
    assert 0 <= k <= 1
    mixed = added({w: k * g for w, g in fused.items()}, {w: (1 - k) * g for w, g in alone.items()})
    for other in (fused, alone):
        assert products(mixed, other, weights)[2] >= -1e-9
    summed = added(fused, alone)
    assume(products(mixed, mixed, weights)[0] > 1e-6)  # what is left of opposite gradients has no direction
    whole = MMPareto({"a": 1}, 2, 1.0, "paper").integrated(fused, alone, weights, k)
    assert products(whole, whole, weights)[0] >= products(summed, summed, weights)[0] * (1 - 1e-9)


def literal_mmpareto(net: FusionModel, own: Heads, data: Any, per_tensor: bool) -> dict[str, Tensor]:
    fused, alone = losses_of(net, own, data)
    found = by_name(net, fused)
    for name, loss in alone.items():
        first, second = ({k: g for k, g in by_name(net, l).items() if encoder_of(k) == name} for l in (fused, loss))
        a, b = (torch.cat([g.flatten() for g in each.values()]) for each in (first, second))
        k = 0.5 if a @ b > 0 else ((b @ b - a @ b) / ((a - b) @ (a - b))).item()
        turned = {key: 2 * k * first[key] + 2 * (1 - k) * second[key] for key in first}
        whole = torch.cat([g.flatten() for g in turned.values()])
        for key, g in turned.items():
            grow = (first[key] + second[key]).norm() / g.norm() if per_tensor else (a + b).norm() / whole.norm()
            found[key] = 1.5 * g * max(float(grow), 1.0)
    return found


@BOTH
@COUNTS
@pytest.mark.parametrize("faithful", ["code", "paper"])
def test_mmpareto_equals_the_literal_loop(fusion: str, count: int, faithful: Any) -> None:
    conflicts = 0
    for seed in range(4):
        net, data = model(count, fusion), batch(count, seed=seed)
        data = data[0], data[1].roll(1)  # labels that inputs do not tell: encoders and classifiers disagree
        found, notes = step(MMPareto(widths(count), CLASSES, faithful=faithful, seed=seed), net, *data)
        conflicts += sum(value < 0 for value in notes.values())
        assert close(found, literal_mmpareto(net, heads(count, seed), data, faithful == "code"))
    assert conflicts


def test_mmpareto_without_conflict_is_the_sum_of_all_losses() -> None:
    net, data, method = model(3), batch(3), MMPareto(widths(3), CLASSES, gamma=1.0)
    own_rows = {f"{name}.weight": head.weight.detach() for name, head in net.fusion.heads.items()}
    method.heads.load_state_dict(own_rows, strict=False)  # classifiers that agree with the fusion
    found, notes = step(method, net, *data)
    assert min(notes.values()) > 0
    fused, alone = losses_of(net, method.heads.double(), data)
    assert close(found, by_name(net, fused + sum(alone.values())), 1e-7)  # the classifiers were copied in float32


def test_mmpareto_with_equal_gradients_is_the_weighted_sum() -> None:
    weights = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2))]
    same_for_both = {weight: torch.randn(len(weight)) for weight in weights}
    k = fused_weight(products(same_for_both, same_for_both, weights))
    found = MMPareto({"a": 1}, 2, gamma=1.5).integrated(same_for_both, same_for_both, weights, k)
    assert all(torch.equal(found[w], 1.5 * (g + g)) for w, g in same_for_both.items())


# ---- CGGM ------------------------------------------------------------------------------------------------------------


def balance(gains: list[float], faithful: Any) -> list[float]:
    return CGGM({"a": 1}, 2, faithful=faithful).balance(torch.tensor(gains, dtype=torch.float64)).tolist()


@pytest.mark.parametrize("faithful", ["paper", "code"])
def test_cggm_worked_numbers(faithful: Any) -> None:
    assert balance([0.1, 0.3], faithful) == pytest.approx([0.75, 0.25])
    assert balance([0.1, 0.2, 0.1], faithful) == pytest.approx([0.75, 0.5, 0.75])


def test_cggm_guards_what_the_code_does_not() -> None:
    for gains, code, paper in (
        ([0.05, -0.05], [-5e6, 5e6], [0, 1]),  # a denominator of 1e-8
        ([0.02, -0.01], [-1, 2], [0, 1]),  # the improving encoder climbs
        ([0.0, 0.0], [1, 1], [0.5, 0.5]),
        ([-0.1, -0.3], [0.75, 0.25], [0.5, 0.5]),  # drops act like gains
    ):
        assert balance(gains, "code") == pytest.approx(code, rel=1e-5)
        assert balance(gains, "paper") == pytest.approx(paper)


def literal_cggm(net: FusionModel, own: Heads, data: Any, before: list[float], options: Any) -> Any:
    """One step from the equations; returns gradients, accuracies and the late direction of the code's reading."""
    fused, _ = losses_of(net, own, data)
    features, logits = features_and_logits(net, data[0])
    fused, target = F.cross_entropy(logits, data[1]), data[1]
    alone = {name: own[name](feature.detach()) for name, feature in features.items()}
    accuracies = [(z.argmax(1) == target).double().mean().item() for z in alone.values()]
    gains = [new - old for new, old in zip(accuracies, before, strict=True)]
    if options["faithful"] == "paper":
        gains = [max(gain, 0) for gain in gains]
        factors = [1 - gain / sum(gains) if sum(gains) else 1 - 1 / len(gains) for gain in gains]
        slope = torch.autograd.grad(fused, logits, create_graph=True)[0].flatten()
        slopes = [
            torch.autograd.grad(F.cross_entropy(z, target), z, retain_graph=True)[0].flatten() for z in alone.values()
        ]
        cosines = [slope @ other / (slope.norm() * other.norm()) for other in slopes]
    else:
        factors = [1 - gain / (sum(gains) + 1e-8) for gain in gains]
        pairs = [(net.fusion.heads[name].weight.flatten(), own[name].weight.flatten()) for name in alone]
        cosines = [w @ v / (w.norm() * v.norm()) for w, v in pairs]
    apart = sum(abs(b) - b * cos for b, cos in zip(factors, cosines, strict=True)) / len(factors)
    total = fused + options["direction"] * apart if options["faithful"] == "paper" else fused
    late = {} if options["faithful"] == "paper" else by_name(net, options["direction"] * apart)
    found = by_name(net, total)
    for key, gradient in options["late"].items():
        found[key] = found[key] + gradient
    by_modality = dict(zip(alone, factors, strict=True))
    found = {k: g * 1.3 * by_modality[encoder_of(k)] if encoder_of(k) else g for k, g in found.items()}
    return found, accuracies, late


@pytest.mark.parametrize(("faithful", "fusion"), [("paper", "late"), ("paper", "early"), ("code", "late")])
@pytest.mark.parametrize("count", [2, 3])
def test_cggm_equals_the_literal_steps(faithful: Any, fusion: str, count: int) -> None:
    net, own = model(count, fusion), heads(count)
    method = CGGM(widths(count), CLASSES, faithful=faithful)
    backward = method.on(net, F.cross_entropy)
    optimizer = torch.optim.SGD([*net.parameters(), *method.parameters()], lr=0.05)
    before, late = [0.0] * count, {}
    for seed in range(4):
        data, copied = batch(count, size=50, seed=seed), copy.deepcopy(net)
        own.load_state_dict(method.heads.state_dict())
        torch.manual_seed(11)
        backward(*data)
        options = {"faithful": faithful, "direction": 0.2, "late": late}
        expected, before, late = literal_cggm(copied, own, data, before, options)
        size = max(1.0, *(g.abs().max().item() for g in expected.values()))
        assert close(gradients(net), expected, 1e-12 * size)
        optimizer.step()
        optimizer.zero_grad()


@BOTH
def test_cggm_limits(fusion: str) -> None:
    net, data = model(2, fusion), batch(2)
    plain = run(CGGM(widths(2), CLASSES, direction=0), net, *data)
    joint = run(Joint(), net, *data)
    assert all(torch.equal(plain[key], joint[key]) for key in joint if not encoder_of(key))
    for faithful in ("paper", "code"):
        one = CGGM(widths(1), CLASSES, rho=1, faithful=faithful)
        assert same(run(one, model(1, fusion), *batch(1)), run(Joint(), model(1, fusion), *batch(1)))


def test_cggm_direction_keeps_its_weight_when_the_criterion_is_scaled() -> None:
    net, data = model(2), batch(2)
    quarter = run(CGGM(widths(2), CLASSES), net, *data, criterion=lambda z, y: F.cross_entropy(z, y) / 4)
    assert close({key: 4 * g for key, g in quarter.items()}, run(CGGM(widths(2), CLASSES), net, *data), 1e-14)


def test_cggm_encoders_are_not_trained_by_the_classifiers() -> None:
    net, data = model(2), batch(2)
    near, far = (CGGM(widths(2), CLASSES, direction=0) for _ in range(2))
    far.heads.load_state_dict({key: 1.01 * value for key, value in near.heads.state_dict().items()})  # same accuracies
    assert same(run(near, net, *data), run(far, net, *data))


def test_cggm_momentum_averages_the_accuracies() -> None:
    method = CGGM({"a": 1, "b": 1}, 2, momentum=0.9)
    assert method.gains(torch.tensor([0.5, 1.0])).tolist() == pytest.approx([0.05, 0.1])
    assert method.gains(torch.tensor([0.5, 0.1])).tolist() == pytest.approx([0.045, 0.0], abs=1e-7)


# ---- MASAM -----------------------------------------------------------------------------------------------------------


def literal_masam(
    net: FusionModel, own: Heads, data: Any, rho: float, weight: float, scores: Callable[..., Any]
) -> Any:
    fused, alone = losses_of(net, own, data)
    total = by_name(net, fused)
    cosines = []
    for name, loss in alone.items():
        second = by_name(net, loss)
        a, b = (torch.cat([each[k].flatten() for k in total if encoder_of(k) == name]) for each in (total, second))
        cosines.append((a @ b / (a.norm() * b.norm())).item())
    chosen = scores([loss.item() for loss in alone.values()], cosines)
    name = list(alone)[chosen]
    norm = math.sqrt(sum(g.square().sum().item() for k, g in total.items() if encoder_of(k) == name))
    moved = copy.deepcopy(net)
    with torch.no_grad():
        for key, parameter in moved.named_parameters():
            if encoder_of(key) == name:
                parameter += rho * cosines[chosen] * total[key] / norm
    there = by_name(moved, F.cross_entropy(features_and_logits(moved, data[0])[1], data[1]))
    plain = by_name(net, sum(alone.values()))
    return name, {
        key: (there[key] if encoder_of(key) == name else total[key]) + weight * plain.get(key, torch.zeros(()))
        for key in total
    }


@BOTH
@pytest.mark.parametrize("count", [2, 3, 6])
def test_masam_equals_the_literal_steps(fusion: str, count: int) -> None:
    method = MASAM(widths(count), CLASSES, rho=0.3, mix=0.7, momentum=0.8, weight=0.6)
    last, mean, seen = None, None, set()
    for seed in range(8):
        net, data = model(count, fusion), batch(count, seed=seed)
        plain = copy.deepcopy(net)

        def scores(losses: list[float], cosines: list[float]) -> int:
            nonlocal last, mean
            old = losses if mean is None else mean
            mean = [0.8 * m + 0.2 * l for m, l in zip(old, losses, strict=True)]
            decay = [max(0, l - m) for l, m in zip(losses if last is None else last, mean, strict=True)]
            last = losses
            points = [0.7 * d + 0.3 * c for d, c in zip(decay, cosines, strict=True)]
            return points.index(max(points))

        name, expected = literal_masam(plain, heads(count), data, 0.3, 0.6, scores)
        torch.manual_seed(11)
        outcome = method.on(net, F.cross_entropy)(*data)
        assert outcome.notes["dominant"] == name
        assert close(gradients(net), expected)
        seen.add(name)
    assert len(seen) > 1 or count == 2


@BOTH
def test_masam_without_radius_is_the_sum_of_all_losses(fusion: str) -> None:
    net, data = model(3, fusion), batch(3)
    found = run(MASAM(widths(3), CLASSES, rho=0, weight=0.5), net, *data)
    fused, alone = losses_of(net, heads(3), data)
    assert close(found, by_name(net, fused + 0.5 * sum(alone.values())), 1e-14)


def test_masam_reuses_features_without_changing_the_gradient() -> None:
    net, data = model(3), batch(3)
    full = run(MASAM(widths(3), CLASSES), Unfusable(net), *data)
    assert close(
        run(MASAM(widths(3), CLASSES), net, *data), {k.removeprefix("inner."): g for k, g in full.items()}, 1e-15
    )


def test_masam_scores_do_not_depend_on_the_criterions_scale() -> None:
    found = []
    for scale in (1.0, 100.0):
        method = MASAM(widths(2), CLASSES)
        backward = method.on(model(2), lambda z, y, s=scale: s * F.cross_entropy(z, y))
        for seed in range(3):
            torch.manual_seed(seed)
            notes = backward(*batch(2, seed=seed)).notes
        found.append([notes["score/audio"], notes["score/image"]])
    assert found[0] == pytest.approx(found[1])


# ---- all of them -----------------------------------------------------------------------------------------------------

RIVALS: dict[str, Callable[[int], Method]] = {
    "ogm": lambda count: OGM(extension="pairwise-mean"),
    "ogm-ge": lambda count: OGMGE(extension="pairwise-mean"),
    "agm": lambda count: AGM(),
    "agm-code": lambda count: AGM(faithful="code"),
    "mmpareto": lambda count: MMPareto(widths(count), CLASSES),
    "cggm": lambda count: CGGM(widths(count), CLASSES),
    "masam": lambda count: MASAM(widths(count), CLASSES),
    "masam-code": lambda count: MASAM(widths(count), CLASSES, faithful="code"),
}

COUNTED = {  # forwards, backwards, fusions, forwards and backwards of each encoder, for three modalities, late fusion
    "ogm": (1, 1, 2, (1, 1, 1), (1, 1, 1)),
    "ogm-ge": (1, 1, 2, (1, 1, 1), (1, 1, 1)),
    "agm": (1, 1, 3, (1, 1, 1), (1, 1, 1)),  # coalitions of an additive fusion are summed
    "agm-code": (1, 1, 7, (2, 2, 2), (2, 2, 2)),
    "mmpareto": (1, 4, 1, (1, 1, 1), (2, 2, 2)),
    "cggm": (1, 1, 1, (1, 1, 1), (1, 1, 1)),
    "masam": (1, 5, 2, (2, 1, 1), (3, 2, 2)),
    "masam-code": (2, 5, 2, (2, 2, 2), (3, 3, 3)),
}


@pytest.mark.parametrize("name", RIVALS)
def test_passes_are_counted(name: str) -> None:
    net, data = model(3), batch(3)
    backward = RIVALS[name](3).on(net, F.cross_entropy)
    backward(*data)
    counts = backward.objective.counts
    encoders = [
        sorted((each[m] for m in data[0]), reverse=True) for each in (counts.encoder_forwards, counts.encoder_backwards)
    ]
    assert (counts.forwards, counts.backwards, counts.fusions, *map(tuple, encoders)) == COUNTED[name]


@pytest.mark.parametrize("name", RIVALS)
def test_frozen_encoder_is_given_no_gradient(name: str) -> None:
    net, data = model(2), batch(2)
    net.encoders["audio"].requires_grad_(False)
    found = run(RIVALS[name](2), net, *data)
    assert {key for key, _ in net.named_parameters() if "encoders.audio" not in key} == found.keys()
    assert all(g.isfinite().all() for g in found.values())


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a compiler")
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of its compiler
def test_compiled_models_are_differentiated_more_than_once() -> None:
    """After plain training has left code in the cache that could not be."""
    for name in ("joint", "mmpareto"):
        method = Joint() if name == "joint" else RIVALS[name](2)
        net, data = model(2, noisy=False), batch(2)
        plain = run(method, net, *data)
        torch._dynamo.reset()
        method.on(torch.compile(net), F.cross_entropy)(*data)
        assert close(gradients(net), plain)


@pytest.mark.parametrize("name", RIVALS)
def test_learns_six_modalities(name: str) -> None:
    net, data, method = model(6), batch(6, size=40), RIVALS[name](6)
    backward = method.on(net, F.cross_entropy)
    optimizer = torch.optim.SGD([*net.parameters(), *method.parameters()], lr=0.1)
    losses = []
    for _ in range(15):
        losses.append(float(backward(*data).loss))
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("make", [lambda: MMPareto(widths(2), CLASSES), lambda: MASAM(widths(2), CLASSES)])
def test_classifiers_follow_their_own_loss(make: Callable[[], Any]) -> None:
    net, data, method = model(2), batch(2), make()
    torch.manual_seed(11)
    method.on(copy.deepcopy(net), F.cross_entropy)(*data)
    expected = by_name(method.heads, sum(losses_of(net, method.heads, data)[1].values()))
    assert close(gradients(method.heads), expected, 1e-14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OGM(alpha=-1), "alpha must be a number of at least 0"),
        (lambda: OGM(faithful="neither"), "faithful must be one of"),
        (lambda: AGM(cap=-1), "cap must be"),
        (lambda: MMPareto({"a": 1}, 2, gamma=-1), "gamma must be"),
        (lambda: CGGM({"a": 1}, 2, momentum=2), "momentum must be"),
        (lambda: MASAM({"a": 1}, 2, mix=1.5), "mix must be"),
    ],
)
def test_arguments_out_of_range_are_refused(make: Callable[[], Method], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()

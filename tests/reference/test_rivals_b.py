"""PMR, MSLR, MSES, G-Blending, MMCosine, MLA, ReconBoost and UMT: worked numbers, limits, traps, literal references."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam import (
    MLA,
    MSES,
    MSLR,
    PMR,
    UMT,
    FusionModel,
    GBlending,
    Joint,
    LateFusion,
    Method,
    MMCosine,
    Objective,
    ReconBoost,
)
from msam.additive import additive_parts
from msam.batches import average_over
from msam.methods.pmr import prototype_log_probability, prototype_losses
from zoo import CLASSES, NAMES, batch, close, gradients, model, run, same, state, teachers

BOTH = pytest.mark.parametrize("fusion", ["late", "early"])
COUNTS = pytest.mark.parametrize("count", [1, 2, 3, 6])


def by_hand(net: nn.Module, inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """Features and logits of the pass that `run` makes."""
    torch.manual_seed(11)
    features = {name: encoder(inputs[name]) for name, encoder in net.encoders.items()}
    return features, net.fuse(features)


def widths(count: int) -> dict[str, int]:
    return dict.fromkeys(NAMES[:count], 6)


def gradients_of(loss: Tensor, net: nn.Module) -> dict[str, Tensor]:
    named = dict(net.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
    return {key: grad for key, grad in zip(named, found, strict=True) if grad is not None}


def trained(method: Method, net: nn.Module, epochs: int, **options: Any) -> Any:
    """Some epochs of two batches each, with an end that shows both sets."""
    backward = method.on(net, F.cross_entropy)
    optimizer = torch.optim.SGD([*net.parameters(), *method.parameters()], lr=0.1, **options)
    for epoch in range(epochs):
        for part in (0, 1):
            backward(*batch(len(net.encoders), seed=2 * epoch + part))
            optimizer.step()
            optimizer.zero_grad()
        backward.next_epoch([batch(len(net.encoders), seed=2 * epoch)], [batch(len(net.encoders), 30, seed=99)])
    return backward


# ---- whole sets -----------------------------------------------------------------------------------------------------


def test_means_over_a_set_count_each_sample_once() -> None:
    objective = Objective(model(2), F.cross_entropy)
    batches = [batch(2, 5, seed=1), batch(2, 20, seed=2)]
    mean = average_over(objective, batches, lambda inputs, target: inputs["audio"].mean())
    assert torch.allclose(mean, torch.cat([inputs["audio"] for inputs, _ in batches]).mean())
    with pytest.raises(ValueError, match="at least one sample"):
        average_over(objective, [], lambda inputs, target: inputs["audio"].mean())


@pytest.mark.parametrize(
    "method", [PMR(), MSLR(), MSES(), GBlending({"audio": 6, "image": 6}, 4)], ids=lambda method: type(method).__name__
)
def test_sets_that_are_missing_are_asked_for(method: Method) -> None:
    backward = method.on(model(2), F.cross_entropy)
    with pytest.raises(ValueError, match=r"learns from .* set.*; call backward.next_epoch") as error:
        backward.next_epoch()
    assert "\n" not in str(error.value)


EVERY = {
    "pmr": lambda: PMR(part=1.0),
    "mslr": lambda: MSLR(window=1),
    "mses": lambda: MSES(patience=1),
    "g-blending": lambda: GBlending(widths(2), CLASSES, every=1),
    "mmcosine": MMCosine,
    "mla": lambda: MLA(widths(2), CLASSES),
    "reconboost": lambda: ReconBoost(boost=1, rectify=1),
    "umt": lambda: UMT(widths(2), CLASSES, teaching=2),
}


@pytest.mark.parametrize("name", EVERY)
def test_measurements_have_the_same_names_in_every_epoch(name: str) -> None:
    backward = EVERY[name]().on(model(2), F.cross_entropy)
    named = []
    for epoch in range(4):
        notes = backward(*batch(2, seed=epoch)).notes
        named.append({key for key, value in notes.items() if isinstance(value, float)})
        backward.next_epoch([batch(2, seed=epoch)], [batch(2, seed=9)])
    assert named == named[:1] * 4
    assert named[0]


# ---- PMR ------------------------------------------------------------------------------------------------------------


def test_pmr_worked_number() -> None:
    prototypes, seen = torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([True, True])
    log_p = prototype_log_probability(torch.zeros(1, 2), prototypes, seen)
    assert log_p.exp()[0, 0].item() == pytest.approx(1 / (1 + math.exp(-2)))
    assert round(log_p.exp()[0, 0].item(), 3) == 0.881


@pytest.mark.parametrize(
    ("faithful", "scores", "lag", "lead"),
    [
        ("code", (0.6, 0.5), (0, 1), (0.2, 0)),
        ("paper", (0.6, 0.5), (0, 0.2), (0.2, 0)),
        ("paper", (0.9, 0.3), (0, 1), (1, 0)),
        ("code", (0.4, 0.4), (0, 0), (0, 0)),
        ("paper", (0.5, 0.3, 0.4), (0, 0.5, 0), (3 / 7, 0, 0)),
        ("paper", (0.5,), (0,), (0,)),
    ],
)
def test_pmr_weights(faithful: Any, scores: tuple[float, ...], lag: tuple[float, ...], lead: tuple[float, ...]) -> None:
    found = PMR(faithful=faithful).weights(torch.tensor(scores))
    assert torch.allclose(found[0], torch.tensor(lag, dtype=torch.float32), atol=1e-6)
    assert torch.allclose(found[1], torch.tensor(lead, dtype=torch.float32), atol=1e-6)


def with_prototypes(method: PMR, count: int, fusion: str = "late") -> PMR:
    method.on(model(count, fusion), F.cross_entropy).next_epoch([batch(count, 40, seed=3)])
    return method


@BOTH
@COUNTS
@pytest.mark.parametrize("faithful", ["code", "paper"])
def test_pmr_against_a_literal_one(count: int, fusion: str, faithful: Any) -> None:
    method = PMR(2.0, faithful=faithful, extension="mean-of-others", part=1.0, entropy=0.3)
    with_prototypes(method, count, fusion)
    net, (inputs, target) = model(count, fusion), batch(count)
    known, labels = batch(count, 40, seed=3)
    centres = {
        name: torch.stack([encoder(known[name])[labels == k].mean(0) for k in range(CLASSES)]).detach()
        for name, encoder in copy.deepcopy(net).eval().encoders.items()
    }
    features, logits = by_hand(net, inputs)
    log_p = {}
    for name, feature in features.items():
        distances = torch.stack([torch.stack([(h - c).norm() for c in centres[name]]) for h in feature])
        log_p[name] = torch.log_softmax(-distances, 1)
    score = {name: float(each.detach().exp()[range(len(target)), target].mean()) for name, each in log_p.items()}
    loss = F.cross_entropy(logits, target)
    for name, each in log_p.items():
        rest = [value for other, value in score.items() if other != name] or [score[name]]
        ratio = sum(rest) / len(rest) / score[name]
        weight = float(ratio > 1) if faithful == "code" else min(max(ratio - 1, 0), 1)
        loss = loss + 2 * weight * F.nll_loss(each, target)
        loss = loss - 0.3 * min(max(1 / ratio - 1, 0), 1) * -(each.exp() * each).sum(1).mean()
    assert close(run(method, net, inputs, target), gradients_of(loss, net), 1e-12)


@BOTH
def test_pmr_is_joint_without_its_term_before_the_first_prototypes_and_after_its_end(fusion: str) -> None:
    net, data = model(2, fusion), batch(2)
    joint = run(Joint(), net, *data)
    assert same(run(with_prototypes(PMR(alpha=0, entropy=0), 2, fusion), net, *data), joint)
    assert same(run(with_prototypes(PMR(alpha=0, faithful="code"), 2, fusion), net, *data), joint)
    assert not same(run(with_prototypes(PMR(alpha=0), 2, fusion), net, *data), joint)  # the entropy term of the paper
    assert same(run(PMR(alpha=2), net, *data), joint)
    assert same(run(with_prototypes(PMR(alpha=2, end=0), 2, fusion), net, *data), joint)
    assert not same(run(with_prototypes(PMR(alpha=2), 2, fusion), net, *data), joint)


def test_pmr_reads_a_part_of_the_set_whatever_its_batches() -> None:
    inputs, target = batch(2, 50, seed=4)
    chunks = [({m: x[i : i + 7] for m, x in inputs.items()}, target[i : i + 7]) for i in range(0, 50, 7)]
    net = model(2)
    found = []
    for train in ([(inputs, target)], chunks, [({m: x[::5] for m, x in inputs.items()}, target[::5])]):
        method = PMR(part=0.2 if len(found) < 2 else 1.0)
        method.on(net, F.cross_entropy).next_epoch(train)
        found.append(method._prototypes)
    for other in found[1:]:
        assert all(torch.allclose(a, b, atol=1e-14) for a, b in zip(found[0], other, strict=True))


def test_pmr_prototypes_move_with_momentum_and_a_class_not_found_stays() -> None:
    net, (inputs, target) = model(2), batch(2, 40, seed=3)
    backward = (method := PMR(momentum=0.75, part=1.0)).on(net, F.cross_entropy)
    some = target != 1
    backward.next_epoch([({m: x[some] for m, x in inputs.items()}, target[some])])
    assert method._seen.tolist() == [True, False, True, True]
    first = method._prototypes
    many = {m: torch.cat([x, x + 1])[torch.cat([some, target != 3])] for m, x in inputs.items()}
    backward.next_epoch([(many, target.repeat(2)[torch.cat([some, target != 3])])])
    assert method._seen.all()
    features = Objective(net, F.cross_entropy).features(many)["audio"]
    labels = target.repeat(2)[torch.cat([some, target != 3])]
    means = torch.stack([features[labels == k].mean(0) for k in range(CLASSES)])
    expected = 0.75 * first[0] + 0.25 * means
    expected[1] = means[1]
    assert torch.allclose(method._prototypes[0], expected, atol=1e-14)
    before = method._prototypes[0]
    backward.next_epoch([({m: x[target == 0] for m, x in inputs.items()}, target[target == 0])])
    assert torch.equal(method._prototypes[0][1:], before[1:])
    assert not torch.equal(method._prototypes[0][0], before[0])


def test_pmr_leaves_classes_without_prototype_out() -> None:
    prototypes, seen = torch.randn(3, 4), torch.tensor([True, False, True])
    feature = torch.randn(5, 4, requires_grad=True)
    log_p = prototype_log_probability(feature, prototypes, seen)
    kept = prototype_log_probability(feature, prototypes[[0, 2]], torch.tensor([True, True]))
    assert torch.allclose(log_p[:, [0, 2]], kept)
    losses, scores = prototype_losses([log_p], torch.tensor([0, 1, 1, 2, 0]), seen)
    assert losses.item() == pytest.approx(-(kept[0, 0] + kept[3, 1] + kept[4, 0]).item() / 3, rel=1e-6)
    (grad,) = torch.autograd.grad(losses.sum() - (log_p.exp() * log_p).sum(), feature)
    assert grad.isfinite().all()
    assert 0 < scores.item() < 1


@pytest.mark.parametrize("count", [1, 3])
def test_pmr_compares_two_modalities_unless_extended(count: int) -> None:
    with pytest.raises(ValueError, match="compares two modalities"):
        PMR().on(model(count), F.cross_entropy)


# ---- MSLR -----------------------------------------------------------------------------------------------------------


@BOTH
@COUNTS
def test_mslr_with_factors_of_one_is_joint(count: int, fusion: str) -> None:
    net, data = model(count, fusion), batch(count)
    assert same(run(MSLR(), net, *data), run(Joint(), net, *data))


@BOTH
def test_mslr_paces_an_encoder_and_its_own_head(fusion: str) -> None:
    net, data = model(3, fusion), batch(3)
    factors = dict(zip(NAMES, (0.5, 1.0, 3.0), strict=False))
    found, joint = (run(method, net, *data) for method in (MSLR(factors), Joint()))
    for key, grad in joint.items():
        owner = next((name for name in factors if f"encoders.{name}." in key or f"heads.{name}." in key), None)
        assert torch.equal(found[key], grad * factors.get(owner or "", 1.0)), key


def test_mslr_ratio_is_accuracy_over_the_mean_of_the_window_before() -> None:
    net, valid = model(2), batch(2, 30, seed=99)
    method = MSLR(window=2)
    backward = trained(method, net, 1)
    backward.next_epoch(valid=[valid])
    before = [each.clone() for each in method._accuracies]
    assert method._ratios == []
    with torch.no_grad():
        for weight in net.encoders["audio"].parameters():
            weight.copy_(torch.randn_like(weight))
    backward.next_epoch(valid=[valid])
    frozen = copy.deepcopy(net).eval()
    accuracy = []
    for name in net.encoders:
        logits = frozen.fusion.heads[name](frozen.encoders[name](valid[0][name])) + frozen.fusion.bias
        accuracy.append(float((logits.argmax(1) == valid[1]).double().mean()))
    expected = [now / float(then.mean()) for now, then in zip(accuracy, torch.stack(before).T, strict=True)]
    assert method._ratios == pytest.approx(expected, rel=1e-6)
    assert method._ratios[0] != 1.0
    assert len(method._accuracies) == 2


def test_mslr_keeps_its_pace_where_nothing_was_ever_right() -> None:
    method = MSLR(window=1)
    method._accuracies = [torch.zeros(2)]
    method.on(model(2), F.cross_entropy).next_epoch(valid=[batch(2)])
    assert method._ratios == [1.0, 1.0]


def test_mslr_refuses_factors_of_unknown_modalities() -> None:
    with pytest.raises(ValueError, match="smell"):
        MSLR({"smell": 2.0}).on(model(2), F.cross_entropy)
    with pytest.raises(ValueError, match="at least 0"):
        MSLR({"audio": -1.0})


# ---- MSES -----------------------------------------------------------------------------------------------------------


def waiting(method: MSES, losses: list[list[float]], net: nn.Module) -> list[list[bool]]:
    """Epochs whose held-out losses are given; which modalities have stopped after each."""
    backward, stopped = method.on(net, F.cross_entropy), []
    for epoch in losses:
        method._alone = lambda *_, epoch=epoch: torch.tensor(epoch, dtype=torch.float64)  # type: ignore[method-assign]
        backward.next_epoch(valid=[batch(2)])
        stopped.append([waited >= method.patience for waited in method._waited])
    return stopped


def test_mses_stops_after_patience_epochs_without_a_lower_smoothed_loss() -> None:
    method = MSES(patience=2, smoothing=0.6)
    stopped = waiting(method, [[1.0, 1.0], [2.0, 0.9], [0.0, 0.8], [9.0, 0.7], [9.0, 0.6]], model(2))
    # smoothed, first modality: 1, 1.4, .84 (better), 4.1, 6.06: two epochs without improvement
    assert stopped == [[False, False], [False, False], [False, False], [False, False], [True, False]]
    assert method._smooth[0] == pytest.approx(0.6 * (0.6 * 0.84 + 0.4 * 9) + 0.4 * 9)


@BOTH
def test_mses_puts_a_stopped_modality_back_to_its_best_epoch_and_keeps_it_there(fusion: str) -> None:
    net, method = model(2, fusion), MSES(patience=1)
    waiting(method, [[1.0, 1.0]], net)
    best = copy.deepcopy(net.encoders["audio"].state_dict())
    head = copy.deepcopy(net.fusion.heads["audio"].state_dict()) if fusion == "late" else {}
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.1)
    other = copy.deepcopy(net.encoders["image"].state_dict())
    assert waiting(method, [[5.0, 0.5]], net) == [[True, False]]
    assert same(dict(net.encoders["audio"].state_dict()), dict(best))
    assert same(dict(net.encoders["image"].state_dict()), dict(other))
    del method._alone  # type: ignore[method-assign]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    backward = method.on(net, F.cross_entropy)
    for _ in range(2):
        backward(*batch(2))
        optimizer.step()
        optimizer.zero_grad()
    statistics = {key for key in best if "running" in key or "num_batches" in key}
    moved = net.encoders["audio"].state_dict()
    assert all(torch.equal(moved[key], best[key]) for key in best.keys() - statistics)
    assert not torch.equal(net.encoders["image"].state_dict()["0.weight"], other["0.weight"])
    backward.next_epoch(valid=[batch(2)])
    assert same(dict(net.encoders["audio"].state_dict()), dict(best))
    if fusion == "late":
        assert same(dict(net.fusion.heads["audio"].state_dict()), dict(head))


@BOTH
@COUNTS
def test_mses_is_joint_until_a_modality_stops(count: int, fusion: str) -> None:
    net, method, data = model(count, fusion), MSES(), batch(count)
    method.on(net, F.cross_entropy).next_epoch(valid=[data])
    assert same(run(method, net, *data), run(Joint(), net, *data))


def test_mses_adds_nothing_to_what_has_stopped() -> None:
    net, method, data = model(2), MSES(patience=1), batch(2)
    waiting(method, [[1.0, 1.0], [2.0, 0.5]], net)
    found, joint = run(method, net, *data), run(Joint(), net, *data)
    assert joint.keys() - found.keys() == {key for key in joint if "audio" in key}
    assert all(torch.equal(found[key], joint[key]) for key in found)
    assert gradients(net) == {}


# ---- G-Blending -----------------------------------------------------------------------------------------------------


def test_gblending_worked_number() -> None:
    before = torch.tensor([[1.0, 1.0], [1.2, 1.3]])  # train and held-out losses of two heads
    now = torch.tensor([[0.4, 0.8], [0.8, 1.2]])  # G = (.4, .1), dO = (.2, .1)
    assert GBlending({"audio": 1}, 2).blended(before, now) == pytest.approx([0.5, 0.5], abs=1e-6)


@pytest.mark.parametrize(
    ("gained", "overfitted", "expected"),
    [
        ((0.4, -0.1), (0.2, 0.1), (1, 0)),  # a loss that rose
        ((0.0, -0.1), (0.2, 0.1), (0.5, 0.5)),  # none fell: as before
        ((0.4, 0.4), (0.0, 0.004), (0.5, 0.5)),  # no overfitting at all counts like a hundredth
        ((0.4, 0.2), (-0.1, 0.1), (2 / 3, 1 / 3)),  # the sign of dO does not matter
    ],
)
def test_gblending_guards(gained: Any, overfitted: Any, expected: Any) -> None:
    gained, overfitted = (torch.tensor(each, dtype=torch.float64) for each in (gained, overfitted))
    before = torch.ones(2, 2, dtype=torch.float64)
    now = torch.stack([1 - gained - overfitted, 1 - gained])
    for scale in (1.0, 2.0**10):
        found = GBlending({"audio": 1}, 2).blended(scale * before, scale * now)
        assert found == pytest.approx(expected, abs=1e-6)


@BOTH
@COUNTS
def test_gblending_against_a_literal_one(count: int, fusion: str) -> None:
    net, (inputs, target) = model(count, fusion), batch(count)
    method = GBlending(widths(count), CLASSES, every=1).double()
    backward = trained(method, net, 3)
    frozen = copy.deepcopy(net).eval()
    weights = method._weights
    assert sum(weights) == pytest.approx(1)
    measured = []
    for data in (batch(count, seed=4), batch(count, 30, seed=99)):
        features = {name: encoder(data[0][name]) for name, encoder in frozen.encoders.items()}
        logits = [frozen.fuse(features), *(method.heads[name](features[name]) for name in features)]
        measured.append([F.cross_entropy(each, data[1]).item() for each in logits])
    assert torch.allclose(method._before, torch.tensor(measured, dtype=torch.float64), atol=1e-12)
    features, logits = by_hand(net, inputs)
    losses = [F.cross_entropy(logits, target)]
    losses += [F.cross_entropy(method.heads[name](features[name]), target) for name in features]
    expected = gradients_of(sum(w * loss for w, loss in zip(weights, losses, strict=True)), net)
    net.zero_grad()
    torch.manual_seed(11)
    backward(inputs, target)
    found = gradients(net)
    assert close(found, {key: expected.get(key, torch.zeros_like(grad)) for key, grad in found.items()}, 1e-12)


@BOTH
@COUNTS
def test_gblending_with_all_weight_on_the_fused_loss_is_joint(count: int, fusion: str) -> None:
    net, data = model(count, fusion), batch(count)
    method = GBlending(widths(count), CLASSES, weights={"fused": 1.0})
    assert same(run(method, net, *data), run(Joint(), net, *data))
    method.on(net, F.cross_entropy).next_epoch()
    assert method._weights == [1.0, *[0.0] * count]


def test_gblending_measures_every_so_many_epochs_from_even_weights() -> None:
    net, method = model(2), GBlending(widths(2), CLASSES, every=2)
    backward, seen = method.on(net, F.cross_entropy), []
    for epoch in range(4):
        with torch.no_grad():
            for weight in net.parameters():
                weight.mul_(0.8)
        backward.next_epoch([batch(2, seed=1)], [batch(2, seed=2)])
        seen.append((epoch, method._weights))
    assert seen[0][1] == seen[1][1] == pytest.approx([1 / 3] * 3)
    assert seen[2][1] == seen[3][1] != seen[1][1]


@pytest.mark.parametrize("wrong", [{"weights": {"smell": 1.0}}, {"weights": {"audio": -1.0}}, {"every": 0}])
def test_gblending_refuses_what_makes_no_sense(wrong: Any) -> None:
    with pytest.raises(ValueError, match="found"):
        GBlending(widths(2), CLASSES, **wrong)


# ---- MMCosine -------------------------------------------------------------------------------------------------------


@COUNTS
def test_mmcosine_against_a_literal_one(count: int) -> None:
    net, (inputs, target) = model(count), batch(count)
    method = MMCosine(scale=7.0)

    def logits_of(features: dict[str, Tensor]) -> Tensor:
        total = 0
        for name, feature in features.items():
            weight = net.fusion.heads[name].weight
            total = total + torch.stack([F.cosine_similarity(feature, row[None]) for row in weight], 1)
        return 7 * total

    features, _ = by_hand(net, inputs)
    found = run(method, net, inputs, target)
    assert close(found, gradients_of(F.cross_entropy(logits_of(features), target), net), 1e-12)
    assert "fusion.bias" not in found
    net.eval()
    expected = logits_of({name: encoder(inputs[name]) for name, encoder in net.encoders.items()})
    net.train()
    assert torch.allclose(method.on(net, F.cross_entropy).predict(inputs), expected, atol=1e-12)


def test_mmcosine_does_not_see_lengths() -> None:
    net, data = model(2), batch(2)
    longer = copy.deepcopy(net)
    with torch.no_grad():
        longer.fusion.heads["audio"].weight.mul_(100)
    first, second = (run(MMCosine(), each, *data) for each in (net, longer))
    assert close(*({k: g for k, g in each.items() if "encoders" in k} for each in (first, second)), 1e-12)


class Unit(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return F.normalize(inputs)


def test_mmcosine_of_unit_vectors_is_joint() -> None:
    encoders = {name: nn.Sequential(nn.Linear(width, 6), Unit()) for name, width in (("audio", 5), ("image", 7))}
    net = FusionModel(encoders, LateFusion(widths(2), CLASSES)).double()
    with torch.no_grad():
        net.fusion.bias.zero_()
        for head in net.fusion.heads.values():
            head.weight.copy_(F.normalize(head.weight))
    found, joint = (run(method, net, *batch(2)) for method in (MMCosine(scale=1.0), Joint()))
    assert close(*({k: g for k, g in each.items() if "encoders" in k} for each in (found, joint)), 1e-12)


def test_mmcosine_needs_linear_heads() -> None:
    with pytest.raises(ValueError, match=r"MMCosine needs .*additive fusion"):
        MMCosine().on(model(2, "early"), F.cross_entropy)
    net = model(2)
    net.fusion.heads["audio"] = nn.Sequential(nn.Linear(6, CLASSES))
    with pytest.raises(ValueError, match=r"one nn.Linear a modality .*audio"):
        MMCosine().on(net, F.cross_entropy)


# ---- MLA ------------------------------------------------------------------------------------------------------------


def mla(count: int, **options: Any) -> MLA:
    return MLA(widths(count), CLASSES, **options).double()


def test_mla_worked_number() -> None:
    found = MLA({"audio": 2}, 3).turned(torch.eye(2), torch.tensor([1.0, 0.0]))
    expected = torch.diag(torch.tensor([1 - 1 / 1.1, 1.0]))
    assert torch.allclose(found, expected / math.hypot(1 - 1 / 1.1, 1), atol=1e-7)
    assert torch.allclose(MLA({"audio": 1}, 3).turned(torch.eye(1), torch.ones(1)), torch.eye(1))  # trivial


def test_mla_divides_by_a_number_not_a_matrix() -> None:
    mean, start = torch.tensor([1.0, 2.0]), torch.tensor([[2.0, 0.5], [0.5, 1.0]])
    q = start @ mean
    expected = start - q[:, None] * q[None, :] / (0.1 + float(mean @ q))
    found = MLA({"audio": 2}, 3).turned(start, mean)
    assert torch.allclose(found, expected / expected.norm(), atol=1e-6)
    assert torch.allclose(found, found.T)


@COUNTS
def test_mla_against_a_literal_one_over_two_epochs(count: int) -> None:
    net, method = model(count), mla(count)
    copied, head = copy.deepcopy(net), copy.deepcopy(method.head)
    backward = method.on(net, F.cross_entropy)
    projection, length, seed = torch.eye(6, dtype=torch.float64), 0, 0
    for batches in (3, 2):
        for position in range(batches):
            data = batch(count, seed=seed)
            seed += 1
            for module in (net, method):
                module.zero_grad()
            torch.manual_seed(11)
            backward(*data)
            features, logits = by_hand(copied, data[0])
            weight, bias, expected = 0.0, 0.0, {}
            for name, feature in features.items():
                loss = F.cross_entropy(head(feature), data[1])
                own = gradients_of(loss, copied)
                expected |= {key: grad for key, grad in own.items() if f"encoders.{name}." in key}
                grads = torch.autograd.grad(loss, [head.weight, head.bias], retain_graph=True)
                bias = bias + grads[1]
                if seed == 1 and name == "audio":  # nobody came before
                    weight = weight + grads[0]
                    continue
                r = feature.detach().mean(0)[:, None]
                q = projection @ r
                alpha = 0.1 ** (1 + (position / length if length else 0))
                projection = projection - q @ q.T / (alpha + (r.T @ q).item())
                projection = projection / projection.norm()
                weight = weight + grads[0] @ projection.T
            fused = gradients_of(F.cross_entropy(logits, data[1]), copied)
            expected |= {key: grad for key, grad in fused.items() if "encoders." not in key}
            assert close(gradients(net), expected, 1e-12)
            assert close(gradients(method), {"head.weight": weight, "head.bias": bias}, 1e-12)
        backward.next_epoch()
        length = batches
    assert torch.allclose(method.projection, projection, atol=1e-12)


def test_mla_projects_nothing_for_the_first_modality_of_all() -> None:
    """The authors' code counts its updates and leaves the first one out; the second modality is projected already."""
    net, data, method = model(1), batch(1), mla(1)
    features, _ = by_hand(copy.deepcopy(net), data[0])
    plain = gradients_of(F.cross_entropy(method.head(features["audio"]), data[1]), method.head)
    torch.manual_seed(11)
    backward = method.on(net, F.cross_entropy)
    backward(*data)
    assert close(gradients(method), {f"head.{key}": grad for key, grad in plain.items()}, 1e-14)
    assert torch.equal(method.projection, torch.eye(6, dtype=torch.float64))
    method.zero_grad()
    backward(*data)
    assert not torch.equal(method.projection, torch.eye(6, dtype=torch.float64))


def test_mla_predicts_by_certainty() -> None:
    net, method, (inputs, _) = model(3), mla(3), batch(3)
    backward = method.on(net, F.cross_entropy)
    net.eval()
    logits = [method.head(encoder(inputs[name])) for name, encoder in net.encoders.items()]
    net.train()
    entropies = [torch.distributions.Categorical(logits=each).entropy() for each in logits]
    largest = torch.stack(entropies).amax(0)
    shares = [(largest - entropy).exp() for entropy in entropies]
    expected = sum((s / sum(shares))[:, None] * each for s, each in zip(shares, logits, strict=True))
    assert torch.allclose(backward.predict(inputs), expected, atol=1e-12)
    method.dynamic = False
    assert torch.allclose(backward.predict(inputs), sum(logits) / 3, atol=1e-12)


def test_mla_counts_one_backward_of_each_encoder() -> None:
    backward = mla(3).on(model(3), F.cross_entropy)
    backward(*batch(3))
    counts = backward.objective.counts
    assert (counts.forwards, counts.backwards) == (1, 2)
    assert set(counts.encoder_backwards.values()) == {1}


def test_mla_refuses_features_of_different_widths_and_fusions_it_has_no_use_for() -> None:
    with pytest.raises(ValueError, match="features of one width"):
        MLA({"audio": 3, "image": 4}, 2)
    with pytest.raises(ValueError, match=r"MLA needs .*additive fusion"):
        mla(2).on(model(2, "early"), F.cross_entropy)
    with pytest.raises(ValueError, match="give `widths` for these"):
        mla(2).on(model(3), F.cross_entropy)
    with pytest.raises(ValueError, match="expects 5 features"):
        MLA(dict.fromkeys(NAMES[:2], 5), CLASSES).on(model(2), F.cross_entropy)(*batch(2))


# ---- ReconBoost -----------------------------------------------------------------------------------------------------


def at_epoch(method: ReconBoost, epoch: int) -> ReconBoost:
    method.set_extra_state({"epoch": epoch})
    return method


@COUNTS
def test_reconboost_parts_add_up_to_the_logits(count: int) -> None:
    net, data = model(count), batch(count)
    objective = Objective(net, F.cross_entropy)
    live = objective.forward(*data)
    parts = additive_parts(objective, live, data[0])
    assert torch.allclose(parts.sum(0), live.logits, atol=1e-13)
    assert torch.allclose(parts, objective.evaluation.parts(live), atol=1e-13)


@COUNTS
@pytest.mark.parametrize("faithful", ["code", "paper"])
def test_reconboost_against_a_literal_one(count: int, faithful: Any) -> None:
    net, (inputs, target) = model(count), batch(count, 7)  # any batch size will do
    features, logits = by_hand(net, inputs)
    heads, bias = net.fusion.heads, net.fusion.bias
    parts = {name: heads[name](feature) + bias / count for name, feature in features.items()}
    for epoch in range(6):
        stage, rectifying = divmod(epoch, 2)
        name = NAMES[stage % count]
        method = ReconBoost(3.0, 0.5, boost=1, rectify=1, faithful=faithful, pretrained=True)
        found = run(at_epoch(method, epoch), net, inputs, target)
        if rectifying:
            assert close(found, gradients_of(F.cross_entropy(logits, target), net), 1e-13)
            continue
        others = sum((part.detach() for other, part in parts.items() if other != name), torch.zeros(7, CLASSES))
        p, q = parts[name].softmax(1), others.softmax(1)
        onehot = F.one_hot(target, CLASSES)
        terms = -3.0 * onehot * p.log() + 0.5 * onehot * q * p.log()
        loss = terms.mean() if faithful == "code" else terms.sum(1).mean()
        if faithful == "paper" and stage:
            before = parts[NAMES[(stage - 1) % count]].detach().softmax(1)
            loss = loss + 0.5 * F.mse_loss(p, before)
        expected = gradients_of(loss, net)
        mine = {key for key in expected if f"encoders.{name}." in key or f"heads.{name}." in key} | {"fusion.bias"}
        assert close(found, {key: expected[key] for key in mine}, 1e-13)


def test_reconboost_code_divides_by_classes_and_has_no_memory() -> None:
    net, data = model(2), batch(2)
    code, paper, forgetful = (
        run(at_epoch(ReconBoost(boost=1, rectify=0, **options), 1), net, *data)
        for options in ({"faithful": "code"}, {}, {"memory": 0.0})
    )
    inert = run(at_epoch(ReconBoost(boost=1, rectify=0, faithful="code", memory=9.0), 1), net, *data)
    assert same(code, inert)
    assert close({key: CLASSES * grad for key, grad in code.items()}, forgetful, 1e-13)
    assert not close(paper, forgetful, 1e-4)


def test_reconboost_takes_turns_by_epochs() -> None:
    backward = ReconBoost(boost=2, rectify=1).on(model(2), F.cross_entropy)
    seen = []
    for _ in range(7):
        notes = backward(*batch(2)).notes
        seen.append((notes["stage"], notes.get("boosted", "all")))
        backward.next_epoch()
    turns = ["audio", "audio", "all", "image", "image", "all", "audio"]
    assert seen == list(zip([0, 0, 0, 1, 1, 1, 2], turns, strict=True))
    counts = backward.objective.counts
    assert counts.backwards == 7
    assert counts.encoder_backwards == {"audio": 5, "image": 4}


@COUNTS
def test_reconboost_without_boosting_is_joint(count: int) -> None:
    net, data = model(count), batch(count)
    assert same(run(at_epoch(ReconBoost(boost=0), 5), net, *data), run(Joint(), net, *data))


def test_reconboost_leaves_the_others_weights_alone() -> None:
    net = model(3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    backward = ReconBoost(boost=1, rectify=0).on(net, F.cross_entropy)
    for name in NAMES[:3]:
        before = copy.deepcopy(dict(net.named_parameters()))
        for seed in range(2):
            backward(*batch(3, seed=seed))
            optimizer.step()
            optimizer.zero_grad()
        changed = {key for key, weight in net.named_parameters() if (weight != before[key]).any()}
        assert {part for key in changed for part in key.split(".") if part in NAMES} == {name}
        backward.next_epoch()


@pytest.mark.parametrize("wrong", [{"boost": 0, "rectify": 0}, {"w1": 1.0, "w2": 2.0}, {"faithful": "both"}])
def test_reconboost_refuses_what_makes_no_sense(wrong: Any) -> None:
    with pytest.raises(ValueError, match="found"):
        ReconBoost(**wrong)


def test_reconboost_refuses_a_shared_fusion() -> None:
    with pytest.raises(ValueError, match=r"ReconBoost needs .*additive fusion"):
        ReconBoost().on(model(2, "early"), F.cross_entropy)


# ---- UMT ------------------------------------------------------------------------------------------------------------


@BOTH
@COUNTS
def test_umt_against_a_literal_one(count: int, fusion: str) -> None:
    net, (inputs, target), given = model(count, fusion), batch(count), teachers(NAMES[:count])
    found = run(UMT(teachers=given, scale=3.0), net, inputs, target)
    features, logits = by_hand(net, inputs)
    loss = F.cross_entropy(logits, target)
    for name, feature in features.items():
        loss = loss + 3 * (feature - copy.deepcopy(given[name]).eval()(inputs[name]).detach()).square().mean()
    assert close(found, gradients_of(loss, net), 1e-13)


def test_umt_leaves_teachers_as_they_are() -> None:
    net, given = model(2), teachers(NAMES[:2])
    before = {name: state(teacher) for name, teacher in given.items()}
    method = UMT(teachers=given)
    backward = method.on(net, F.cross_entropy)
    backward(*batch(2))
    for name, teacher in given.items():
        after = state(teacher)
        assert same(
            {k: v for k, v in after.items() if k != "random"}, {k: before[name][k] for k in after if k != "random"}
        )
        assert gradients(teacher) == {}
    assert list(method.parameters()) == []
    assert backward.objective.counts.encoder_forwards == {"audio": 2, "image": 2}  # the teachers' too


@BOTH
@COUNTS
def test_umt_without_its_pull_is_joint(count: int, fusion: str) -> None:
    net, data = model(count, fusion), batch(count)
    method = UMT(teachers=teachers(NAMES[:count]), scale=0)
    assert same(run(method, net, *data), run(Joint(), net, *data))


@BOTH
def test_umt_teaches_each_encoder_alone(fusion: str) -> None:
    net, data = model(2, fusion), batch(2)
    method = UMT(widths(2), CLASSES).double()
    found = run(method, net, *data)
    features, logits = by_hand(net, data[0])
    expected = {k: g for k, g in gradients_of(F.cross_entropy(logits, data[1]), net).items() if "encoders" not in k}
    assert method.heads is not None
    for name, feature in features.items():
        own = gradients_of(F.cross_entropy(method.heads[name](feature), data[1]), net)
        expected |= {key: grad for key, grad in own.items() if "encoders" in key}
    assert close(found, expected, 1e-13)


@BOTH
def test_umt_starts_again_from_the_first_weights_with_what_the_encoders_had_learned(fusion: str) -> None:
    net, method, data = model(2, fusion), UMT(widths(2), CLASSES, teaching=2).double(), batch(2, seed=50)
    first, kept = copy.deepcopy(net.state_dict()), {}
    next_epoch = method.next_epoch

    def watched(*arguments: Any) -> None:
        kept.update({name: copy.deepcopy(encoder).eval() for name, encoder in net.encoders.items()})
        next_epoch(*arguments)

    method.next_epoch = watched  # type: ignore[method-assign]
    backward = trained(method, net, 2)
    assert same(dict(net.state_dict()), dict(first))
    assert method._first == {}
    features = {name: kept[name](data[0][name]).detach() for name in kept}
    torch.manual_seed(11)
    notes = backward(*data).notes
    mine, _ = by_hand(model(2, fusion), data[0])
    for name, feature in mine.items():
        assert notes[f"distance/{name}"] == pytest.approx((feature - features[name]).square().mean().item(), abs=1e-12)
        assert notes[f"distance/{name}"] > 1e-4
    assert all(weight.grad is None for weight in method.parameters())


@pytest.mark.parametrize("epochs", [1, 2])
def test_umt_resumes_within_and_after_teaching(epochs: int) -> None:
    net, method = model(2), UMT(widths(2), CLASSES, teaching=2).double()
    backward = trained(method, net, epochs)
    other, copied = UMT(widths(2), CLASSES, teaching=2).double(), copy.deepcopy(net)
    other.load_state_dict(copy.deepcopy(method.state_dict()))
    resumed = other.on(copied, F.cross_entropy)
    for one in (backward, resumed):
        for epoch in range(2):
            torch.manual_seed(epoch)
            one(*batch(2, seed=epoch))
            one.next_epoch()
    assert same(gradients(net), gradients(copied))
    assert same(dict(net.state_dict()), dict(copied.state_dict()))


def test_umt_refuses_teachers_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="found neither"):
        UMT()
    with pytest.raises(ValueError, match="give one for each"):
        UMT(teachers=teachers(NAMES[:1])).on(model(2), F.cross_entropy)
    wide = {"audio": nn.Linear(5, 9), "image": nn.Linear(7, 9)}
    with pytest.raises(ValueError, match=r"like its teacher's, \[12, 9\], found \[12, 6\]"):
        UMT(teachers=wide).on(model(2), F.cross_entropy)(*batch(2))

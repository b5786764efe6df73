"""Ascents of other methods, balls by modality and parts of losses: limits, worked numbers, a naive reference."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam import (
    AESAM,
    AGM,
    ASAM,
    CGGM,
    CML,
    ESAM,
    FSAM,
    GNP,
    LFM,
    MASAM,
    MBSD,
    MLA,
    MSAM,
    MSES,
    OGM,
    OGMGE,
    OPM,
    PMR,
    SAM,
    UMT,
    Auxiliary,
    FeatureDropout,
    FusionModel,
    GBlending,
    Joint,
    LookSAM,
    Method,
    MMCosine,
    MMPareto,
    Objective,
    ReconBoost,
    Unimodal,
)
from msam.balls import Balls, modality_blocks, radii
from msam.gaps import Gaps
from msam.losses import Losses, LossMethod
from msam.perturbation import sam_perturbation
from msam.types import Contributions
from zoo import CLASSES, NAMES, batch, close, gradients, informed, model, same, state, teachers

WIDTHS = dict.fromkeys(NAMES[:2], 6)
Make = Callable[[], Method]
BASES: dict[str, Make] = {
    "auxiliary": lambda: Auxiliary(WIDTHS, CLASSES, weight=0.5),
    "mbsd": lambda: MBSD(WIDTHS, CLASSES, weight=2.0),
    "lfm": lambda: LFM(WIDTHS, CLASSES),
    "cml": lambda: CML(2.0),
    "mmcosine": MMCosine,
    "g-blending": lambda: informed(GBlending(WIDTHS, CLASSES, every=1), NAMES[:2], 2),
    "pmr": lambda: informed(PMR(part=1.0), NAMES[:2]),
    "umt": lambda: UMT(teachers=teachers(NAMES[:2])),
    "mmpareto": lambda: MMPareto(WIDTHS, CLASSES),
    "cggm": lambda: CGGM(WIDTHS, CLASSES),
    "agm": lambda: AGM(1.5),
    "ogm": OGM,
    "ogm-ge": OGMGE,
    "opm": lambda: OPM(start=0, execute=1.0),
    "mla": lambda: informed(MLA(WIDTHS, CLASSES), NAMES[:2]),
    "unimodal": lambda: Unimodal("audio"),
}
ASCENTS: dict[str, Callable[..., Method]] = {
    "sam": lambda rho, of: SAM(rho, of=of),
    "asam": lambda rho, of: ASAM(rho, of=of),
    "gnp": lambda rho, of: GNP(0.4, rho, of=of),
    "ae-sam": lambda rho, of: AESAM(rho, of=of),
    "f-sam": lambda rho, of: FSAM(rho, of=of),
    "msam": lambda rho, of: MSAM(rho, of=of),
    "msam-encoder": lambda rho, of: MSAM(rho, scope="encoder", of=of),
    "msam-modalities": lambda rho, of: MSAM(rho, scope="modalities", of=of),
}
by_base = pytest.mark.parametrize("base", BASES)
by_ascent = pytest.mark.parametrize("ascent", ASCENTS)


def walked(method: Method, net: nn.Module, steps: int = 3) -> list[Any]:
    """Gradients of model and method, notes and everything else of some batches in a row; weights stay."""
    backward, seen = method.on(net, F.cross_entropy), []
    for step in range(steps):
        torch.manual_seed(50 + step)
        outcome = backward(*batch(2, seed=step))
        seen.append([gradients(net), gradients(method), outcome.notes, outcome.loss, outcome.logits, state(net)])
        net.zero_grad()
        method.zero_grad()
    return seen


def unnamed(seen: list[Any]) -> list[Any]:
    """The same without the names of the method's own parameters, and its notes."""
    return [[step[0], list(step[1].values()), *step[3:]] for step in seen]


def equal(left: Any, right: Any) -> bool:
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    return torch.equal(left, right) if isinstance(left, Tensor) else left == right


# ---- limits ----------------------------------------------------------------------------------------------------------


@by_ascent
def test_of_joint_is_the_ascent_itself_bit_for_bit(ascent: str) -> None:
    assert equal(walked(ASCENTS[ascent](0.2, Joint()), model(2)), walked(ASCENTS[ascent](0.2, None), model(2)))


@by_base
@pytest.mark.parametrize("ascent", ["sam", "gnp", "f-sam", "msam-modalities"])
def test_without_radius_it_is_the_base_bit_for_bit(base: str, ascent: str) -> None:
    plain, composed = (walked(each, model(2)) for each in (BASES[base](), ASCENTS[ascent](0.0, BASES[base]())))
    assert equal(unnamed(plain), unnamed(composed))
    assert equal([step[2] for step in plain], [step[2] for step in composed])


@by_base
def test_msam_with_weight_one_is_sam_bit_for_bit(base: str) -> None:
    left = walked(SAM(0.2, of=BASES[base]()), model(2))
    assert equal(unnamed(left), unnamed(walked(MSAM(0.2, weight=1.0, of=BASES[base]()), model(2))))


@pytest.mark.parametrize("fusion", ["late", "early"])
@pytest.mark.parametrize("radius", ["equal", "gap"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_modality_in_one_ball_is_sam_bit_for_bit(fusion: str, radius: Any, dtype: torch.dtype) -> None:
    found = []
    for method in (SAM(0.2), MSAM(0.2, scope="modalities", radius=radius)):
        net = model(1, fusion, dtype=dtype)
        torch.manual_seed(3)
        method.on(net, F.cross_entropy)(*batch(1, dtype=dtype))
        found.append(gradients(net))
    assert same(*found)


@by_base
def test_what_a_base_remembers_moves_once_a_batch_to_where_it_leaves_it_alone(base: str) -> None:
    """Also with several batches: weights stay, so the base alone sees what the first passes see."""
    alone, composed = BASES[base](), BASES[base]()
    walked(alone, model(2)), walked(SAM(0.3, of=composed), model(2))
    left, right = alone.state_dict(), composed.state_dict()
    assert left.keys() == right.keys()
    assert all(equal(left[key], right[key]) for key in left)


# ---- a naive reference: another copy of model and method, moved by hand ----------------------------------------------


def gradient_at(method: Method, net: nn.Module, epsilon: Mapping[str, Tensor], data: Any) -> dict[str, Tensor]:
    """What a method's backward adds at weights moved by hand, from a fixed random state; arguments stay as they are."""
    method, net = copy.deepcopy(method).double(), copy.deepcopy(net)
    with torch.no_grad():
        for key, weight in named(net, method).items():
            weight += epsilon.get(key, torch.zeros_like(weight))
    torch.manual_seed(11)
    method.on(net, F.cross_entropy)(*data)
    return {key: weight.grad.clone() for key, weight in named(net, method).items() if weight.grad is not None}


def named(net: nn.Module, method: Method) -> dict[str, Tensor]:
    return dict(net.named_parameters()) | {f"of.{key}": weight for key, weight in method.named_parameters()}


def composed(method: Any, net: nn.Module, data: Any) -> dict[str, Tensor]:
    method, net = copy.deepcopy(method), copy.deepcopy(net)
    torch.manual_seed(11)
    method.on(net, F.cross_entropy)(*data)
    return {key: weight.grad.clone() for key, weight in named(net, method.of).items() if weight.grad is not None}


def norm(block: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([tensor.square().sum() for tensor in block.values()]).sum().sqrt()


def in_block(key: str, name: str, head: bool = True) -> bool:
    own = key.startswith((f"encoders.{name}.", f"of.heads.{name}."))
    return own or (head and key.startswith(f"fusion.heads.{name}."))


@by_base
def test_sam_of_a_base_is_the_base_at_moved_weights(base: str) -> None:
    net, method, data = model(2), BASES[base](), batch(2)
    walked(method, copy.deepcopy(net), 2)  # so that it remembers something
    here = gradient_at(method, net, {}, data)
    there = gradient_at(method, net, {key: 0.3 * g / norm(here) for key, g in here.items()}, data)
    assert close(composed(SAM(0.3, of=method), net, data), there, 1e-13)
    mixed = {key: 0.6 * here[key] + 0.4 * there[key] for key in here}
    assert close(composed(GNP(0.4, 0.3, of=method), net, data), mixed, 1e-13)


@by_base
@pytest.mark.parametrize("name", NAMES[:2])
def test_an_encoder_of_a_base_moves_alone(base: str, name: str) -> None:
    net, method, data = model(2), BASES[base](), batch(2)
    here = gradient_at(method, net, {}, data)
    block = {key: g for key, g in here.items() if in_block(key, name, head=False)}
    there = gradient_at(method, net, {key: 0.3 * g / norm(block) for key, g in block.items()}, data) if block else here
    expected = {key: 0.25 * g + 0.75 * there[key] if key in block else g for key, g in here.items()}
    found = composed(MSAM(0.3, scope="encoder", dominant=name, weight=0.75, of=method), net, data)
    assert close(found, expected, 1e-13)


@pytest.mark.parametrize("base", ["mbsd", "cml", "mmpareto", "agm"])
@pytest.mark.parametrize("move_fusion", [False, True])
def test_every_modality_has_a_ball(base: str, move_fusion: bool) -> None:
    net, method, data = model(2), BASES[base](), batch(2)
    here, epsilon = gradient_at(method, net, {}, data), {}
    for name in NAMES[:2]:
        block = {key: g for key, g in here.items() if in_block(key, name)}
        epsilon |= {key: 0.3 * g / norm(block) for key, g in block.items()}
    if move_fusion:
        epsilon["fusion.bias"] = 0.3 * here["fusion.bias"] / here["fusion.bias"].norm()
    expected = gradient_at(method, net, epsilon, data)
    assert close(
        composed(MSAM(0.3, scope="modalities", move_fusion=move_fusion, of=method), net, data), expected, 1e-13
    )


def split_reference(
    net: FusionModel, method: Any, data: Any, part: str, blocks: Mapping[str, float], weight: float
) -> dict[str, Tensor]:
    """MBSD in two parts, written out: blocks with their radii; those without one stay. No random draws in the model."""
    (inputs, target), weights = data, named(net, method)

    def losses() -> tuple[Tensor, Tensor]:
        features = {name: encoder(inputs[name]) for name, encoder in net.encoders.items()}
        logits = {name: method.heads[name](feature) for name, feature in features.items()}
        fused = F.cross_entropy(net.fusion(features), target)
        own = sum(F.cross_entropy(each, target) for each in logits.values())
        p = [each.softmax(-1).gather(1, target[:, None])[:, 0] for each in logits.values()]
        right = torch.stack([each.argmax(-1) == target for each in logits.values()]).any(0)
        larger, smaller = torch.maximum(*p), torch.minimum(*p)
        a, b = logits.values()
        apart = (larger - smaller) * right * ((a - b).square().mean(-1) + smaller * (smaller.log() - larger))
        penalty = method.weight * apart.mean()
        return (fused, own + penalty) if part == "fused" else (own, fused + penalty)

    def slopes(loss: Tensor) -> dict[str, Tensor]:
        found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        return {
            key: torch.zeros_like(w) if g is None else g for (key, w), g in zip(weights.items(), found, strict=True)
        }

    here, rest = slopes(losses()[0]), slopes(losses()[1])
    saved = {key: w.detach().clone() for key, w in weights.items()}
    with torch.no_grad():
        for name, radius in blocks.items():
            block = {key: g for key, g in here.items() if in_block(key, name)}
            for key, g in block.items():
                weights[key] += radius * g / norm(block)
    there = slopes(losses()[0])
    with torch.no_grad():
        for key, w in weights.items():
            w.copy_(saved[key])
    return {key: (1 - weight) * here[key] + weight * there[key] + rest[key] for key in weights}


@pytest.mark.parametrize("part", ["fused", "own"])
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_a_part_of_the_loss_is_climbed_and_the_rest_stays(part: Any, weight: float) -> None:
    net, data = model(2, noisy=False), batch(2)
    method = MSAM(0.3, scope="modalities", weight=weight, of=MBSD(WIDTHS, CLASSES, weight=2.0), of_part=part)
    method.double()
    expected = split_reference(net, method.of, data, part, dict.fromkeys(NAMES[:2], 0.3), weight)
    assert close(composed(method, net, data), expected, 1e-13)


def test_fused_gap_as_it_was_defined() -> None:
    """`u = grad l(theta + eps) + grad (sum_m l_m + w R)(theta)`, `eps_m = r_m g_m / |g_m|`, the bias stays."""
    net, data = model(2, noisy=False), batch(2)
    method = MSAM(0.3, scope="modalities", radius="gap", of=MBSD(WIDTHS, CLASSES, weight=2.0), of_part="fused").double()
    assert method.gaps is not None
    method.gaps.set_extra_state({"values": torch.tensor([0.9, 0.1], dtype=torch.float64)})
    expected = split_reference(net, method.of, data, "fused", {"audio": 0.54, "image": 0.06}, 1.0)
    assert close(composed(method, net, data), expected, 1e-13)


def test_the_own_loss_of_one_modality_is_climbed_in_its_encoder() -> None:
    net, data, method = model(2, noisy=False), batch(2), MBSD(WIDTHS, CLASSES, weight=0.0).double()
    ascent = MSAM(0.3, scope="encoder", dominant="image", weight=0.6, of=method, of_part="own")
    both = split_reference(net, method, data, "own", {"image": 0.3}, 0.6)
    plain = split_reference(net, method, data, "own", {}, 0.0)
    expected = {key: both[key] if in_block(key, "image", head=False) else plain[key] for key in both}
    assert close(composed(ascent, net, data), expected, 1e-13)


# ---- numbers worked by hand ------------------------------------------------------------------------------------------


class Sum(nn.Module):
    """Adds up the features."""

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        return sum(features.values())  # type: ignore[return-value]


def scalars(**weights: float) -> FusionModel:
    """`z = sum_m w_m x_m`."""
    encoders: dict[str, nn.Module] = {}
    for name, value in weights.items():
        encoders[name] = nn.Linear(1, 1, bias=False, dtype=torch.float64)
        nn.init.constant_(encoders[name].weight, value)  # type: ignore[arg-type]
    return FusionModel(encoders, Sum())


def test_balls_of_two_weights_worked_by_hand() -> None:
    """z = 3, l = z^2 / 2, g = (3, 3): balls of .3 and .1 give z = 3.4; one ball of .2, z = 3 + .2 sqrt 2."""
    data = {"a": torch.ones(1, 1, dtype=torch.float64), "b": torch.ones(1, 1, dtype=torch.float64)}, torch.zeros(1)
    method = MSAM(0.2, scope="modalities", radius="gap")
    assert method.gaps is not None
    method.gaps.set_extra_state({"values": torch.tensor([0.6, 0.2], dtype=torch.float64)})
    for each, expected in ((method, 3.4), (SAM(0.2), 3 + 0.2 * 2**0.5)):
        net = scalars(a=1.0, b=2.0)
        outcome = each.on(net, lambda z, y: z.square().sum() / 2)(*data)
        assert [w.grad.item() for w in net.parameters()] == pytest.approx([expected] * 2, abs=1e-14)  # type: ignore[union-attr]
        assert outcome.notes["sharpness"] == pytest.approx((expected**2 - 9) / 2, abs=1e-14)
    assert outcome is not None


class OwnSquares(LossMethod):
    """`L = z^2 / 2 + sum_m z_m^2 / 2 + penalty`, `z_m` a feature."""

    def losses(self, objective: Objective, live: Any, inputs: Any, target: Tensor) -> Losses:
        own = {name: feature.square().sum() / 2 for name, feature in live.features.items()}
        return Losses(live.loss, own, live.features["a"].sum())


@pytest.mark.parametrize(
    ("part", "expected"),
    [("fused", [3.4 + 1 + 1, 3.4 + 2]), ("own", [1.2 + 3 + 1, 2.2 + 3]), ("all", [3.4 + 1.2 + 1, 3.4 + 2.2])],
)
def test_parts_of_a_loss_worked_by_hand(part: Any, expected: list[float]) -> None:
    """a = 1, b = 2, both radii .2: fused and own gradients are all positive, so z = 3.4, z_a = 1.2, z_b = 2.2."""
    data = {"a": torch.ones(1, 1, dtype=torch.float64), "b": torch.ones(1, 1, dtype=torch.float64)}, torch.zeros(1)
    net = scalars(a=1.0, b=2.0)
    method = MSAM(0.2, scope="modalities", of=OwnSquares(), of_part=part)
    method.on(net, lambda z, y: z.square().sum() / 2)(*data)
    found = [w.grad.item() for w in net.parameters()]  # type: ignore[union-attr]
    # the penalty's gradient, 1 in a, is in `all` a part of what is climbed; the ball has length .2 all the same
    assert found == pytest.approx([expected[0] + (part == "all") * 0, expected[1]], abs=1e-14)


def shares(*values: float) -> Contributions:
    tensor = torch.tensor(values, dtype=torch.float64)
    return Contributions(NAMES[: len(values)], tensor, tensor / tensor.sum(), tensor.argmax())


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("shapley", [0.3, 0.1, 0.2]), ("gap", [0.3, 0.1, 0.2]), ("inverse", [6 / 55, 18 / 55, 9 / 55])],
)
def test_radii_are_shares_of_their_sum_with_mean_rho(rule: Any, expected: list[float]) -> None:
    found = [float(each) for each in radii(rule, 0.2, shares(3.0, 1.0, 2.0), 3)]
    assert found == pytest.approx(expected, abs=1e-15)
    assert sum(found) / 3 == pytest.approx(0.2)
    assert radii("equal", 0.2, None, 3) == [0.2] * 3


def test_blocks_have_nothing_in_common_and_leave_the_bias() -> None:
    net = model(3)
    objective = Objective(net, F.cross_entropy)
    blocks = modality_blocks(objective, MBSD(dict.fromkeys(NAMES[:3], 6), CLASSES))
    together = [weight for block in blocks for weight in block]
    assert len(set(together)) == len(together)
    left = [key for key, weight in net.named_parameters() if weight not in set(together)]
    assert left == ["fusion.bias"]


def test_a_block_without_gradient_stays() -> None:
    weights = [torch.ones(2), torch.ones(3)]
    balls = Balls([[weights[0]], [weights[1]]], [1.0, 2.0])
    slopes = [torch.zeros(2), torch.tensor([3.0, 0.0, 4.0])]
    climb = balls.perturbation(lambda _, g, rho: sam_perturbation(g, rho), weights, slopes)
    assert [step.tolist() for step in climb.epsilon] == [[0, 0], pytest.approx([1.2, 0, 1.6])]


# ---- gaps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_heads", [True, False])
def test_gaps_are_held_out_less_training_loss_of_each_modality_alone(with_heads: bool) -> None:
    net, base = model(2), MBSD(WIDTHS, CLASSES).double()
    train, valid = [batch(2, 20, 1), batch(2, 10, 2)], [batch(2, 14, 3)]
    gaps = Gaps("zero-feature")
    gaps.measure(
        Objective(net, lambda z, y: 3 * F.cross_entropy(z, y)), train, valid, base.heads if with_heads else None
    )

    def alone(data: list[Any], name: str) -> float:
        net.eval()
        total = count = 0.0
        for inputs, target in data:
            feature = net.encoders[name](inputs[name])
            logits = base.heads[name](feature) if with_heads else net.fusion.heads[name](feature) + net.fusion.bias
            total, count = total + float(F.cross_entropy(logits, target, reduction="sum")), count + len(target)
        net.train()
        return total / count

    with torch.no_grad():
        expected = [max(0.001, alone(valid, name) - alone(train, name)) for name in NAMES[:2]]
    assert list(gaps.contributions(Objective(net, F.cross_entropy)).values.values()) == pytest.approx(
        expected, abs=1e-12
    )


def test_the_modality_that_overfits_is_perturbed_once_its_gap_is_known() -> None:
    net, data = model(2), batch(2)
    method = MSAM(0.3, scope="encoder", dominant="overfit", weight=1.0)
    plain = walked(Joint(), model(2), 1)[0][0]
    assert same(walked(copy.deepcopy(method), model(2), 1)[0][0], plain)
    for values, expected in (([0.1, 0.5], "image"), ([-0.1, -0.5], "audio"), ([0.0005, 0.0007], "image")):
        assert method.gaps is not None
        method.gaps.set_extra_state({"values": torch.tensor(values, dtype=torch.float64)})
        fixed = MSAM(0.3, scope="encoder", dominant=expected, weight=1.0)
        left, right = (walked(copy.deepcopy(each), model(2), 1)[0] for each in (method, fixed))
        assert left[2]["dominant"] == expected
        assert same(left[0], right[0])
    assert method.on(net, F.cross_entropy).method.learns_from == {"train", "valid"}
    assert "gaps/image" in method.on(net, F.cross_entropy)(*data).notes


# ---- costs, refusals, hand-overs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "forwards", "backwards", "encoder"),
    [
        (lambda: SAM(0.2, of=MBSD(WIDTHS, CLASSES)), 2, 2, 2),
        (lambda: MSAM(0.2, scope="modalities"), 2, 2, 2),
        (lambda: MSAM(0.2, scope="modalities", of=MBSD(WIDTHS, CLASSES)), 2, 2, 2),
        (lambda: MSAM(0.2, scope="modalities", of=MBSD(WIDTHS, CLASSES), of_part="fused"), 2, 3, 2),
        (lambda: MSAM(0.2, scope="encoder", dominant="audio", of=MBSD(WIDTHS, CLASSES)), 1, 2, 1),
        (lambda: MSAM(0.2, scope="encoder", dominant="audio", of=MMPareto(WIDTHS, CLASSES)), 2, 6, 2),
    ],
)
def test_passes_are_counted(make: Make, forwards: int, backwards: int, encoder: int) -> None:
    """Of the image's encoder, which is not perturbed in `encoder` scope."""
    backward = make().on(model(2), F.cross_entropy)
    backward(*batch(2))
    counts = backward.objective.counts
    assert (counts.forwards, counts.backwards, counts.encoder_forwards["image"]) == (forwards, backwards, encoder)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: SAM(of=SAM()), "climb from the end of another climb"),
        (lambda: MSAM(of=MASAM(WIDTHS, CLASSES)), "climb from the end"),
        (lambda: FSAM(of=ESAM()), "climb from the end"),
        (lambda: GNP(of=LookSAM()), "climb from the end"),
        (lambda: SAM(of=UMT(WIDTHS, CLASSES)), "trains in two stages"),
        (lambda: SAM(of=MSES()), "puts stopped modalities back"),
        (lambda: SAM(of=ReconBoost()), "another loss in each stage"),
        (lambda: MSAM(scope="shapley", of=MMCosine()), "splits the gradient of the fused loss"),
        (lambda: MSAM(of_part="fused"), "give of= a method"),
        (lambda: MSAM(of=AGM(), of_part="own"), "give of= a method that minimises a loss"),
        (lambda: MSAM(radius="gap"), "scope='modalities'"),
        (lambda: MSAM(scope="modalities", dominant="weakest"), "perturbs every modality"),
    ],
)
def test_what_has_no_meaning_is_refused_when_it_is_made(make: Make, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as error:
        make()
    assert str(error.value).count(". ") == 0
    with pytest.raises(TypeError, match="of a method"):
        SAM(of="mbsd")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="losses of single modalities"):
        MSAM(of=CML(), of_part="own").on(model(2), F.cross_entropy)(*batch(2))


def test_a_part_that_is_refused_leaves_no_trace() -> None:
    net = model(2)
    before = gradients(net)
    with pytest.raises(ValueError, match="losses of single modalities"):
        MSAM(of=CML(), of_part="own").on(net, F.cross_entropy)(*batch(2))
    assert same(gradients(net), before)


def test_the_base_is_heard_in_needs_prediction_epochs_and_state() -> None:
    net = model(2)
    base = GBlending(WIDTHS, CLASSES, every=1)
    method = MSAM(0.1, scope="encoder", of=base)
    assert method.needs >= {"separate_encoders", "encoders"}
    assert method.learns_from == {"train", "valid"}
    backward = method.on(net, F.cross_entropy)
    backward.next_epoch([batch(2)], [batch(2, seed=1)])
    assert method.state_dict()["of._extra_state"]["epoch"] == 1
    cosine = SAM(0.1, of=MMCosine()).on(net, F.cross_entropy)
    inputs, _ = batch(2)
    assert torch.equal(cosine.predict(inputs), MMCosine().on(net, F.cross_entropy).predict(inputs))
    with pytest.raises(ValueError, match="compares two modalities"):
        SAM(of=OGM()).on(model(3), F.cross_entropy)


def test_notes_of_both_are_kept() -> None:
    method = MSAM(0.2, of=LFM(WIDTHS, CLASSES, align=0.25))
    notes = method.on(model(2), F.cross_entropy)(*batch(2)).notes
    assert notes["of/share"] == 0.25
    assert {"share", "sharpness", "apart", "contributions/audio"} <= notes.keys()


# ---- the plainest base -----------------------------------------------------------------------------------------------


def test_auxiliary_losses_between_joint_training_mbsd_and_g_blending() -> None:
    net = model(2)
    auxiliary = lambda weight: walked(Auxiliary(WIDTHS, CLASSES, weight), copy.deepcopy(net), 1)[0]  # noqa: E731
    assert close(auxiliary(0.0)[0], walked(Joint(), copy.deepcopy(net), 1)[0][0], 1e-15)
    mbsd = walked(MBSD(WIDTHS, CLASSES, weight=0.0), copy.deepcopy(net), 1)[0]
    assert close(auxiliary(1.0)[0], mbsd[0], 1e-15)
    assert close(auxiliary(1.0)[1], mbsd[1], 1e-15)
    blend = walked(GBlending(WIDTHS, CLASSES), copy.deepcopy(net), 1)[0]
    assert close({key: 3 * g for key, g in blend[0].items()}, auxiliary(1.0)[0], 1e-14)


def test_auxiliary_losses_of_the_fusion_are_those_of_its_coalitions_of_one() -> None:
    net, (inputs, target) = model(2, noisy=False), batch(2)
    found = gradient_at(Auxiliary(WIDTHS, CLASSES, 0.5, classifiers="fusion"), net, {}, (inputs, target))
    features = {name: encoder(inputs[name]) for name, encoder in net.encoders.items()}
    loss = F.cross_entropy(net.fusion(features), target)
    for name, feature in features.items():
        others = {other: torch.zeros_like(each) for other, each in features.items()}
        loss = loss + 0.5 * F.cross_entropy(net.fusion({**others, name: feature}), target)
    loss.backward()
    assert close(found, gradients(net), 1e-15)


# ---- schedules -------------------------------------------------------------------------------------------------------

SCHEDULED: dict[str, Callable[..., Any]] = {
    "sam": SAM,
    "asam": ASAM,
    "gnp": lambda rho, **when: GNP(0.4, rho, **when),
    "msam": lambda rho, **when: MSAM(rho, of=MBSD(WIDTHS, CLASSES), **when),
    "msam-modalities": lambda rho, **when: MSAM(rho, scope="modalities", **when),
}


def at(method: Any, done: float, rate: float) -> dict[str, Tensor]:
    net = model(2)
    backward = method.on(net, F.cross_entropy)
    backward.progress(done, rate)
    torch.manual_seed(3)
    backward(*batch(2))
    return gradients(net)


@pytest.mark.parametrize("name", SCHEDULED)
def test_the_tail_climbs_and_what_comes_before_does_not(name: str) -> None:
    make = SCHEDULED[name]
    assert same(at(make(0.2, start=0.75), 0.74, 1.0), at(make(0.0), 0.0, 1.0))
    assert same(at(make(0.2, start=0.75), 0.75, 1.0), at(make(0.2), 0.0, 1.0))


@pytest.mark.parametrize("name", SCHEDULED)
def test_the_radius_follows_the_learning_rate_if_it_is_to(name: str) -> None:
    make = SCHEDULED[name]
    assert same(at(make(0.4, rho_schedule="lr"), 0.5, 0.5), at(make(0.2), 0.5, 1.0))
    assert same(at(make(0.4), 0.5, 0.5), at(make(0.4), 0.5, 1.0))


def test_a_schedule_that_nobody_tells_of_is_refused_without_a_trace() -> None:
    net = model(2)
    for method in (SAM(0.1, start=0.5), MSAM(0.1, rho_schedule="lr")):
        backward = method.on(net, F.cross_entropy)
        with pytest.raises(ValueError, match=r"call backward.progress\(done, rate\)"):
            backward(*batch(2))
        assert not gradients(net)
        with pytest.raises(ValueError, match="done must be a number of at least 0 and at most 1"):
            backward.progress(1.5)


# ---- feature dropout -------------------------------------------------------------------------------------------------


def test_feature_dropout_is_the_loss_of_dropped_features() -> None:
    """The masks are those of a stream made from seed and number of the batch; the base sees the same features."""
    (inputs, target), rate = batch(2), 0.4
    for of in (None, Auxiliary(WIDTHS, CLASSES).double()):
        method = FeatureDropout(rate, where="image", of=of, seed=2)
        for step in range(2):
            net, copied = model(2, noisy=False), copy.deepcopy(method)
            copied._batches = step
            copied.on(net, F.cross_entropy)(inputs, target)
            found = gradients(net)
            net.zero_grad()
            stream = torch.Generator().manual_seed(2 * 1_000_003 + step)
            features = {name: encoder(inputs[name]) for name, encoder in net.encoders.items()}
            kept = torch.rand(features["image"].shape, generator=stream) >= rate
            features["image"] = features["image"] * kept / (1 - rate)
            loss = F.cross_entropy(net.fusion(features), target)
            if of is not None:
                loss = loss + sum(F.cross_entropy(of.heads[name](h), target) for name, h in features.items())
            loss.backward()
            assert close(found, gradients(net), 1e-14)


def test_feature_dropout_starts_when_gaps_are_known_and_hits_the_largest() -> None:
    net, method = model(2), FeatureDropout(0.4)
    backward = method.on(net, F.cross_entropy)
    assert backward(*batch(2)).notes["dropped"] == "none"
    backward.next_epoch([batch(2, 20, 1)], [batch(2, 20, 2)])
    assert method.gaps is not None
    largest = method.gaps.contributions(backward.objective).dominant
    assert backward(*batch(2)).notes["dropped"] == largest
    assert equal(unnamed(walked(FeatureDropout(0.0), model(2))), unnamed(walked(Joint(), model(2))))
    with pytest.raises(ValueError, match="which is none"):
        FeatureDropout(of=AGM())
    with pytest.raises(ValueError, match="where must be one of"):
        FeatureDropout(where="sound").on(net, F.cross_entropy)

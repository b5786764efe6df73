"""What a method may ask for: live passes, several gradients, one deposit, counts, heads, the end of an epoch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam import MSAM, SAM, Joint, Objective, Unimodal
from msam.heads import Heads
from msam.method import Method
from msam.types import Batches, Inputs, Outcome
from zoo import CLASSES, Unfusable, batch, gradients, model, same


class ByGradients(Method):
    """Joint training through `gradients` and `add_gradients`."""

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        live = objective.forward(inputs, target)
        objective.add_gradients(objective.compute_gradients(live.loss, objective.parameters()))
        return live.outcome()


class Asking(ByGradients):
    learns_from = frozenset({"train", "valid"})

    def __init__(self) -> None:
        super().__init__()
        self.heads = Heads({"audio": 6, "image": 6}, CLASSES)
        self.seen: list[int] = []

    def next_epoch(self, objective: Objective, train: Batches | None = None, valid: Batches | None = None) -> None:
        self.seen = [len(list(batches)) for batches in (train, valid) if batches is not None]


@pytest.mark.parametrize("scale", [None, 3.0, 2.0**12])
@pytest.mark.parametrize("fusion", ["late", "early"])
def test_depositing_the_gradients_is_back_propagating_the_loss(fusion: str, scale: float | None) -> None:
    found = []
    for method in (Joint(), ByGradients()):
        net, data = model(2, fusion), batch(2)
        held = {weight: torch.ones_like(weight) for weight in net.parameters()}
        for weight, grad in held.items():
            weight.grad = grad
        options: Any = {} if scale is None else {"backward": lambda loss: (scale * loss).backward()}
        torch.manual_seed(1)
        outcome = method.on(net, F.cross_entropy, **options)(*data)
        assert all(weight.grad is grad for weight, grad in held.items())
        assert not outcome.loss.requires_grad
        found.append(gradients(net))
    if scale == 3.0:
        assert all(torch.allclose(found[0][key], found[1][key], rtol=1e-15, atol=1e-15) for key in found[0])
    else:
        assert same(*found)


def test_gradients_of_weights_that_are_not_reached_are_left_out() -> None:
    net, (inputs, target) = model(2), batch(2)
    objective = Objective(net, F.cross_entropy)
    live = objective.forward(inputs, target)
    found = objective.compute_gradients(live.features["audio"].square().mean(), objective.parameters())
    assert set(found) == set(objective.parameters("audio"))
    objective.add_gradients(found)
    assert {key for key, _ in net.named_parameters() if key.startswith("encoders.audio")} == gradients(net).keys()
    objective.add_gradients({})


def test_gradients_can_be_differentiated_again() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    objective = Objective(nn.ParameterList([weight]), lambda z, y: (z**3).sum(), call=lambda m, x: m[0] * 1.0)
    live = objective.forward({}, torch.zeros(1))
    (slope,) = objective.compute_gradients(live.loss, [weight], create_graph=True).values()
    (curvature,) = objective.compute_gradients(slope.sum(), [weight]).values()
    assert curvature.item() == 12.0


def test_features_are_seen_without_a_fuse() -> None:
    net, data = Unfusable(model(2)), batch(2)
    live = Objective(net, F.cross_entropy).forward(*data)
    assert {name: tuple(feature.shape) for name, feature in live.features.items()} == {
        "audio": (12, 6),
        "image": (12, 6),
    }
    assert live.features["audio"].requires_grad
    assert not live.detached().features["audio"].requires_grad


COUNTED = [
    (Joint(), (1, 1, 1, (1, 1), (1, 1))),
    (ByGradients(), (1, 1, 1, (1, 1), (1, 1))),
    (SAM(), (2, 2, 2, (2, 2), (2, 2))),
    (Unimodal("image"), (0, 1, 1, (0, 1), (0, 1))),
    (MSAM(), (2, 2, 4, (2, 2), (2, 2))),  # all coalitions of an additive fusion cost two of its passes
    (MSAM(scope="encoder", dominant="audio"), (1, 2, 4, (2, 1), (2, 1))),
]


@pytest.mark.parametrize(("method", "expected"), COUNTED, ids=lambda case: type(case).__name__)
def test_passes_are_counted_as_they_happen(method: Method, expected: tuple[object, ...]) -> None:
    backward = method.on(model(2), F.cross_entropy)
    inputs, target = batch(2)
    backward(inputs, target)
    backward.predict(inputs)
    counts = backward.objective.counts
    forward, back = ([found[m] for m in inputs] for found in (counts.encoder_forwards, counts.encoder_backwards))
    assert (counts.forwards, counts.backwards, counts.fusions, tuple(forward), tuple(back)) == expected


def test_heads_leave_the_random_stream_alone_and_are_always_the_same() -> None:
    state = torch.get_rng_state()
    first, second, other = (Heads({"audio": 6, "image": 3}, 4, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert same(dict(first.state_dict()), dict(second.state_dict()))
    assert not same(dict(first.state_dict()), dict(other.state_dict()))
    assert all(weight.abs().max() <= 3**-0.5 for weight in first["image"].parameters())


@pytest.mark.parametrize(
    ("features", "message"),
    [({"audio": torch.zeros(2, 6)}, "call each encoder once"), ({"image": torch.zeros(2, 5)}, "expects features of")],
)
def test_heads_say_what_does_not_fit(features: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Heads({"image": 6}, 4)(features)


@pytest.mark.parametrize(("widths", "classes"), [({}, 2), ({"a": 0}, 2), ({"a": 1}, 0)])
def test_heads_refuse_sizes_that_are_none(widths: dict[str, int], classes: int) -> None:
    with pytest.raises(ValueError, match="positive width"):
        Heads(widths, classes)


def test_heads_follow_the_model_and_must_fit_it() -> None:
    method = Asking()
    weights = list(method.parameters())
    method.on(model(2), F.cross_entropy)
    assert [weight.dtype for weight in method.parameters()] == [torch.float64] * 4
    assert all(weight is old for weight, old in zip(method.parameters(), weights, strict=True))
    with pytest.raises(ValueError, match="encoders for"):
        Asking().on(model(3), F.cross_entropy)


def test_an_epoch_ends_with_what_the_method_learns_from() -> None:
    backward = Asking().on(model(2), F.cross_entropy)
    with pytest.raises(ValueError, match=r"a held-out set after each epoch; call backward.next_epoch\(valid=...\)"):
        backward.next_epoch(train=[batch(2)])
    backward.next_epoch([batch(2)], [batch(2)] * 3)
    assert backward.method.seen == [1, 3]
    Joint().on(model(2), F.cross_entropy).next_epoch()

"""The training loop on a model and batches of the caller's own: no data set, no configuration, no folder."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from msam import MSAM, SAM, Joint
from msam_bench.training.divergence import Diverged
from msam_bench.training.loaders import Unpacked
from msam_bench.training.loop import Loop
from msam_bench.training.schedules import SCHEDULES, make_scheduler, rate_factor
from msam_bench.training.selection import Selection
from msam_bench.training.updates import Update
from zoo import batch, model, same

SAMPLES = 12


def rows() -> list[dict[str, Any]]:
    """Samples as a data set of the user's gives them: a dict that is no pair."""
    inputs, target = batch(2, size=SAMPLES)
    return [{"x": {name: part[i] for name, part in inputs.items()}, "label": target[i]} for i in range(SAMPLES)]


def loader(size: int = 4) -> Unpacked:
    return Unpacked(DataLoader(rows(), batch_size=size), lambda each: (each["x"], each["label"]))  # type: ignore[arg-type]


def loop_of(net: nn.Module, method: Any = None, lr: float = 0.1, size: int = 4, **options: Any) -> Loop:
    backward = (method or Joint()).on(net, F.cross_entropy)
    optimizer = torch.optim.SGD(net.parameters(), lr, momentum=0.9)
    return Loop(net, backward, optimizer, lambda epoch: loader(size), **options)


def weights(net: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in net.named_parameters()}


def test_the_loop_is_the_loop_that_one_writes_by_hand() -> None:
    net = model(2, noisy=False)
    plain = copy.deepcopy(net)
    epochs = list(loop_of(net).epochs(3))
    optimizer = torch.optim.SGD(plain.parameters(), 0.1, momentum=0.9)
    plain.train()
    for _ in range(3):
        for inputs, target in loader():
            F.cross_entropy(plain(inputs), target).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert [epoch.number for epoch in epochs] == [1, 2, 3]
    assert same(weights(net), weights(plain))


def test_accumulated_batches_are_one_batch() -> None:
    """Means of means over equal micro-batches, in another order of summation: equal up to float64's rounding."""
    whole, parts = model(2, noisy=False), model(2, noisy=False)
    list(loop_of(whole, size=12).epochs(2))
    list(loop_of(parts, size=4, update=Update(accumulate=3)).epochs(2))
    torch.testing.assert_close(weights(parts), weights(whole), rtol=1e-9, atol=1e-12)


def test_batches_left_over_at_the_end_of_an_epoch_make_a_step_of_their_own() -> None:
    """Three batches, two a step: the third one's gradient is not divided by two, nor carried into the next epoch."""
    net, plain = model(2, noisy=False), model(2, noisy=False)
    list(loop_of(net, update=Update(accumulate=2)).epochs(1))
    optimizer = torch.optim.SGD(plain.parameters(), 0.1, momentum=0.9)
    plain.train()
    one, two, three = loader()
    for group in ([one, two], [three]):
        for inputs, target in group:
            F.cross_entropy(plain(inputs), target).backward()
        for weight in plain.parameters():
            assert weight.grad is not None
            weight.grad /= len(group)
        optimizer.step()
        optimizer.zero_grad()
    assert same(weights(net), weights(plain))


def test_clipping_limits_the_norm_of_a_step() -> None:
    net = model(2, noisy=False)
    before = weights(net)
    list(loop_of(net, lr=1.0, size=SAMPLES, update=Update(clip=0.01)).epochs(1))
    moved = torch.cat([(weight - before[name]).flatten() for name, weight in weights(net).items()])
    assert moved.norm() == pytest.approx(0.01, rel=1e-3)  # torch divides by the norm and 1e-6


@pytest.mark.parametrize("options", [{"accumulate": 0}, {"clip": 0.0}, {"clip": float("nan")}])
def test_an_impossible_update_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Expected .*, found .*; .*\."):
        Update(**options)


@pytest.mark.parametrize("method", [lambda: SAM(0.1), lambda: MSAM(0.1, every=2)])
def test_a_loop_goes_on_from_its_state_to_the_same_bits(method: Any) -> None:
    net, other = model(2, fusion="early"), model(2, fusion="early")
    torch.manual_seed(0)
    loop = loop_of(net, method())
    states: list[Any] = []
    for epoch in loop.epochs(4):
        if epoch.number == 2:
            states = [copy.deepcopy(loop.state_dict()), torch.get_rng_state()]
    again = loop_of(other, method())
    again.load_state_dict(states[0])
    torch.set_rng_state(states[1])
    assert [epoch.number for epoch in again.epochs(4)] == [3, 4]
    assert same(net.state_dict(), other.state_dict())
    assert again.passes.state() == loop.passes.state()


def test_a_loss_that_is_not_finite_ends_the_training_in_a_sentence() -> None:
    net = model(2, noisy=False)
    loop = loop_of(net)
    loop.backward = Joint().on(net, lambda logits, target: F.cross_entropy(logits, target) * math.inf)
    with pytest.raises(Diverged, match=r"^The training loss became (inf|nan) in epoch 1; lower lr or rho\.$"):
        loop.train_epoch()


def test_stop_ends_an_epoch_between_batches() -> None:
    seen: list[int] = []

    def batches(epoch: int) -> Iterator[Any]:
        for each in loader():
            seen.append(epoch)
            yield each

    loop = loop_of(model(2, noisy=False), stop=lambda: len(seen) >= 2)
    loop.batches = batches
    loop.train_epoch()
    assert seen == [0, 0]


def test_the_selected_epoch_is_put_back_and_early_stopping_sees_how_long_ago_it_was() -> None:
    net, method = model(2, noisy=False), Joint()
    loop, selection, best = loop_of(net, method), Selection("best"), []
    for epoch, score in zip(loop.epochs(4), (0.5, 0.7, 0.7, 0.6), strict=True):
        selection.consider(epoch.number, score, 1.0, net, method)
        best.append(weights(net))
        waited = epoch.number - selection.epoch
    assert (selection.epoch, waited) == (2, 2)
    selection.restore(net, method)
    assert same(weights(net), best[1])


@pytest.mark.parametrize("name", SCHEDULES)
def test_both_forms_of_a_schedule_are_one_curve(name: str) -> None:
    """Up to the rounding of as many float64 operations as there are epochs."""
    epochs, every = 20, 6
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0)
    scheduler = make_scheduler(name, optimizer, epochs, every)
    for epoch in range(epochs):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(
            rate_factor(name, epoch / epochs, epochs, every), rel=1e-12
        )
        optimizer.step()
        scheduler.step()

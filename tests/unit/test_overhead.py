"""The cost of a step: what is measured is what was done. Times themselves are not asserted."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam import MSAM, SAM, FusionModel, Joint, LateFusion, Method
from msam_bench.studies.instruments.step_costs import measure, peak, timed, training_step

MIB = 2**20


def test_peak_counts_what_is_held_at_a_time() -> None:
    assert peak(lambda: torch.zeros(MIB)) == 4 * MIB
    assert peak(lambda: (torch.zeros(MIB), torch.zeros(MIB // 2))) == 6 * MIB
    assert peak(lambda: [torch.zeros(MIB // 4).sum() for _ in range(8)]) < 2 * MIB
    assert peak(lambda: None) == 0


def test_every_step_is_made_once_a_round() -> None:
    made: Counter[str] = Counter()
    steps = {name: (lambda name=name: made.update([name])) for name in ("a", "b")}
    taken = timed(steps, rounds=5)
    assert made == {"a": 5, "b": 5}
    assert {name: len(pairs) for name, pairs in taken.items()} == {"a": 5, "b": 5}


def test_ratios_are_to_the_first_step_within_a_round() -> None:
    costs = measure({"one": lambda: _work(1), "four": lambda: _work(4)}, rounds=3, memory=False)
    one, four = costs["one"], costs["four"]
    assert (one.ratio, one.low, one.high, one.memory) == (1, 1, 1, 0)
    assert four.low <= four.ratio <= four.high
    assert four.ratio > 1.5  # four times the work; far from 4 only if the machine stops in between


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one step and two rounds"):
        measure({}, 3)
    with pytest.raises(ValueError, match="at least one step and two rounds"):
        measure({"a": lambda: None}, 1)


def _work(times: int) -> Tensor:
    matrix = torch.ones(300, 300)
    for _ in range(3 * times):
        matrix = matrix @ matrix / 300
    return matrix


@pytest.fixture(scope="module")
def peaks() -> dict[str, int]:
    """Peaks of a model of 4 MiB whose activations weigh nothing."""
    found = {}
    methods: dict[str, Method] = {"joint": Joint(), "sam": SAM(), "msam": MSAM(), "encoder": MSAM(scope="encoder")}
    for name, method in methods.items():
        torch.manual_seed(0)
        encoders = {m: nn.Sequential(nn.Linear(256, 1024), nn.Linear(1024, 256)) for m in ("audio", "image")}
        model = FusionModel(encoders, LateFusion(dict.fromkeys(encoders, 256), 3))
        batch = {m: torch.randn(4, 256) for m in encoders}, torch.arange(4) % 3
        step = training_step(method, model, torch.optim.SGD(model.parameters(), 0.1), batch)
        step()
        found[name] = peak(step)
    return found


def test_sam_holds_one_copy_of_the_weights_and_msam_a_gradient_as_well(peaks: dict[str, int]) -> None:
    """No perturbation is spelled out, no gradient copied; half a copy is allowed for activations and temporaries."""
    weights = 4 * (2 * (2 * 256 * 1024 + 1024 + 256) + 2 * 256 * 3 + 3)
    assert peaks["joint"] < 1.5 * weights  # the gradient
    assert peaks["sam"] < 2.5 * weights  # and the weights at theta
    assert peaks["msam"] < 2.5 * weights  # the same: its gradient at theta lies where the last one will
    assert peaks["encoder"] < 2.0 * weights  # one encoder's


def test_a_training_step_trains() -> None:
    torch.manual_seed(0)
    model = FusionModel({"a": nn.Linear(3, 4)}, LateFusion({"a": 4}, 2))
    inputs, target = {"a": torch.randn(8, 3)}, torch.arange(8) % 2
    step = training_step(Joint(), model, torch.optim.SGD(model.parameters(), 0.5), (inputs, target))
    before = F.cross_entropy(model(inputs), target).item()
    for _ in range(20):
        step()
    assert F.cross_entropy(model(inputs), target).item() < before
    assert all(weight.grad is None for weight in model.parameters())

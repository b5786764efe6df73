"""Memory that stays flat: nothing of a step outlives the next one. `benchmarks/soak.py` looks for half an hour."""

from __future__ import annotations

import gc
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from contract.test_methods import METHODS, make
from zoo import batch, model


@pytest.fixture
def fresh() -> Iterator[None]:
    """What was there before is not looked through again and again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def alive() -> int:
    """Tensors made since that somebody holds, and the numbers in them."""
    gc.collect()
    return sum(1 + found.numel() for found in gc.get_objects() if isinstance(found, Tensor))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.usefixtures("fresh")
def test_no_step_leaves_a_tensor_behind(name: str) -> None:
    """After eight steps a method holds what it held after three: the refreshes of any period in use lie in between."""
    net = model(2)
    backward = make(name).on(net, F.cross_entropy)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    counts = []
    for seed in range(9):
        backward(*batch(2, seed=seed)).notes  # noqa: B018 (read, as a user would)
        optimizer.step()
        optimizer.zero_grad()
        if seed in (2, 8):
            counts.append(alive())
    assert counts[0] == counts[1]


def soak() -> Any:
    place = Path(__file__).parents[2] / "benchmarks/soak.py"
    spec = importlib.util.spec_from_file_location("soak", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["soak"] = module
    spec.loader.exec_module(module)
    return module


def test_resident_memory_does_not_grow_for_seconds() -> None:
    """A leak of one batch a step would be 15 KiB each; a page or two is what an allocator may round up to."""
    found = soak()
    torch.manual_seed(0)
    readings = found.soaked(found.model(), found.method("msam", 1), seconds=4, interval=0.02)
    later = readings[len(readings) // 2 :]
    steps = later[-1, 1] - later[0, 1]
    if steps < 50:
        pytest.skip("the machine is too busy: what an allocator rounds up to is as much as a leak of so few steps")
    assert (later[-1, 2] - later[0, 2]) / 1024 <= max(64, 2 * steps)


def test_the_slope_and_its_error_are_those_of_a_line_through_noise() -> None:
    found, draw = soak(), torch.Generator().manual_seed(0)
    minutes = torch.arange(1000, dtype=torch.float64) / 60
    noise = torch.randn(1000, generator=draw, dtype=torch.float64) * 50
    kibibytes = 1e5 + 3 * minutes + noise
    slope = found.fitted(torch.stack([60 * minutes, torch.arange(1000.0).double(), 1024 * kibibytes], 1))
    away = minutes[200:] - minutes[200:].mean()
    assert slope.error == pytest.approx(float(50 / away.square().sum().sqrt()), rel=0.5)  # 18 degrees of freedom
    assert abs(slope.growth - 3) < 3 * slope.error
    assert not slope.flat

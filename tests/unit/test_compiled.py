"""A compiled model: one graph without breaks, and the second pass runs the code of the first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch._dynamo
import torch.nn.functional as F
from torch import nn
from torch._dynamo.utils import counters

from msam import MSAM, SAM, EarlyFusion, FusionModel, Joint, LateFusion, Method


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()
    counters.clear()


def compiled(fusion: str) -> nn.Module:
    """A model with normalisation and dropout, compiled as far as tracing: that is where graphs break."""
    torch.manual_seed(0)
    encoders = {m: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU()) for m in ("audio", "image")}
    widths = dict.fromkeys(encoders, 4)
    fused = LateFusion(widths, 3) if fusion == "late" else EarlyFusion(widths, 3, hidden=(4,))
    model: nn.Module = torch.compile(FusionModel(encoders, fused), backend="eager", fullgraph=True)
    return model


def graphs(method: Method, fusion: str, batches: int) -> list[int]:
    """How many graphs have been compiled after each batch."""
    backward, made = method.on(compiled(fusion), F.cross_entropy), []
    for seed in range(batches):
        torch.manual_seed(seed)
        backward({"audio": torch.randn(6, 3), "image": torch.randn(6, 3)}, torch.arange(6) % 3)
        made.append(counters["stats"]["unique_graphs"])
    assert dict(counters["graph_break"]) == {}
    return made


@pytest.mark.parametrize("fusion", ["late", "early"])
@pytest.mark.parametrize("method", [Joint(), SAM(), MSAM()], ids=["joint", "sam", "msam"])
def test_one_graph_serves_both_passes_and_all_batches(method: Method, fusion: str) -> None:
    assert graphs(method, fusion, 3) == [1, 1, 1]


def test_the_encoder_scope_compiles_once_for_each_dominant_modality() -> None:
    """Its second pass trains one encoder: another set of weights that need a gradient is another graph."""
    for name in ("audio", "image"):
        counters.clear()
        torch._dynamo.reset()
        assert graphs(MSAM(scope="encoder", dominant=name), "late", 3) == [2, 2, 2]

"""Fusions beside late and early: shapes, worked numbers, absence, and runs of the bench with each."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam import MSAM, FusionModel
from msam_bench.config.resolve import resolve
from msam_bench.config.run import Fusion
from msam_bench.fusions import FUSIONS, BilinearFusion, FilmFusion, GatedFusion, SumFusion, TransformerFusion
from msam_bench.runs.fit import run

WIDTHS, OUTPUTS, HIDDEN, BATCH = {"a": 6, "b": 4, "c": 2}, 3, 8, 5


def features(seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randn(BATCH, width, generator=draw, dtype=torch.float64) for name, width in WIDTHS.items()}


def fusion(name: str) -> nn.Module:
    torch.manual_seed(0)
    return FUSIONS[name](WIDTHS, OUTPUTS, HIDDEN).double().eval()


@pytest.mark.parametrize("name", FUSIONS)
def test_logits_depend_on_every_modality(name: str) -> None:
    fuse, given = fusion(name), features()
    logits = fuse(given)
    assert logits.shape == (BATCH, OUTPUTS)
    for modality in WIDTHS:
        assert not torch.allclose(fuse({**given, modality: features(1)[modality]}), logits)


@pytest.mark.parametrize("name", FUSIONS)
def test_every_weight_has_a_gradient_under_a_method(name: str) -> None:
    torch.manual_seed(0)
    encoders = {m: nn.Linear(3, width) for m, width in WIDTHS.items()}
    model = FusionModel(encoders, FUSIONS[name](WIDTHS, OUTPUTS, HIDDEN))
    inputs = {m: torch.randn(BATCH, 3) for m in WIDTHS}
    MSAM(rho=0.1, scope="encoder").on(model, F.cross_entropy)(inputs, torch.tensor([0, 1, 2, 0, 1]))
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


def test_sum_by_hand() -> None:
    fuse, given = fusion("sum"), features()
    assert isinstance(fuse, SumFusion)
    total = sum(layer.weight @ given[m].T + layer.bias[:, None] for m, layer in fuse.projections.items())  # type: ignore[misc,operator,union-attr]
    by_hand = (fuse.head.weight @ total.clamp(min=0) + fuse.head.bias[:, None]).T  # type: ignore[union-attr]
    assert torch.allclose(fuse(given), by_hand, rtol=0, atol=1e-12)


def test_a_closed_gate_keeps_a_modality_out() -> None:
    fuse, given = fusion("gated"), features()
    assert isinstance(fuse, GatedFusion)
    with torch.no_grad():
        fuse.gates["a"].weight.zero_()  # type: ignore[union-attr,operator]
        fuse.gates["a"].bias.fill_(-1e3)  # type: ignore[union-attr,operator]
        for gate in (fuse.gates["b"], fuse.gates["c"]):
            gate.weight[:, : WIDTHS["a"]] = 0  # type: ignore[index]
    assert torch.allclose(fuse({**given, "a": features(1)["a"]}), fuse(given), rtol=0, atol=1e-12)


def test_modulation_of_nothing_is_the_first_modality_alone() -> None:
    fuse, given = fusion("film"), features()
    assert isinstance(fuse, FilmFusion)
    assert fuse.modulation is not None
    nn.init.zeros_(fuse.modulation.weight)
    nn.init.zeros_(fuse.modulation.bias)
    alone = fuse.head(fuse.projections["a"](given["a"]).relu())
    assert torch.allclose(fuse(given), alone, rtol=0, atol=1e-12)
    assert FilmFusion({"a": 6}, OUTPUTS, HIDDEN)({"a": given["a"].float()}).shape == (BATCH, OUTPUTS)


def test_low_rank_product_is_the_full_tensor() -> None:
    fuse, given = fusion("bilinear"), features()
    assert isinstance(fuse, BilinearFusion)
    layers: list[Any] = list(fuse.projections.values())
    joined = [torch.cat([layer.weight, layer.bias[:, None]], 1) for layer in layers]
    factors = [weights.reshape(4, OUTPUTS, -1) for weights in joined]
    tensor = torch.einsum("r,roi,roj,rok->oijk", fuse.weights, *factors)
    one = [torch.cat([given[m], torch.ones(BATCH, 1, dtype=torch.float64)], 1) for m in WIDTHS]
    by_hand = torch.einsum("oijk,bi,bj,bk->bo", tensor, *one) + fuse.bias
    assert torch.allclose(fuse(given), by_hand, rtol=0, atol=1e-12)


def test_nothing_attends_to_an_absent_modality() -> None:
    fuse, given = fusion("transformer"), features()
    assert isinstance(fuse, TransformerFusion)
    without = {**given, "b": torch.zeros_like(given["b"])}
    logits = fuse(without)
    assert not torch.allclose(fuse(given), logits)
    with torch.no_grad():
        fuse.places[2] += 7.0
        fuse.projections["b"].bias += 3.0  # type: ignore[operator,union-attr]
    assert torch.allclose(fuse(without), logits, rtol=0, atol=1e-12)
    assert fuse(dict.fromkeys(WIDTHS) | {m: torch.zeros_like(x) for m, x in given.items()}).isfinite().all()
    with pytest.raises(ValueError, match="heads that divides 6 hidden units, found 4"):
        TransformerFusion(WIDTHS, OUTPUTS, 6)


@pytest.mark.parametrize("name", FUSIONS)
def test_the_bench_trains_with_it(name: Fusion, tmp_path: Path) -> None:
    record = run(resolve("digits6", name, "msam", epochs=6, optimizer="adam", lr=0.005), tmp_path)
    assert record.config["fusion"] == name
    assert record.summary["test_accuracy"] > 0.2  # twice that of chance


def test_the_command_knows_every_fusion() -> None:
    from msam_bench.cli import settings

    assert get_args(settings.Fusion) == get_args(Fusion)
    assert set(get_args(Fusion)) == {"late", "early", *FUSIONS}

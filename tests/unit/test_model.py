"""The ready-made fusion models."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from msam import EarlyFusion, FusionModel, LateFusion
from msam.model import Maxout
from zoo import batch, model

WIDTHS = {"audio": 5, "image": 12}


def features(size: int = 6) -> dict[str, torch.Tensor]:
    return {"audio": torch.randn(size, 5), "image": torch.randn(size, 3, 4)}


@pytest.mark.parametrize("fusion", ["late", "early"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_forward_is_the_fusion_of_the_encoders_outputs(fusion: str, count: int) -> None:
    net, (inputs, _) = model(count, fusion).eval(), batch(count)
    assert torch.equal(net(inputs), net.fuse({name: encoder(inputs[name]) for name, encoder in net.encoders.items()}))


@pytest.mark.parametrize("fusion", ["late", "early"])
def test_neither_the_order_of_the_inputs_nor_further_ones_matter(fusion: str) -> None:
    net, (inputs, _) = model(3, fusion).eval(), batch(3)
    other = {"index": torch.arange(12), **dict(reversed(inputs.items()))}
    assert torch.equal(net(inputs), net(other))


def test_missing_modality_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"expects the modalities \['audio', 'image'\], found \['audio'\]; add \['image'"
    ):
        model(2)({"audio": torch.zeros(2, 5, dtype=torch.float64)})


def test_model_without_encoders_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one encoder"):
        FusionModel({}, nn.Identity())


def test_late_fusion_is_one_linear_layer_on_the_concatenation() -> None:
    fusion, seen = LateFusion(WIDTHS, 4), features()
    weight = torch.cat([fusion.heads[name].weight for name in WIDTHS], 1)
    together = torch.cat([seen[name].flatten(1) for name in WIDTHS], 1)
    # float32, sums in another order: a few units in the last place
    torch.testing.assert_close(fusion(seen), nn.functional.linear(together, weight, fusion.bias), rtol=1e-5, atol=1e-6)


def test_late_fusion_starts_like_that_linear_layer() -> None:
    fusion, bound = LateFusion({"audio": 300, "image": 100}, 50), 400**-0.5
    weight = torch.cat([head.weight.flatten() for head in fusion.heads.values()])
    assert weight.abs().max() <= bound
    assert fusion.bias.abs().max() <= bound
    # 20,000 uniform draws: the standard deviation of their spread is 0.3 % of it, so 2 % never fails
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_late_fusions_parts_sum_to_its_logits() -> None:
    fusion, seen = LateFusion(WIDTHS, 4).double(), {name: f.double() for name, f in features().items()}
    parts = fusion.partial(seen)
    assert list(parts) == list(WIDTHS)
    torch.testing.assert_close(sum(parts.values()), fusion(seen), rtol=0, atol=1e-14)  # float64, one addition apart


def test_maxout_is_the_largest_of_its_pieces() -> None:
    layer, inputs = Maxout(3, 4, pieces=2).double(), torch.randn(5, 3, dtype=torch.float64)
    affine = layer.affine(inputs)
    assert torch.equal(layer(inputs), torch.maximum(affine[:, 0::2], affine[:, 1::2]))


def test_early_fusion_is_normalisation_maxout_dropout_and_a_linear_layer() -> None:
    fusion = EarlyFusion(WIDTHS, 4, hidden=(10, 8), pieces=3, dropout=0.25)
    kinds = [nn.BatchNorm1d, *[Maxout, nn.BatchNorm1d, nn.Dropout] * 2, nn.Linear]
    assert [type(layer) for layer in fusion.trunk] == kinds
    widths = [layer.affine.in_features for layer in fusion.trunk if isinstance(layer, Maxout)]
    assert (widths, fusion.trunk[-1].in_features, fusion.trunk[-1].out_features) == ([17, 10], 8, 4)
    assert {layer.p for layer in fusion.trunk if isinstance(layer, nn.Dropout)} == {0.25}
    assert fusion(features()).shape == (6, 4)


def test_early_fusion_has_the_sizes_of_the_paper() -> None:
    trunk = EarlyFusion({"audio": 4, "image": 4}, 6).trunk
    sizes = [(layer.in_features, layer.out_features) for layer in trunk.modules() if isinstance(layer, nn.Linear)]
    assert sizes == [(8, 2 * 2048), (2048, 2 * 1024), (1024, 6)]
    assert all(out == 2 * after for (_, out), (after, _) in pairwise(sizes))


@pytest.mark.parametrize("fusion", ["late", "early"])
def test_state_dict_names_modalities(fusion: str) -> None:
    net, other = model(2, fusion), model(2, fusion)
    other.load_state_dict(net.state_dict())
    assert any(key.startswith("encoders.audio.") for key in net.state_dict())
    assert ("fusion.heads.audio.weight" in net.state_dict()) == (fusion == "late")


def test_models_show_heads_and_parts_only_where_the_fusion_has_them() -> None:
    late, early = model(2, "late"), model(2, "early")
    assert late.heads is late.fusion.heads
    assert late.partial is not None
    assert early.heads is None
    assert early.partial is None

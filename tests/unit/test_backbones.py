"""Encoders: shapes, names, parameters, padding, weights of the user's own, and how a run names them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from msam_bench.config.resolve import resolve
from msam_bench.config.run import validated
from msam_bench.data.modality import KINDS, Modality
from msam_bench.encoders import encoder, encoders, takes, usual_encoder
from msam_bench.encoders.convolutions import Convolutions
from msam_bench.encoders.resnet import ResNet18
from msam_bench.encoders.transformer import Transformer, present
from msam_bench.encoders.weights import load, sha256

LOOKS = {
    "vector": Modality("vector", (7,)),
    "series": Modality("series", (3, 20)),
    "image": Modality("image", (3, 20, 24)),
    "spectrogram": Modality("spectrogram", (1, 33, 20)),
    "frames": Modality("frames", (2, 3, 16, 16)),
    "sequence": Modality("sequence", (6, 5)),
    "tokens": Modality("tokens", (6,), "int64", vocabulary=11),
}


def sample(look: Modality, batch: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    if look.vocabulary:
        return torch.randint(1, look.vocabulary, (batch, *look.shape), generator=generator)
    return torch.randn(batch, *look.shape, generator=generator)


FITTING = [(name, kind) for name, build in encoders().items() for kind in takes(build).kinds]


@pytest.mark.parametrize(("name", "kind"), FITTING)
@pytest.mark.parametrize("batch", [1, 4])
def test_every_encoder_takes_its_kinds(name: str, kind: str, batch: int) -> None:
    net = encoder(LOOKS[kind], 16, 8, name).eval()
    features = net(sample(LOOKS[kind], batch))
    assert features.shape == (batch, 16)
    # in evaluation mode a sample does not depend on the others; sums in another order are 1e-5 apart in float32
    torch.testing.assert_close(features[:1], net(sample(LOOKS[kind], batch)[:1]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_every_encoder_learns_in_all_its_weights(name: str, kind: str) -> None:
    net = encoder(LOOKS[kind], 16, 8, name)
    net(sample(LOOKS[kind], 8)).square().sum().backward()
    assert [key for key, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()] == []


@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_an_absent_input_has_a_finite_feature(name: str, kind: str) -> None:
    zero = torch.zeros_like(sample(LOOKS[kind]))
    net = encoder(LOOKS[kind], 16, 8, name)
    assert torch.isfinite(net(zero)).all()
    assert torch.isfinite(net.eval()(zero)).all()


def test_the_kind_chooses_where_nobody_names_an_encoder() -> None:
    for kind in KINDS:
        name = usual_encoder(kind)
        chosen, named = encoder(LOOKS[kind], 16), encoder(LOOKS[kind], 16, name=name)
        assert list(chosen.state_dict()) == list(named.state_dict())
    own = Modality("image", (1, 28, 28), encoder="lenet")
    assert len(encoder(own, 48).state_dict()) == len(encoder(own, 48, name="lenet").state_dict())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "resnet"}, "Expected an encoder among mlp, .*, found 'resnet': write 'resnet18' if you meant that"),
        (
            {"name": "transformer"},
            "Expected sequence, tokens for 'transformer', .* 'image': use mlp, cnn2d, lenet, resnet",
        ),
        ({"name": "cnn2d", "hiden": 3}, "Encoder 'cnn2d' has no argument 'hiden': write 'hidden'"),
        ({"name": "resnet18", "layers": 3}, "Encoder 'resnet18' has no argument 'layers': it takes none"),
        ({"name": "resnet18", "features": 12}, "Expected a multiple of 8 as the features of a ResNet-18, found 12"),
    ],
)
def test_an_impossible_encoder_is_refused(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        encoder(LOOKS["image"], **{"features": 16, **arguments})  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------------------- ResNet


def test_resnet18_has_the_names_and_the_size_of_torchvisions() -> None:
    net = ResNet18()
    keys, blocks = net.state_dict(), [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    expected = {"conv1.weight", *(f"bn1.{part}" for part in norm)}
    for block in blocks:
        expected |= {f"{block}.conv{i}.weight" for i in (1, 2)} | {f"{block}.bn{i}.{p}" for i in (1, 2) for p in norm}
    for stage in (2, 3, 4):
        down = f"layer{stage}.0.downsample"
        expected |= {f"{down}.0.weight", *(f"{down}.1.{part}" for part in norm)}
    assert set(keys) == expected
    assert len(keys) == 120
    # torchvision states 11,689,512 parameters; its classifier has 512 * 1000 + 1000 of them
    assert sum(weight.numel() for weight in net.parameters()) == 11_689_512 - 513_000


def test_resnet18_halves_the_picture_five_times() -> None:
    net, sizes = ResNet18(1, 8), []
    for part in (net.conv1, net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4):
        part.register_forward_hook(lambda _, __, out: sizes.append(tuple(out.shape[1:])))
    assert net(torch.zeros(2, 1, 224, 224)).shape == (2, 64)
    assert sizes == [(8, 112, 112), (8, 56, 56), (8, 56, 56), (16, 28, 28), (32, 14, 14), (64, 7, 7)]


def test_frames_are_averaged() -> None:
    net, frames = ResNet18(3, 8).eval(), torch.randn(2, 3, 3, 16, 16)
    each = torch.stack([net(frames[:, time]) for time in range(3)], 1)
    torch.testing.assert_close(net(frames), each.mean(1), atol=1e-6, rtol=1e-5)  # batches of another size


# --------------------------------------------------------------------------------------------------------------- LeNet


@pytest.mark.parametrize(
    ("size", "features", "channels"),
    [(28, 48, [6, 12, 24, 48]), (112, 192, [6, 12, 24, 48, 96, 192]), (28, 4, [1, 1, 2, 4])],
)
def test_lenet_has_multibenchs_channels(size: int, features: int, channels: list[int]) -> None:
    net = encoder(Modality("image", (1, size, size)), features, name="lenet")
    assert isinstance(net, Convolutions)
    convolutions = [layer for layer in net.net if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == channels
    assert [layer.kernel_size[0] for layer in convolutions] == [5, *[3] * (len(channels) - 1)]
    before_pooling = net.net[:-2](torch.zeros(1, 1, size, size))
    assert before_pooling.shape == (1, features, 1, 1)
    assert net.train()(torch.randn(1, 1, size, size)).shape == (1, features)


# --------------------------------------------------------------------------------------------------------- Transformer


def words(pool: str = "mean", positions: bool = True) -> Transformer:
    torch.manual_seed(0)
    net = encoder(LOOKS["sequence"], 8, 12, "transformer", layers=2, heads=2, pool=pool, positions=positions)
    assert isinstance(net, Transformer)
    return net.eval().double()


@pytest.mark.parametrize("pool", ["mean", "first"])
@pytest.mark.parametrize("positions", [True, False])
def test_padding_never_changes_the_result(pool: str, positions: bool) -> None:
    net, sequence = words(pool, positions), torch.randn(3, 6, 5, dtype=torch.float64)
    alone = net(sequence)
    zeros = torch.zeros(3, 4, 5, dtype=torch.float64)
    for padded in ([sequence, zeros], [zeros, sequence], [sequence[:, :2], zeros, sequence[:, 2:]]):
        torch.testing.assert_close(net(torch.cat(padded, 1)), alone, atol=1e-12, rtol=0)


def test_what_stands_at_padding_never_reaches_the_result() -> None:
    """Whatever the embedding makes of a padded position: attention and pooling leave it out."""
    net, sequence = words(), torch.randn(2, 6, 5, dtype=torch.float64)
    sequence[0, 4:] = 0
    before = net(sequence)
    seen = present(sequence)
    net.first.register_forward_hook(lambda _, __, out: torch.where(seen[..., None], out, 1e3))
    torch.testing.assert_close(net(sequence), before, atol=1e-12, rtol=0)


def test_the_order_of_positions_matters_only_where_they_are_told() -> None:
    sequence = torch.randn(2, 6, 5, dtype=torch.float64)
    plain, told = words(positions=False), words(positions=True)
    torch.testing.assert_close(plain(sequence.flip(1)), plain(sequence), atol=1e-12, rtol=0)
    assert (told(sequence.flip(1)) - told(sequence)).abs().max() > 1e-3


def test_the_first_position_is_the_first_that_is_no_padding() -> None:
    net = words("first")
    kept = []
    net.layers[-1].register_forward_hook(lambda _, __, out: kept.append(out))
    sequence = torch.randn(2, 6, 5, dtype=torch.float64)
    sequence[1, :3] = 0
    assert torch.equal(net(sequence), torch.stack([kept[0][0, 0], kept[0][1, 3]]))


def test_word_zero_is_padding() -> None:
    net = encoder(LOOKS["tokens"], 8, 12).eval()
    ids = sample(LOOKS["tokens"], 2)
    longer = torch.cat([ids, torch.zeros(2, 3, dtype=torch.int64)], 1)
    torch.testing.assert_close(net(longer), net(ids), atol=1e-6, rtol=0)  # float32, a few sums apart


def test_a_layer_is_torchs() -> None:
    """torch's own layer with the same weights, in evaluation mode, gives the same."""
    net = words(positions=False)
    ours, sequence = net.layers[0], torch.randn(3, 6, 8, dtype=torch.float64)
    theirs = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, dtype=torch.float64).eval()
    names = {
        "attend": "self_attn.in_proj_",
        "mix": "self_attn.out_proj.",
        "norm1": "norm1.",
        "norm2": "norm2.",
        "forward1": "linear1.",
        "forward2": "linear2.",
    }
    renamed = {names[k.split(".")[0]] + k.split(".")[1]: v for k, v in ours.state_dict().items()}
    theirs.load_state_dict(renamed)
    here = torch.ones(3, 6, dtype=torch.bool)
    here[1, 4:] = False
    expected = theirs(sequence, src_key_padding_mask=~here)
    torch.testing.assert_close(ours(sequence, here)[here], expected[here], atol=1e-12, rtol=0)


def test_second_derivatives_exist() -> None:
    net, sequence = words(), torch.randn(2, 6, 5, dtype=torch.float64)
    weight = net.layers[0].attend.weight
    (gradient,) = torch.autograd.grad(net(sequence).square().sum(), weight, create_graph=True)
    (curvature,) = torch.autograd.grad(gradient.square().sum(), weight)
    assert curvature.abs().max() > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"heads": 3}, "Expected a number of heads that divides 16 features, found 3"),
        ({"pool": "last"}, "Expected the pool 'mean' or 'first', found 'last'"),
    ],
)
def test_an_impossible_transformer_is_refused(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        encoder(LOOKS["sequence"], 16, **arguments)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------- weights of a user's own


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_weights_of_a_file_are_loaded_without_its_classifier(tmp_path: Path, ending: str) -> None:
    theirs, ours = ResNet18(3, 8).eval(), ResNet18(3, 8).eval()
    content = {**theirs.state_dict(), "fc.weight": torch.zeros(5, 64), "fc.bias": torch.zeros(5)}
    path = tmp_path / f"weights.{ending}"
    if ending == "pth":
        torch.save(content, path)
    else:
        save_file(content, path)
    load(ours, path, sha256(path))
    picture = torch.randn(2, 3, 32, 32)
    assert torch.equal(ours(picture), theirs(picture))


def test_colour_weights_see_grey_pictures_as_they_see_them_in_colour(tmp_path: Path) -> None:
    theirs, ours = ResNet18(3, 8).eval(), ResNet18(1, 8).eval()
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    load(ours, tmp_path / "w.safetensors")
    grey = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(ours(grey), theirs(grey.expand(2, 3, 32, 32)), atol=1e-5, rtol=1e-4)  # summed first


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(ValueError, match=r"Expected a file of weights at .*w.safetensors, found: No such file"):
        sha256(path)
    save_file(ResNet18(3, 16).state_dict(), path)
    with pytest.raises(ValueError, match=r"Expected 'conv1.weight' of shape \[8, 3, 7, 7\].*found \[16, 3, 7, 7\]"):
        load(ResNet18(3, 8), path)
    save_file({"conv1.weight": torch.zeros(8, 3, 7, 7)}, path)
    with pytest.raises(ValueError, match=r"found that the file has no 'bn1.bias'"):
        load(ResNet18(3, 8), path)
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"Expected weights by name in .*w.safetensors, found: "):
        load(ResNet18(3, 8), path)
    with pytest.raises(ValueError, match="as it was when the run was planned, found it changed"):
        load(ResNet18(3, 8), path, "0" * 64)


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1 / 0",)


def test_weights_that_would_run_code_are_refused(tmp_path: Path) -> None:
    torch.save({"conv1.weight": Runs()}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"Expected weights by name in .*w.pth, found: Weights only load failed"):
        load(ResNet18(3, 8), tmp_path / "w.pth")


# ------------------------------------------------------------------------------------------------ a run names encoders


def test_a_file_of_settings_names_encoders(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('features = 24\n[encoders.fou]\nname = "mlp"\nfeatures = 8\nparams = { hidden = 5 }\n')
    config = resolve("digits6", "late", "joint", path)
    assert config.widths(["fou", "kar"]) == {"fou": 8, "kar": 24}
    assert (config.encoder("fou").name, config.encoder("fou").params) == ("mlp", {"hidden": 5})
    assert config.identity != resolve("digits6", "late", "joint", features=24).identity
    assert validated(config.model_dump(mode="json")) == config


def test_weights_are_part_of_what_a_run_is(tmp_path: Path) -> None:
    path, weights = tmp_path / "run.toml", tmp_path / "w.safetensors"
    path.write_text(f'[encoders.fou]\nweights = "{weights}"\n')
    identities = set()
    for content in (b"a", b"b"):
        weights.write_bytes(content)
        config = resolve("digits6", "late", "joint", path)
        assert config.encoder("fou").sha256 == sha256(weights)
        identities.add(config.identity)
    assert len(identities) == 2


def test_an_unknown_setting_of_an_encoder_is_answered_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('[encoders.fou]\nnam = "mlp"\n')
    with pytest.raises(ValueError, match=r"Unknown setting 'encoders.fou.nam': write 'name' if you meant that"):
        resolve("digits6", "late", "joint", tmp_path / "run.toml")

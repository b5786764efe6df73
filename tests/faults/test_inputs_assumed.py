"""What coalitions assume of a model: zeros are an input, rows are apart. Where it does not hold, right or refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam import AGM, ESAM, MSAM, SAM, FusionModel, Joint, LateFusion, Method, Objective, Shapley, shapley
from msam.objective.assumptions import alike
from zoo import close, run

W = {"text": 8, "b": 4}
TARGET = torch.tensor([0] * 9 + [1, 2, 1])


# ---- zeros that are no input -----------------------------------------------------------------------------------------


class Padded(nn.Module):
    """An encoder that reads its padding from rows of zeros: an all-zero input is all padding, and 0 / 0."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)

    def forward(self, x: Tensor) -> Tensor:
        padding = (x == 0).all(-1)
        encoded = self.layer(x, src_key_padding_mask=padding) * ~padding[..., None]
        return encoded.sum(1) / (~padding).sum(1, keepdim=True)


class Logarithm(nn.Module):
    """A logarithm of energies: minus infinity for silence."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.square().mean(1).log())


class Normalised(nn.Module):
    """Division by the length of an input: 0 / 0."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear((x / x.norm(dim=(1, 2), keepdim=True)).mean(1))


class Packing(nn.Module):
    """Lengths are those of the rows that are not zero; recurrent layers refuse a length of zero."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(8, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        lengths = (x != 0).any(-1).sum(1).cpu()
        return self.layer(nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))[1][-1]


ZEROLESS: list[type[nn.Module]] = [Padded, Logarithm, Normalised, Packing]


def words() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    text = torch.randn(12, 4, 8, generator=generator, dtype=torch.float64)
    text[:, 3] = 0
    return {"text": text, "b": torch.randn(12, 5, generator=generator, dtype=torch.float64)}


def reader(kind: type[nn.Module]) -> FusionModel:
    torch.manual_seed(0)
    return FusionModel({"text": kind(), "b": nn.Linear(5, 4)}, LateFusion(W, 3)).double()


class Opaque(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Any) -> Tensor:
        return self.inner(inputs)


ASKING: dict[str, Callable[..., Method]] = {
    "msam": lambda **options: MSAM(attribution=Shapley(**options)),
    "msam-shapley": lambda **options: MSAM(scope="shapley", attribution=Shapley(**options)),
    "msam-encoder": lambda **options: MSAM(scope="encoder", attribution=Shapley(**options)),
    "agm": AGM,
    "agm-code": lambda **options: AGM(faithful="code", **options),
}


@pytest.mark.parametrize("kind", ZEROLESS)
@pytest.mark.parametrize("name", ASKING)
def test_zeros_that_are_no_input_are_named_with_the_way_out(name: str, kind: type[nn.Module]) -> None:
    for show in (lambda net: net, Opaque):
        if show is Opaque and name in ("msam-shapley", "msam-encoder"):
            continue  # they need what this model hides
        with pytest.raises(ValueError, match=r"no input of modality 'text': .*absent='zero-feature'") as error:
            ASKING[name]().on(show(reader(kind)), F.cross_entropy)(words(), TARGET)
        assert "\n" not in str(error.value)
    for absent in ("zero-feature", "mean-feature", "shuffle"):
        found = run(ASKING[name](absent=absent), reader(kind), words(), TARGET)
        assert all(gradient.isfinite().all() for gradient in found.values())
    if name in ("msam", "agm"):
        found = run(ASKING[name](absent="shuffle"), Opaque(reader(kind)), words(), TARGET)
        assert all(gradient.isfinite().all() for gradient in found.values())


def test_a_batch_that_has_overflowed_is_another_matter() -> None:
    """Where the features themselves are no numbers nothing is said of zeros."""
    inputs = words()
    inputs["text"][0, 0, 0] = math.inf
    MSAM().on(reader(Padded), F.cross_entropy)(inputs, TARGET)


@pytest.mark.parametrize("value", ["accuracy", "probability"])
def test_logits_without_numbers_are_right_about_nobody(value: str) -> None:
    from msam.attribution import VALUES

    logits = torch.zeros(1, 4, 3, dtype=torch.float64)
    logits[0, :2] = math.nan
    worth = VALUES[value](logits, torch.zeros(4, dtype=torch.long))
    assert worth.isnan().all() if value == "probability" else worth.tolist() == [0.5]


class Cosine(nn.Module):
    """A fusion of directions: a feature of zeros has none."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({"a": nn.Linear(5, 4), "b": nn.Linear(5, 4)})
        self.head = nn.Linear(8, 3)

    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        return self.head(torch.cat([h / h.norm(dim=1, keepdim=True) for h in (features["a"], features["b"])], 1))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.fuse({name: encoder(inputs[name]) for name, encoder in self.encoders.items()})


@pytest.mark.parametrize("name", ASKING)
def test_features_of_zeros_that_are_no_feature_are_named_with_the_way_out(name: str) -> None:
    torch.manual_seed(1)
    net, (inputs, target) = Cosine().double(), numbers()
    with pytest.raises(ValueError, match=r"no numbers without modality '[ab]' when absent='zero-feature'") as error:
        ASKING[name](absent="zero-feature").on(net, F.cross_entropy)(inputs, target)
    assert "\n" not in str(error.value)
    for absent in ("zero-input", "mean-feature", "shuffle"):
        found = run(ASKING[name](absent=absent), net, inputs, target)
        assert all(gradient.isfinite().all() for gradient in found.values())


@pytest.mark.parametrize("kind", [Padded, Logarithm, Normalised])
@pytest.mark.parametrize("method", [Joint(), SAM(), MSAM()], ids=["joint", "sam", "msam"])
def test_samples_without_a_modality_whose_zeros_are_no_input_are_named(method: Method, kind: type[nn.Module]) -> None:
    inputs = {**words(), "text/present": torch.arange(12) % 3 > 0}
    with pytest.raises(ValueError, match=r"Samples that lack 'text' are given zeros") as error:
        method.on(reader(kind), F.cross_entropy)(inputs, TARGET)
    assert "\n" not in str(error.value)


# ---- statistics of the batch in evaluation mode ----------------------------------------------------------------------


class Standardised(nn.Module):
    """Features in units of the batch's own deviation, in evaluation mode too."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.linear(x)
        return (h - 0.5 * h.mean(0)) / (1 + h.std(0, correction=0))


class Untracked(nn.Sequential):
    """Batch normalisation without running statistics, which refuses a batch of one."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 4))


def numbers() -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(5)
    inputs = {name: torch.randn(12, 5, generator=generator, dtype=torch.float64) for name in "ab"}
    return inputs, torch.arange(12) % 3


@pytest.mark.parametrize("kind", [Standardised, Untracked])
def test_encoders_with_statistics_of_the_batch_see_zeros_as_a_batch(kind: Callable[[int], nn.Module]) -> None:
    torch.manual_seed(2)
    net = FusionModel({"a": kind(5), "b": kind(5)}, LateFusion({"a": 4, "b": 4}, 3)).double()
    inputs, target = numbers()
    found = shapley(Objective(net, F.cross_entropy), inputs, target, value="probability").values
    assert found == pytest.approx(by_hand(net.eval(), inputs, target), abs=1e-12)


def by_hand(net: nn.Module, inputs: dict[str, Tensor], target: Tensor) -> dict[str, float]:
    def worth(present: str) -> float:
        chosen = {name: x if name in present else torch.zeros_like(x) for name, x in inputs.items()}
        with torch.no_grad():
            return float(net(chosen).softmax(1).gather(1, target[:, None]).mean())

    return {
        "a": (worth("a") + worth("ab") - worth("b")) / 2,
        "b": (worth("b") + worth("ab") - worth("a")) / 2,
    }


class Attending(nn.Module):
    """A fusion in which samples attend to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({"a": nn.Linear(5, 4), "b": nn.Linear(5, 4)})
        self.head = nn.Linear(8, 3)

    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        h = torch.cat([features["a"], features["b"]], 1)
        return self.head(torch.softmax(h @ h.T, 1) @ h)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.fuse({name: encoder(inputs[name]) for name, encoder in self.encoders.items()})


class Centred(Attending):
    """A fusion that takes the batch's mean out."""

    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        h = torch.cat([features["a"], features["b"]], 1)
        return self.head((h - h.mean(0)).tanh())


class Contrastive(Attending):
    """Logits among the samples of a batch, as in CLIP."""

    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        return 3 * F.normalize(features["a"] + 0.1, dim=1) @ F.normalize(features["b"] + 0.1, dim=1).T


AMONG: list[type[Attending]] = [Attending, Centred, Contrastive]


@pytest.mark.parametrize("kind", AMONG)
@pytest.mark.parametrize("count", [5, 12])
def test_coalitions_of_fusions_among_samples_are_fused_one_by_one(kind: type[Attending], count: int) -> None:
    torch.manual_seed(2)
    net, (inputs, target) = kind().double(), numbers()
    inputs = {name: x[:count] for name, x in inputs.items()}
    target = torch.arange(count) if kind is Contrastive else target[:count]
    objective = Objective(net, F.cross_entropy)
    for _ in range(2):  # the first batch tests, the second knows
        found = shapley(objective, inputs, target, value="probability").values
        assert found == pytest.approx(by_hand(net, inputs, target), abs=1e-12)


@pytest.mark.parametrize("kind", AMONG)
@pytest.mark.parametrize("faithful", ["paper", "code"])
def test_agm_on_fusions_among_samples_is_that_of_the_whole_model(kind: type[Attending], faithful: Any) -> None:
    torch.manual_seed(2)
    net, (inputs, target) = kind().double(), numbers()
    target = torch.arange(12) if kind is Contrastive else target
    found = run(AGM(1.5, faithful), net, inputs, target)
    whole = run(AGM(1.5, faithful), Opaque(net), inputs, target)
    assert close(found, {key.removeprefix("inner."): gradient for key, gradient in whole.items()}, 1e-12)


@pytest.mark.parametrize("kind", AMONG)
@pytest.mark.parametrize("make", [lambda: MSAM(part=0.5), lambda: ESAM(gamma=0.5)], ids=["part", "esam"])
def test_parts_of_a_batch_are_refused_where_samples_are_not_independent(
    kind: type[Attending], make: Callable[[], Method]
) -> None:
    torch.manual_seed(2)
    net, (inputs, target) = kind().double(), numbers()
    target = torch.arange(12) if kind is Contrastive else target
    held = [weight.detach().clone() for weight in net.parameters()]
    with pytest.raises(ValueError, match=r"takes samples as independent, but .* use the whole batch") as error:
        make().on(net, F.cross_entropy)(inputs, target)
    assert "\n" not in str(error.value)
    assert all(map(torch.equal, held, net.parameters()))
    for method in (MSAM(), ESAM(gamma=1.0), SAM()):
        assert all(gradient.isfinite().all() for gradient in run(method, net, inputs, target).values())


def test_the_tests_of_the_first_batch_leave_no_trace() -> None:
    """Random stream, statistics and counts are those of a batch that tests nothing."""
    torch.manual_seed(2)
    encoders = {name: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Dropout(0.3)) for name in "ab"}
    net = FusionModel(encoders, LateFusion({"a": 4, "b": 4}, 3)).double()
    inputs, target = numbers()
    backward = MSAM().on(net, F.cross_entropy)
    counted, streams = [], []
    for _ in range(2):
        torch.manual_seed(1)
        before = (backward.objective.counts.forwards, backward.objective.counts.fusions)
        backward(inputs, target)
        after = (backward.objective.counts.forwards, backward.objective.counts.fusions)
        counted.append([b - a for a, b in zip(before, after, strict=True)])
        streams.append(torch.get_rng_state())
    assert counted[0] == counted[1]
    assert torch.equal(*streams)
    assert net.encoders["a"][1].num_batches_tracked == 2
    assert net.training
    plain = FusionModel(encoders, net.fusion)
    assert close(run(MSAM(weight=1.0), net, inputs, target), run(SAM(), plain, inputs, target), 1e-14)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_alike_means_up_to_rounding(dtype: torch.dtype) -> None:
    values, largest = torch.linspace(-3, 5, 9).to(dtype), 5.0
    step = torch.finfo(dtype).eps ** 0.5 * largest
    assert alike(values, values + 0.3 * step)
    assert not alike(values, values + 4 * step)
    assert not alike(values, values[:3])
    assert alike(torch.full((2,), math.nan), torch.full((2,), math.nan))
    assert not alike(torch.ones(2), torch.full((2,), math.nan))

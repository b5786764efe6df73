"""What a method may ask of a model: unusual models, the arguments of `on`, and what is refused in a sentence."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from msam import ASAM, GNP, MSAM, SAM, FusionModel, Joint, LateFusion, Method, Objective, Shapley, Unimodal
from zoo import CLASSES, NAMES, Opaque, Unfusable, batch, close, gradients, model, run, same, state

EXACT = 1e-13
"""Gradients are of order one in float64; passes that differ in the order of sums only agree to this."""

METHODS: dict[str, Callable[[], Method]] = {
    "joint": Joint,
    "sam": lambda: SAM(0.3),
    "asam": lambda: ASAM(0.5),
    "gnp": lambda: GNP(0.4, 0.3),
    "msam": lambda: MSAM(0.3),
    "encoder": lambda: MSAM(0.3, scope="encoder", dominant="image", weight=0.7),
    "shapley": lambda: MSAM(0.3, scope="shapley", dominant="image", attribution=Shapley(absent="zero-feature")),
}
EACH = pytest.mark.parametrize("name", METHODS)
FUSION = pytest.mark.parametrize("fusion", ["late", "early"])


def classes(size: int, seed: int = 0) -> Tensor:
    return torch.randint(CLASSES, (size,), generator=torch.Generator().manual_seed(seed))


def bare(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gradients under the names that they have without wrappers."""
    prefixes = ("inner.", "_orig_mod.", "module.")
    return {next((key.removeprefix(p) for p in prefixes if key.startswith(p)), key): g for key, g in found.items()}


# ---- what a model shows -------------------------------------------------------------------------------------------

LATE = {"encoders", "separate_encoders", "fuse", "additive_fusion", "heads"}


def sharing() -> FusionModel:
    net = model(2)
    net.encoders["image"] = net.encoders["audio"]
    return net


@pytest.mark.parametrize(
    ("net", "shown"),
    [
        (lambda: model(2, "late"), LATE),
        (lambda: model(2, "early"), {"encoders", "separate_encoders", "fuse"}),
        (lambda: model(1, "early"), {"encoders", "separate_encoders", "fuse", "heads"}),
        (lambda: Unfusable(model(2)), {"encoders", "separate_encoders"}),
        (lambda: Opaque(model(2)), set()),
        (sharing, LATE - {"separate_encoders"}),
        (lambda: nn.DataParallel(model(2)), LATE),
        (lambda: nn.DataParallel(Opaque(model(2))), set()),
    ],
)
def test_capabilities_are_what_the_model_shows(net: Callable[[], nn.Module], shown: set[str]) -> None:
    assert Objective(net(), F.cross_entropy).capabilities == shown


def test_encoders_given_take_the_place_of_the_models_own() -> None:
    net = Opaque(model(2))
    objective = Objective(net, F.cross_entropy, encoders=net.inner.encoders)
    assert objective.capabilities == {"encoders", "separate_encoders"}
    assert objective.modalities(batch(2)[0]) == ("audio", "image")


def test_modalities_of_a_model_without_encoders_are_the_inputs() -> None:
    assert Objective(Opaque(model(2)), F.cross_entropy).modalities(batch(3)[0]) == NAMES[:3]


def test_parameters_of_all_of_an_encoder_and_of_its_head() -> None:
    net = model(2)
    net.encoders["audio"][0].bias.requires_grad_(False)
    objective = Objective(net, F.cross_entropy)
    named = {id(weight): name for name, weight in net.named_parameters()}

    def names(*arguments: Any, **options: Any) -> list[str]:
        return [named[id(weight)] for weight in objective.parameters(*arguments, **options)]

    trainable = [name for name in named.values() if name != "encoders.audio.0.bias"]
    audio = [name for name in trainable if name.startswith("encoders.audio.")]
    assert names() == trainable
    assert names("audio") == audio
    assert names("audio", head=True) == [*audio, "fusion.heads.audio.weight"]
    assert len(Objective(model(1), F.cross_entropy).parameters("audio", head=True)) == len(list(model(1).parameters()))


# ---- looking --------------------------------------------------------------------------------------------------------


@FUSION
def test_logits_and_features_are_those_of_evaluation_mode_and_leave_no_trace(fusion: str) -> None:
    net, (inputs, _) = model(2, fusion), batch(2)
    objective, before = Objective(net, F.cross_entropy), state(net)
    logits, features = objective.logits(inputs), objective.features(inputs)
    assert same(state(net), before)
    assert not logits.requires_grad
    net.eval()
    assert torch.equal(logits, net(inputs))
    assert all(torch.equal(features[name], net.encoders[name](inputs[name])) for name in NAMES[:2])
    alone = Unimodal("image").on(net, F.cross_entropy).predict(inputs)
    torch.testing.assert_close(alone, net.fuse(features_of(net, inputs)), rtol=0, atol=EXACT)


def features_of(net: FusionModel, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    image = net.encoders["image"](inputs["image"])
    return {"audio": torch.zeros_like(net.encoders["audio"](inputs["audio"])), "image": image}


# ---- refused in a sentence ------------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("wrapped", [False, True])
def test_missing_modality_is_named(name: str, wrapped: bool) -> None:
    net, (inputs, target) = model(2), batch(2)
    del inputs["image"]
    backward = METHODS[name]().on(net, F.cross_entropy)
    with pytest.raises(
        ValueError, match=r"expects the modalities \['audio', 'image'\], found \['audio'\]; add \['image'"
    ):
        backward(inputs, target)
    assert not gradients(net)


@EACH
@pytest.mark.parametrize("inputs", [torch.zeros(3, 4), (torch.zeros(3, 4),)])
def test_inputs_that_are_no_mapping_are_refused(name: str, inputs: Any) -> None:
    with pytest.raises(TypeError, match=f"must map modality to tensor, found {type(inputs).__name__}"):
        METHODS[name]().on(model(2), F.cross_entropy)(inputs, torch.zeros(3, dtype=torch.long))


@EACH
@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (lambda z: (z, z), TypeError, r"return a tensor of logits, found tuple; pass call=lambda"),
        (lambda z: {"logits": z}, TypeError, r"return a tensor of logits, found dict; pass call=lambda"),
        (lambda z: z.mean(), ValueError, r"return logits \[batch=12, ...\], found shape \[\]; check the fusion"),
        (lambda z: z[:5], ValueError, r"return logits \[batch=12, ...\], found shape \[5, 4\]; check the fusion"),
    ],
)
def test_output_that_is_no_batch_of_logits_is_refused(name: str, change: Any, error: Any, sentence: str) -> None:
    net, (inputs, target) = model(2), batch(2)
    before = state(net)
    backward = METHODS[name]().on(net, F.cross_entropy, call=lambda net, inputs: change(net(inputs)))
    torch.set_rng_state(before["random"])
    with pytest.raises(error, match=sentence):
        backward(inputs, target)
    assert not gradients(net)
    assert state(net)["flags"] == before["flags"]


@EACH
@pytest.mark.parametrize(
    ("criterion", "error", "sentence"),
    [
        (
            lambda z, y: F.cross_entropy(z, y, reduction="none"),
            ValueError,
            r"scalar mean, found shape \[12\]; reduce it",
        ),
        (lambda z, y: F.cross_entropy(z, y).view(1), ValueError, r"scalar mean, found shape \[1\]; reduce it"),
        (lambda z, y: F.cross_entropy(z, y).item(), TypeError, "scalar tensor, found float"),
        (lambda z, y: (F.cross_entropy(z, y), {}), TypeError, "scalar tensor, found tuple"),
    ],
)
def test_criterion_that_returns_no_scalar_is_refused(name: str, criterion: Any, error: Any, sentence: str) -> None:
    net = model(2)
    with pytest.raises(error, match=sentence):
        METHODS[name]().on(net, criterion)(*batch(2))
    assert not gradients(net)


@pytest.mark.parametrize(
    ("method", "net", "lacking"),
    [
        (lambda: MSAM(scope="encoder"), lambda: Opaque(model(2)), "`encoders`"),
        (lambda: MSAM(scope="encoder+head"), lambda: Opaque(model(2)), "`encoders`.* and a fusion with one head"),
        (
            lambda: MSAM(scope="encoder+head"),
            lambda: model(2, "early"),
            "a fusion with one head.*with EarlyFusion",
        ),
        (lambda: MSAM(scope="shapley"), lambda: Unfusable(model(2)), r"`fuse\(features\) -> logits`"),
        (lambda: Unimodal("audio"), lambda: Opaque(model(2)), "`encoders`"),
    ],
)
def test_method_that_asks_for_more_than_the_model_shows_is_refused_and_others_are_named(
    method: Callable[[], Method], net: Callable[[], nn.Module], lacking: str
) -> None:
    refused, sentence = method(), rf"needs a model with {lacking}.*does not show; .*GNP, .*Joint, .*SAM.* would work"
    with pytest.raises(ValueError, match=sentence) as error:
        refused.on(net(), F.cross_entropy)
    assert type(refused).__name__ not in str(error.value).partition("; ")[2].replace(",", "").split()


@pytest.mark.parametrize("scope", ["loss", "encoder", "encoder+head", "shapley"])
def test_unknown_fixed_modality_is_refused_before_training(scope: Any) -> None:
    with pytest.raises(
        ValueError, match=r"one of \['dynamic', 'overfit', 'random', 'weakest', 'audio', 'image'\], found 'sound'"
    ):
        MSAM(scope=scope, dominant="sound").on(model(2), F.cross_entropy)
    with pytest.raises(ValueError, match=r"one of \['audio', 'image'\], found 'sound'"):
        Unimodal("sound").on(model(2), F.cross_entropy)


def test_unknown_fixed_modality_of_a_model_without_encoders_is_refused_at_the_first_batch() -> None:
    net, data = Opaque(model(2)), batch(2)
    backward = MSAM(dominant="sound").on(net, F.cross_entropy)
    before = state(net)
    with pytest.raises(ValueError, match=r"one of \['audio', 'image'\], found 'sound'"):
        backward(*data)
    assert not gradients(net)
    assert state(net)["flags"] == before["flags"]


@pytest.mark.parametrize("encoders", [nn.ModuleList([nn.Linear(5, 6)]), [nn.Linear(5, 6)]])
def test_encoders_without_names_are_refused(encoders: Any) -> None:
    net = Opaque(model(2))
    with pytest.raises(
        TypeError, match=f"`encoders` must map modality to module, found {type(encoders).__name__}; pass"
    ):
        Joint().on(net, F.cross_entropy, encoders=encoders)
    net.encoders = encoders
    with pytest.raises(TypeError, match="must map modality to module"):
        Joint().on(net, F.cross_entropy)
    assert Joint().on(net, F.cross_entropy, encoders=net.inner.encoders).objective.encoders.keys() == {"audio", "image"}


# ---- call= and encoders= --------------------------------------------------------------------------------------------


class Positional(nn.Module):
    """A model of somebody else's: two arguments, two outputs, nothing named."""

    def __init__(self, inner: FusionModel) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, str]:
        return self.inner({"audio": first, "image": second}), "more"


def call(net: Any, inputs: dict[str, Tensor]) -> Tensor:
    return net(inputs["audio"], inputs["image"])[0]


@FUSION
@EACH
def test_call_and_encoders_make_any_model_an_open_one(name: str, fusion: str) -> None:
    net, data = model(2, fusion), batch(2)
    other = Positional(copy.deepcopy(net))
    torch.manual_seed(11)
    if name == "shapley":
        with pytest.raises(ValueError, match=r"`fuse\(features\)"):
            METHODS[name]().on(other, F.cross_entropy, call=call, encoders=other.inner.encoders)
        return
    METHODS[name]().on(other, F.cross_entropy, call=call, encoders=other.inner.encoders)(*data)
    strict = METHODS[name]()
    if isinstance(strict, MSAM):  # coalitions of a model that cannot fuse are whole passes in evaluation mode
        strict.attribution.strict = True
    assert close(bare(gradients(other)), run(strict, net, *data), EXACT)


# ---- inputs ---------------------------------------------------------------------------------------------------------


@EACH
def test_further_inputs_are_passed_on_and_are_no_modalities(name: str) -> None:
    net, (inputs, target) = model(2), batch(2)
    further = {"length": torch.arange(12), **inputs, "path": ["a"] * 12}
    assert close(run(METHODS[name](), net, further, target), run(METHODS[name](), net, inputs, target), 0)  # type: ignore[arg-type]


def test_inputs_that_are_no_tensors_are_no_modalities_of_a_model_without_encoders() -> None:
    net, (inputs, target) = Opaque(model(2)), batch(2)
    further: Any = {"path": ["a"] * 12, **inputs}
    assert Objective(net, F.cross_entropy).modalities(further) == ("audio", "image")
    assert close(run(MSAM(0.3), net, further, target), run(MSAM(0.3), net, inputs, target), 0)


class Words(nn.Module):
    """Token indices to features."""

    def __init__(self, padded: int | None = None) -> None:
        super().__init__()
        self.embedding, self.linear = nn.Embedding(11, 5, padding_idx=padded), nn.Linear(5, 6)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.linear(self.embedding(tokens).mean(1)).tanh()


@pytest.mark.parametrize("absent", ["zero-input", "mean-feature", "shuffle"])
@EACH
def test_integer_inputs_train_an_embedding(name: str, absent: Any) -> None:
    net = FusionModel(
        {"audio": nn.Linear(5, 6), "image": Words()}, LateFusion({"audio": 6, "image": 6}, CLASSES)
    ).double()
    inputs = {"audio": batch(1)[0]["audio"], "image": torch.randint(1, 11, (12, 4))}
    method = METHODS[name]()
    if isinstance(method, MSAM):
        method.attribution.absent = absent
    found = run(method, net, inputs, classes(12))
    assert found.keys() == dict(net.named_parameters()).keys()
    assert all(torch.isfinite(grad).all() for grad in found.values())
    assert found["encoders.image.embedding.weight"].abs().sum() > 0
    if name in ("sam", "msam", "encoder"):  # against a model that shows nothing to reuse
        hidden = Unfusable(net) if name == "encoder" else Opaque(net)
        if absent != "mean-feature":
            assert close(bare(run(method, hidden, inputs, classes(12))), found, EXACT)


@FUSION
@EACH
def test_batch_of_one_sample(name: str, fusion: str) -> None:
    net, data = model(2, fusion, noisy=False), batch(2, size=1)
    for absent in ("zero-input", "zero-feature", "mean-feature", "shuffle"):
        method = METHODS[name]()
        if isinstance(method, MSAM):
            method.attribution.absent = absent
        found = run(method, net, *data)
        assert all(torch.isfinite(grad).all() for grad in found.values())
        assert found.keys() == dict(net.named_parameters()).keys()


# ---- unusual encoders: what cannot be observed is not reused --------------------------------------------------------


class Unusual(nn.Module):
    """Two encoders and a fusion; a subclass says how they are called."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.encoders = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(5, 6), nn.Dropout(0.3), nn.Tanh()) for m in NAMES[:2]}
        )
        self.head = nn.Linear(12, CLASSES)
        self.double()

    def encode(self, name: str, inputs: Tensor) -> Tensor:
        return self.encoders[name](inputs)

    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        return self.head(torch.cat([features["audio"], features["image"]], 1))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.fuse({name: self.encode(name, inputs[name]) for name in self.encoders})


class Twice(Unusual):
    """Each encoder sees two views."""

    def encode(self, name: str, inputs: Tensor) -> Tensor:
        return (self.encoders[name](inputs) + self.encoders[name](inputs.flip(1))) / 2


class Bypassed(Unusual):
    """Encoders are not called as modules."""

    def encode(self, name: str, inputs: Tensor) -> Tensor:
        return self.encoders[name].forward(inputs)


class Shared(Unusual):
    """One encoder for both."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders["image"] = self.encoders["audio"]


class Overlapping(Unusual):
    """Two encoders with one weight in common."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders["image"][0].weight = self.encoders["audio"][0].weight


class Checkpointed(Unusual):
    """Encoders run again in the backward pass, to save memory."""

    def encode(self, name: str, inputs: Tensor) -> Tensor:
        return checkpoint(self.encoders[name], inputs, use_reentrant=False)


def unusual_batch() -> tuple[dict[str, Tensor], Tensor]:
    inputs, target = batch(1)
    return {"audio": inputs["audio"], "image": inputs["audio"].roll(1, 0)}, target


UNUSUAL = pytest.mark.parametrize("kind", [Unusual, Twice, Bypassed, Shared, Overlapping, Checkpointed])


@UNUSUAL
@pytest.mark.parametrize("weight", [1.0, 0.6])
def test_loss_scope_of_unusual_encoders_by_hand(kind: type[Unusual], weight: float) -> None:
    net, data = kind(), unusual_batch()
    found = run(MSAM(0.3, weight=weight), net, *data)
    plain = run(Joint(), net, *data)
    there = run(Joint(), moved(net, plain, plain.keys()), *data)
    assert close(found, {key: weight * there[key] + (1 - weight) * plain[key] for key in plain}, EXACT)


@UNUSUAL
@pytest.mark.parametrize("dominant", ["audio", "image"])
def test_encoder_scope_of_unusual_encoders_by_hand(kind: type[Unusual], dominant: str) -> None:
    net, data = kind(), unusual_batch()
    found = run(MSAM(0.3, scope="encoder", dominant=dominant, weight=0.6), net, *data)
    plain = run(Joint(), net, *data)
    owned = {id(weight) for weight in net.encoders[dominant].parameters()}
    block = [key for key, weight in net.named_parameters() if id(weight) in owned]
    there = run(Joint(), moved(net, plain, block), *data)
    assert close(found, {k: 0.6 * there[k] + 0.4 * g if k in block else g for k, g in plain.items()}, EXACT)


@UNUSUAL
def test_shapley_scope_of_unusual_encoders_sums_to_the_whole(kind: type[Unusual]) -> None:
    """Radius so small that g_d(theta + epsilon) = g_d(theta): what is left is g, if the parts are those of the pass."""
    net, data = kind(), unusual_batch()
    found, plain = run(MSAM(1e-9, scope="shapley", dominant="audio"), net, *data), run(Joint(), net, *data)
    assert close(found, plain, 1e-7)
    assert not close(run(MSAM(0.3, scope="shapley", dominant="audio"), net, *data), plain, 1e-4)


def moved(net: nn.Module, plain: dict[str, Tensor], block: Any) -> nn.Module:
    """The model at theta + epsilon, epsilon of radius 0.3 in the block."""
    other, norm = copy.deepcopy(net), torch.sqrt(sum(plain[key].square().sum() for key in block))
    with torch.no_grad():
        for key, weight in other.named_parameters():
            if key in block:
                weight += 0.3 * plain[key] / norm
    return other


class Recurrent(nn.Module):
    """An encoder that returns more than a tensor, picked apart by the model; it shows no `fuse`."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({"audio": nn.GRU(1, 6, batch_first=True), "image": nn.Linear(7, 6)})
        self.head = nn.Linear(12, CLASSES)
        self.double()

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        _, last = self.encoders["audio"](inputs["audio"].unsqueeze(-1))
        return self.head(torch.cat([last[0], self.encoders["image"](inputs["image"])], 1))


@pytest.mark.parametrize("name", [name for name in METHODS if name != "shapley"])
def test_encoder_that_returns_a_tuple_is_not_in_the_way(name: str) -> None:
    net, data = Recurrent(), batch(2)
    found = run(METHODS[name](), net, *data)
    if name == "encoder":
        assert found.keys() == dict(net.named_parameters()).keys()
    else:
        assert close(bare(run(METHODS[name](), Opaque(net), *data)), found, 0)


# ---- frozen weights -------------------------------------------------------------------------------------------------


@FUSION
@EACH
@pytest.mark.parametrize(
    "frozen", ["encoders.audio", "encoders.image", "encoders.image.0.weight", "fusion", "encoders"]
)
def test_frozen_weights_stay_and_take_no_gradient(name: str, fusion: str, frozen: str) -> None:
    net, data = model(2, fusion), batch(2)
    for key, weight in net.named_parameters():
        weight.requires_grad_(not key.startswith(frozen))
    trainable = {key for key, weight in net.named_parameters() if weight.requires_grad}
    before = {key: weight.detach().clone() for key, weight in net.named_parameters()}
    torch.manual_seed(11)
    METHODS[name]().on(net, F.cross_entropy)(*data)
    assert gradients(net).keys() == trainable
    assert same(before, {key: weight.detach() for key, weight in net.named_parameters()})
    assert {key for key, weight in net.named_parameters() if weight.requires_grad} == trainable


# ---- criteria -------------------------------------------------------------------------------------------------------


class Tempered(nn.Module):
    """A criterion with a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(self.temperature * logits, target)


class Composed(nn.Module):
    """The same model with the criterion's weight inside."""

    def __init__(self, inner: nn.Module, criterion: Tempered) -> None:
        super().__init__()
        self.inner, self.criterion = inner, criterion

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.criterion.temperature * self.inner(inputs)


@pytest.mark.parametrize("name", ["joint", "sam", "asam", "gnp", "msam"])
def test_weights_of_the_criterion_are_trained_as_if_they_were_the_models(name: str) -> None:
    net, data, criterion = model(2), batch(2), Tempered()
    method = METHODS[name]()
    if isinstance(method, MSAM):
        method.weight = 0.6
    expected = run(method, Composed(net, criterion), *data)
    criterion.temperature.grad = torch.tensor(2.0, dtype=torch.float64)
    torch.manual_seed(11)
    method.on(net, criterion)(*data)
    found = {f"inner.{key}": grad for key, grad in gradients(net).items()}
    assert close(found | {"criterion.temperature": criterion.temperature.grad - 2}, expected, EXACT)


@pytest.mark.parametrize("name", ["encoder", "shapley"])
def test_weight_of_the_criterion_takes_its_gradient_once(name: str) -> None:
    net, data = model(2), batch(2)
    found = []
    for method in (Joint(), METHODS[name]()):
        criterion = Tempered()
        torch.manual_seed(11)
        method.on(copy.deepcopy(net), criterion)(*data)
        assert criterion.temperature.grad is not None
        found.append(criterion.temperature.grad)
    # in `shapley` scope the loss's derivative is taken at theta + epsilon as well; the criterion's weight stays with g
    assert torch.allclose(found[0], found[1], rtol=0, atol=EXACT)


# ---- autocast around the whole step ---------------------------------------------------------------------------------


@FUSION
@EACH
def test_autocast_around_the_step_equals_autocast_within(name: str, fusion: str) -> None:
    """Casts of the weights that an outer autocast keeps would hide the perturbation."""
    net, data = model(2, fusion, dtype=torch.float32), batch(2, dtype=torch.float32)
    method = METHODS[name]()
    within = run(method, net, *data, context=lambda: torch.autocast("cpu", torch.bfloat16))
    with torch.autocast("cpu", torch.bfloat16):
        around = run(method, net, *data)
    # bf16 keeps 8 bits; a weight used in several coalitions sums their gradients before or after rounding
    assert close(around, within, 4e-3 if name == "shapley" else 0)


# ---- wrappers -------------------------------------------------------------------------------------------------------


@FUSION
@EACH
def test_data_parallel_on_one_device_is_the_model_itself(name: str, fusion: str) -> None:
    net, data = model(2, fusion), batch(2)
    assert close(bare(run(METHODS[name](), nn.DataParallel(net), *data)), run(METHODS[name](), net, *data), 0)


def compiled_gradients(net: nn.Module, method: Method, compiled: Any, data: Any) -> dict[str, Tensor]:
    """After three steps, so that guards and hooks have settled."""
    other = copy.deepcopy(net)
    shown = compiled(other)
    for _ in range(3):
        other.zero_grad()
        torch.manual_seed(11)
        copy.deepcopy(method).on(shown, F.cross_entropy)(*data)
    return gradients(other)


WAYS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "eager": lambda net: torch.compile(net, backend="eager"),
    "aot_eager": lambda net: torch.compile(net, backend="aot_eager"),
    "in place": lambda net: (net.compile(backend="eager"), net)[1],
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("way", WAYS)
@FUSION
def test_compiled_model_takes_the_same_steps(way: str, fusion: str) -> None:
    torch._dynamo.reset()
    net, data = model(2, fusion, noisy=False), batch(2)
    for make in METHODS.values():
        method = make()
        if isinstance(method, MSAM):
            method.attribution.strict = True
        assert close(compiled_gradients(net, method, WAYS[way], data), run(method, net, *data), EXACT)
    opaque = Opaque(net)
    for name in ("sam", "msam"):
        found = compiled_gradients(opaque, METHODS[name](), WAYS[way], data)
        assert close(found, run(METHODS[name](), opaque, *data), EXACT)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiled_model_keeps_the_users_backend() -> None:
    torch._dynamo.reset()
    graphs: list[Any] = []

    def backend(graph: Any, example: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    net = model(2, noisy=False)
    MSAM(0.1).on(torch.compile(net, backend=backend), F.cross_entropy)(*batch(2))
    assert graphs
    assert gradients(net)

"""Encoders that return more than a tensor: one hook says what their feature is, for heads, coalitions and presence."""

from __future__ import annotations

import copy
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam import (
    AGM,
    CGGM,
    CML,
    LFM,
    MASAM,
    MBSD,
    MLA,
    MSAM,
    MSES,
    MSLR,
    OGM,
    OPM,
    PMR,
    UMT,
    FusionModel,
    GBlending,
    LateFusion,
    Method,
    MMCosine,
    MMPareto,
    Objective,
    ReconBoost,
    Shapley,
    Unimodal,
    shapley,
)
from msam.features import FeatureReader
from zoo import close, run

W = {"a": 4, "b": 4}
TARGET = torch.arange(8) % 3


@dataclass
class Fields:
    """An output as in Hugging Face's transformers."""

    last_hidden_state: Tensor
    pooler_output: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


Named = namedtuple("Named", ["out", "weights"])


class Wrapped(nn.Module):
    """A linear encoder whose output is put into something else."""

    def __init__(self, wrap: Callable[[Tensor], Any] = lambda x: x) -> None:
        super().__init__()
        self.linear, self.wrap = nn.Linear(5, 4), wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.linear(x).tanh())


def inputs() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {name: torch.randn(8, 5, generator=generator, dtype=torch.float64) for name in "ab"}


def net(wrap: Callable[[Tensor], Any], features: Any = None) -> FusionModel:
    torch.manual_seed(1)
    return FusionModel({"a": Wrapped(wrap), "b": Wrapped()}, LateFusion(W, 3), features).double()


CLEAR: dict[str, Callable[[Tensor], Any]] = {
    "pooled": lambda x: Fields(x[:, None].expand(-1, 6, -1), x, (x, x)),
    "hidden": lambda x: Fields(x[:, None]),
    "mapping": lambda x: {"last_hidden_state": x[:, None], "pooler_output": x},
    "alone in a tuple": lambda x: (x,),
    "beside nothing": lambda x: (x, None),
    "named tuple": lambda x: Named(x, None),
}
UNCLEAR: dict[str, tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]] = {
    "lstm": (lambda x: (x[:, None], (x[None], x[None])), lambda output: output[1][0][-1]),
    "gru": (lambda x: (x[:, None], x[None]), lambda output: output[1][-1]),
    "attention": (lambda x: Named(x, torch.ones(8, 8)), lambda output: output.out),
    "list": (lambda x: [x, x * 2], lambda output: output[0]),
    "fields": (lambda x: {"left": x, "right": -x}, lambda output: output["left"]),
}

METHODS: dict[str, Callable[[], Method]] = {
    "msam": MSAM,
    "msam-encoder": lambda: MSAM(scope="encoder"),
    "msam-shapley": lambda: MSAM(scope="shapley"),
    "msam-mean": lambda: MSAM(attribution=Shapley(absent="mean-feature", strict=True)),
    "unimodal": lambda: Unimodal("a"),
    "agm": AGM,
    "agm-code": lambda: AGM(faithful="code"),
    "ogm": OGM,
    "mmpareto": lambda: MMPareto(W, 3),
    "cggm": lambda: CGGM(W, 3),
    "masam": lambda: MASAM(W, 3),
    "masam-code": lambda: MASAM(W, 3, faithful="code"),
    "mla": lambda: MLA(W, 3),
    "mmcosine": MMCosine,
    "lfm": lambda: LFM(W, 3),
    "lfm-code": lambda: LFM(W, 3, faithful="code"),
    "mbsd": lambda: MBSD(W, 3),
    "g-blending": lambda: GBlending(W, 3),
    "cml": CML,
    "opm": lambda: OPM(start=0, execute=1.0),
    "reconboost": ReconBoost,
    "pmr": lambda: PMR(part=1.0),
    "mslr": MSLR,
    "mses": MSES,
    "umt": lambda: UMT(W, 3, teaching=1),
}


def epochs(method: Method, model: nn.Module, **options: Any) -> dict[str, Tensor]:
    """The gradients of a step after the end of an epoch, and predictions."""
    model, data = copy.deepcopy(model), (inputs(), TARGET)
    backward = method.on(model, F.cross_entropy, **options)
    for _ in range(2):
        model.zero_grad()
        torch.manual_seed(11)
        backward(*data)
        backward.next_epoch([data], [data])
    found = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    return {**found, "predicted": backward.predict(inputs())}


@pytest.mark.parametrize("name", METHODS)
def test_outputs_with_one_meaning_are_as_good_as_tensors(name: str) -> None:
    plain = epochs(METHODS[name](), net(lambda x: x))
    for wrap in CLEAR.values():
        assert close(epochs(METHODS[name](), net(wrap)), plain, 1e-13)


@pytest.mark.parametrize("name", METHODS)
def test_the_hook_says_which_part_of_an_output_is_meant(name: str) -> None:
    plain = epochs(METHODS[name](), net(lambda x: x))
    for wrap, hook in UNCLEAR.values():
        assert close(epochs(METHODS[name](), net(wrap, {"a": hook})), plain, 1e-13)


def test_an_unclear_output_is_refused_with_what_it_holds() -> None:
    for wrap, _ in UNCLEAR.values():
        with pytest.raises(
            ValueError, match=r"The encoder 'a' returns .*features=\{'a': lambda output: ...\}"
        ) as error:
            MSAM().on(net(wrap), F.cross_entropy)(inputs(), TARGET)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("hook", [lambda output: output, lambda output: output[0].sum(), lambda output: None])
def test_a_hook_that_makes_no_feature_is_refused(hook: Any) -> None:
    with pytest.raises(TypeError, match=r"features= must make a tensor \[batch, ...\]"):
        FeatureReader({"a": hook})("a", (torch.ones(2, 3), torch.ones(2)))


class Recurrent(nn.Module):
    """An encoder picked apart by the model, with or without a `fuse`."""

    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({"a": kind(5, 4, batch_first=True), "b": nn.Linear(5, 4)})
        self.head = nn.Linear(8, 3)

    @staticmethod
    def last(output: Any) -> Tensor:
        state = output[1]
        return (state[0] if isinstance(state, tuple) else state)[-1]

    def forward(self, given: dict[str, Tensor]) -> Tensor:
        a, b = self.last(self.encoders["a"](given["a"])), self.encoders["b"](given["b"])
        return self.head(torch.cat([a, b], 1))


class Fusing(Recurrent):
    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        return self.head(torch.cat([features["a"], features["b"]], 1))


def sequences() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    a = torch.randn(8, 6, 5, generator=generator, dtype=torch.float64)
    return {"a": a, "b": torch.randn(8, 5, generator=generator, dtype=torch.float64)}


HEADS = {
    key: METHODS[key] for key in ("mmpareto", "cggm", "masam", "masam-code", "lfm", "mbsd", "g-blending", "pmr", "umt")
}


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("name", HEADS)
def test_classifiers_on_recurrent_encoders(name: str, kind: type[nn.RNNBase]) -> None:
    torch.manual_seed(0)
    model, data = Recurrent(kind).double(), (sequences(), TARGET)
    hook = {"a": Recurrent.last}
    found = epochs_on(HEADS[name](), model, data, features=hook)
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert found.keys() == {key for key, _ in model.named_parameters()}
    with pytest.raises(ValueError, match=r"encoder 'a' returns tuple .*say which: features=") as error:
        epochs_on(HEADS[name](), model, data)
    assert "\n" not in str(error.value)


def epochs_on(method: Method, model: nn.Module, data: Any, **options: Any) -> dict[str, Tensor]:
    model = copy.deepcopy(model)
    backward = method.on(model, F.cross_entropy, **options)
    for _ in range(2):
        model.zero_grad()
        backward(*data)
        backward.next_epoch([data], [data])
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("absent", ["zero-input", "zero-feature", "mean-feature"])
def test_contributions_of_recurrent_encoders_by_hand(kind: type[nn.RNNBase], absent: Any) -> None:
    torch.manual_seed(0)
    model, given = Fusing(kind).double(), sequences()
    objective = Objective(model, F.cross_entropy, features={"a": Recurrent.last})
    found = shapley(objective, given, TARGET, value="probability", absent=absent).values
    encode = {"a": lambda x: Recurrent.last(model.encoders["a"](x)), "b": model.encoders["b"]}

    def worth(present: str) -> float:
        features = {}
        for name in "ab":
            feature = encode[name](given[name])
            gone = {
                "zero-input": lambda name=name: encode[name](torch.zeros_like(given[name])),
                "zero-feature": lambda feature=feature: torch.zeros_like(feature),
                "mean-feature": lambda feature=feature: feature.mean(0).expand_as(feature),
            }[absent]
            features[name] = feature if name in present else gone()
        return float(model.fuse(features).softmax(1).gather(1, TARGET[:, None]).mean())

    with torch.no_grad():
        a = (worth("a") + worth("ab") - worth("b")) / 2
    assert found["a"] == pytest.approx(a, abs=1e-12)


def test_without_the_hook_such_a_model_is_run_as_a_whole() -> None:
    """The tuple is unclear, but zero inputs need no features."""
    torch.manual_seed(0)
    model, given = Fusing().double(), sequences()
    plain, hooked = (
        shapley(Objective(model, F.cross_entropy, features=hook), given, TARGET, value="probability").values
        for hook in (None, {"a": Recurrent.last})
    )
    assert plain == pytest.approx(hooked, abs=1e-12)
    with pytest.raises(ValueError, match=r"replaces features, but .*encoder 'a' returns tuple"):
        shapley(Objective(model, F.cross_entropy), given, TARGET, absent="zero-feature")


def test_a_hook_that_picks_another_part_than_the_fusion_takes_is_noticed() -> None:
    torch.manual_seed(0)
    model, given = Fusing().double(), sequences()
    wrong = {"a": lambda output: output[1][1][-1]}  # the cell's state instead of the output's
    with pytest.raises(ValueError, match=r"not `fuse` of .*logits differ at the first batch"):
        shapley(Objective(model, F.cross_entropy, features=wrong), given, TARGET, absent="zero-feature")
    right = shapley(Objective(model, F.cross_entropy, features={"a": Recurrent.last}), given, TARGET).values
    assert shapley(Objective(model, F.cross_entropy, features=wrong), given, TARGET).values == pytest.approx(right)


def test_a_feature_whose_first_dimension_is_time_is_refused() -> None:
    model = net(lambda x: (x[:, None], x[None]), {"a": lambda output: output[1]})
    with pytest.raises((ValueError, RuntimeError)):
        MMPareto(W, 3).on(model, F.cross_entropy)(inputs(), TARGET)


@pytest.mark.parametrize("wrap", [*CLEAR.values(), *(wrap for wrap, _ in UNCLEAR.values())])
def test_presence_reads_the_same_feature(wrap: Any) -> None:
    hook = next((h for w, h in UNCLEAR.values() if w is wrap), None)
    mask = torch.tensor([True, True, False, True] * 2)
    given = {**inputs(), "a/present": mask}
    plain = run(MSAM(), net(lambda x: x), given, TARGET)
    assert close(run(MSAM(), net(wrap, hook and {"a": hook}), given, TARGET), plain, 1e-13)


def test_transformers_encoders_need_no_hook() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=4, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    torch.manual_seed(0)

    class Text(nn.Module):
        def __init__(self, pooled: bool) -> None:
            super().__init__()
            self.bert = transformers.BertModel(config, add_pooling_layer=pooled)

        def forward(self, x: Any) -> Any:
            return self.bert(**x)

    tokens = {"input_ids": torch.randint(1, 40, (8, 3)), "attention_mask": torch.ones(8, 3, dtype=torch.long)}
    given = {"a": tokens, "b": inputs()["b"].float()}
    for pooled, width in ((True, 4), (False, 12)):
        model = FusionModel({"a": Text(pooled), "b": nn.Linear(5, 4)}, LateFusion({"a": width, "b": 4}, 3))
        for method in (MSAM(), AGM(), MMPareto({"a": width, "b": 4}, 3), CGGM({"a": width, "b": 4}, 3)):
            found = run(method, model, given, TARGET)
            assert all(gradient.isfinite().all() for gradient in found.values())

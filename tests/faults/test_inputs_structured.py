"""Inputs that are no single tensor, and tensors of a batch that are no modality: the right value, or one sentence."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

from msam import (
    AGM,
    CML,
    ESAM,
    MSAM,
    PMR,
    SAM,
    FusionModel,
    Joint,
    LateFusion,
    Method,
    MMPareto,
    Objective,
    Shapley,
    shapley,
)
from msam.nested import chosen_rows, moved_to, rows_of, zeros_of
from zoo import close, run

pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")

WIDTHS = {"a": 4, "b": 4}
TARGET = torch.arange(8) % 3


class Mixed(nn.Module):
    """An encoder of inputs of any kind."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.linear = nn.LSTM(5, 4, batch_first=True), nn.Linear(5, 4)

    def forward(self, x: Any) -> Tensor:
        if x is None:
            return self.linear.bias.expand(8, 4)
        if isinstance(x, PackedSequence):
            return self.recurrent(x)[1][0][-1]
        if isinstance(x, dict):
            return self.linear(x["feat"]) * x["mask"][:, None]
        if isinstance(x, Tensor) and x.is_nested:
            x = x.unbind()
        if isinstance(x, Tensor) and x.layout != torch.strided:
            x = x.to_dense()
        if isinstance(x, (list, tuple)):
            return torch.stack([self.linear(row).mean(0) for row in x])
        return self.linear(x)


def net() -> FusionModel:
    torch.manual_seed(3)
    return FusionModel({"a": Mixed(), "b": nn.Linear(5, 4)}, LateFusion(WIDTHS, 3)).double()


def rows(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n + 1, 5, generator=generator, dtype=torch.float64) for n in range(8)]


def image() -> Tensor:
    return torch.randn(8, 5, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


KINDS: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "mapping": lambda: {"feat": image() + 1, "mask": torch.ones(8, dtype=torch.float64)},
    "list": rows,
    "packed": lambda: pack_sequence(rows(), enforce_sorted=False),
    "nested": lambda: torch.nested.nested_tensor(rows()),
    "jagged": lambda: torch.nested.nested_tensor(rows(), layout=torch.jagged),
    "sparse": (image() + 1).to_sparse,
}
METHODS: dict[str, Callable[[], Method]] = {
    "sam": SAM,
    "msam": MSAM,
    "msam-shapley": lambda: MSAM(scope="shapley"),
    "msam-encoder": lambda: MSAM(scope="encoder"),
    "msam-part": lambda: MSAM(part=0.5),
    "agm": AGM,
    "agm-code": lambda: AGM(faithful="code"),
    "esam": lambda: ESAM(gamma=1.0),
    "cml": CML,
    "mmpareto": lambda: MMPareto(WIDTHS, 3),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_on_inputs_of_any_kind(name: str, kind: str) -> None:
    if (name, kind) == ("msam-part", "none"):
        pytest.skip("this encoder makes eight rows of nothing, whatever the size of the part")
    found = run(METHODS[name](), net(), {"a": KINDS[kind](), "b": image()}, TARGET)
    assert all(gradient.isfinite().all() for gradient in found.values())
    plain = run(Joint(), net(), {"a": KINDS[kind](), "b": image()}, TARGET)
    assert found.keys() == plain.keys()


def by_hand(a: Any, zero: Any, model: FusionModel) -> dict[str, float]:
    """Shapley values of the probability, an absent modality being an all-zero input."""
    model = model.eval()

    def worth(present: str) -> float:
        inputs = {"a": a if "a" in present else zero, "b": image() if "b" in present else torch.zeros(8, 5).double()}
        logits = model(inputs)
        return float(logits.softmax(1).gather(1, TARGET[:, None]).mean())

    both, a_alone, b_alone = worth("ab"), worth("a"), worth("b")
    return {"a": (a_alone + both - b_alone) / 2, "b": (b_alone + both - a_alone) / 2}


@pytest.mark.parametrize("kind", KINDS)
def test_contributions_of_inputs_of_any_kind_by_hand(kind: str) -> None:
    value = KINDS[kind]()
    zero = {
        "none": lambda: None,
        "mapping": lambda: {key: torch.zeros_like(each) for key, each in value.items()},
        "list": lambda: [torch.zeros_like(row) for row in value],
        "packed": lambda: value._replace(data=torch.zeros_like(value.data)),
        "nested": lambda: torch.zeros_like(value),
        "jagged": lambda: torch.zeros_like(value),
        "sparse": lambda: torch.zeros_like(value),
    }[kind]()
    found = shapley(Objective(net(), F.cross_entropy), {"a": value, "b": image()}, TARGET, value="probability")
    with torch.no_grad():
        expected = by_hand(value, zero, net())
    assert found.values == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("absent", ["zero-input", "zero-feature", "mean-feature", "shuffle"])
def test_a_modality_that_is_none_contributes_nothing_beside_its_absence(absent: Any) -> None:
    """With a constant worth for nobody, all that is left is what the other modality does."""
    objective = Objective(net(), F.cross_entropy)
    found = shapley(objective, {"a": None, "b": image()}, TARGET, value="loss", absent=absent)
    assert found.values["a"] == pytest.approx(0, abs=1e-12)
    assert abs(found.values["b"]) > 1e-3


def test_packed_sequences_are_the_same_as_their_rows() -> None:
    packed = pack_sequence(rows(), enforce_sorted=False)
    some = rows_of(packed, torch.tensor([5, 1, 3]), 8)
    expected = pack_sequence([rows()[i] for i in (5, 1, 3)], enforce_sorted=False)
    left, right = (pad_packed_sequence(each, batch_first=True) for each in (some, expected))
    assert all(map(torch.equal, left, right))
    mask = torch.arange(8) % 2 == 0
    kept, lengths = pad_packed_sequence(chosen_rows(mask, packed, None), batch_first=True)
    whole, _ = pad_packed_sequence(packed, batch_first=True)
    assert torch.equal(kept, whole * mask[:, None, None])
    assert lengths.tolist() == list(range(1, 9))
    assert not zeros_of(packed).data.any()


def test_containers_keep_their_kind() -> None:
    value = OrderedDict(x=[torch.ones(3, 2), None, "word"], y=(torch.ones(3, 1), 2.5))
    zero = zeros_of(value)
    assert isinstance(zero, OrderedDict)
    assert isinstance(zero["y"], tuple)
    assert zero["x"][1:] == [None, "word"]
    assert not zero["x"][0].any()
    assert value["x"][0].all()  # the batch's own tensors are left alone
    assert zero["y"][1] == 2.5
    moved = moved_to(value, torch.device("meta"))
    assert moved["x"][0].device.type == "meta"
    assert rows_of({"w": torch.ones(3), "x": torch.arange(8)}, slice(2), 8)["w"].shape == (3,)


@pytest.mark.parametrize("name", ["msam", "agm", "msam-shapley"])
def test_words_have_no_zero_form(name: str) -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(1, 4)

        def forward(self, words: list[str]) -> Tensor:
            return self.linear(torch.tensor([[float(len(word))] for word in words]))

    words = FusionModel({"a": Words(), "b": nn.Linear(5, 4)}, LateFusion(WIDTHS, 3))
    inputs = {"a": ["x" * n for n in range(8)], "b": image().float()}
    with pytest.raises(ValueError, match=r"no input of modality 'a'.*absent='zero-feature'") as error:
        METHODS[name]().on(words, F.cross_entropy)(inputs, TARGET)
    assert "\n" not in str(error.value)
    MSAM(attribution=Shapley(absent="zero-feature")).on(words, F.cross_entropy)(inputs, TARGET)
    AGM(absent="zero-feature").on(words, F.cross_entropy)(inputs, TARGET)


def test_lists_that_may_be_samples_or_parts_are_refused_where_it_matters() -> None:
    with pytest.raises(ValueError, match="may be a sample or a part of the batch"):
        rows_of([torch.ones(2, 3), torch.ones(2, 3)], slice(1), 2)


@pytest.mark.parametrize("kind", ["mapping", "list", "packed", "nested", "jagged", "sparse"])
def test_presence_of_samples_of_any_kind(kind: str) -> None:
    """What stands in absent rows makes no difference."""
    mask = torch.tensor([True, True, False, True] * 2)
    changed = [row if present else row + 7 for row, present in zip(rows(), mask.tolist(), strict=True)]
    other = {
        "mapping": lambda: {"feat": torch.where(mask[:, None], image() + 1, 7.0), "mask": torch.ones(8).double()},
        "list": lambda: changed,
        "packed": lambda: pack_sequence(changed, enforce_sorted=False),
        "nested": lambda: torch.nested.nested_tensor(changed),
        "jagged": lambda: torch.nested.nested_tensor(changed, layout=torch.jagged),
        "sparse": lambda: torch.where(mask[:, None], image() + 1, 7.0).to_sparse(),
    }[kind]()
    one, two = (
        run(MSAM(), net(), {"a": value, "b": image(), "a/present": mask}, TARGET) for value in (KINDS[kind](), other)
    )
    assert close(one, two, 1e-14)


@pytest.mark.parametrize("kind", ["mapping", "packed", "list"])
def test_sets_of_batches_of_any_kind_are_moved_and_read(kind: str) -> None:
    data = ({"a": KINDS[kind](), "b": image()}, TARGET)
    backward = PMR(part=0.5).on(net(), F.cross_entropy)
    backward(*data)
    backward.next_epoch(train=[data])
    assert backward(*data).notes.keys() == {"lag/a", "lag/b"}


# ---- tensors beside the modalities -----------------------------------------------------------------------------------


class Masked(nn.Module):
    """A model without encoders that reads masks, lengths and ids beside its modalities."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(5, 4), nn.Linear(5, 4), nn.Linear(8, 3)

    def forward(self, inputs: dict[str, Any]) -> Tensor:
        a = self.a(inputs["a"]) * next((inputs[key][:, :1].float() for key in inputs if "mask" in key), 1.0)
        return self.head(torch.cat([a, self.b(inputs["b"])], 1))


BESIDE = {
    "mask": torch.ones(8, 5, dtype=torch.bool),
    "attention_mask": torch.ones(8, 5, dtype=torch.long),
    "a_mask": torch.ones(8, 5),
    "valid": torch.ones(8, 5, dtype=torch.uint8),
    "lengths": torch.arange(8),
    "seq_len": torch.arange(8).float()[:, None],
    "ids": torch.arange(8),
    "sample_idx": torch.arange(8).int(),
    "weight": torch.rand(8),
    "temperature": torch.tensor(2.0),
}


@pytest.mark.parametrize("key", BESIDE)
@pytest.mark.parametrize("make", [MSAM, AGM, SAM])
def test_what_may_be_no_modality_is_asked_for_and_named(make: Callable[[], Method], key: str) -> None:
    inputs = {"a": image().float(), "b": image().float() + 1, key: BESIDE[key]}
    if make is SAM:  # knows nothing of modalities
        make().on(Masked(), F.cross_entropy)(inputs, TARGET)
        return
    with pytest.raises(ValueError, match=rf"\['{key}'\] of its inputs .* say which are: modalities=") as error:
        make().on(Masked(), F.cross_entropy)(inputs, TARGET)
    assert "\n" not in str(error.value)
    torch.manual_seed(0)
    model = Masked()
    named = run(make(), model, inputs, TARGET, modalities=["a", "b"])
    notes = make().on(model, F.cross_entropy, modalities=["a", "b"])(inputs, TARGET).notes
    assert {key.split("/")[1] for key in notes if "/" in key} == {"a", "b"}
    if "mask" not in key:
        plain = run(make(), model, {name: inputs[name] for name in ("a", "b")}, TARGET)
        assert close(named, plain, 1e-6)


def test_a_named_modality_that_is_missing_is_said() -> None:
    backward = MSAM().on(Masked(), F.cross_entropy, modalities=["a", "c"])
    with pytest.raises(ValueError, match=r"expects the modalities \['a', 'c'\]"):
        backward({"a": image().float(), "b": image().float()}, TARGET)


class Beside(nn.Module):
    """Encoders of which one is given a mask that stands beside its modality."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({"a": Weighed(), "b": nn.Linear(5, 4)})
        self.head = nn.Linear(8, 3)

    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        return self.head(torch.cat([features["a"], features["b"]], 1))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.fuse({"a": self.encoders["a"](inputs["a"], inputs["mask"]), "b": self.encoders["b"](inputs["b"])})


class Weighed(nn.Module):
    """The mean over the steps that a mask leaves; all of them without one."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 4)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        weight = torch.ones_like(x[..., :1]) if mask is None else mask[..., None].to(x)
        return ((self.linear(x) * weight).sum(1) / weight.sum(1)).tanh()


def beside() -> tuple[Beside, dict[str, Tensor]]:
    torch.manual_seed(4)
    mask = (torch.arange(6) < (1 + torch.arange(8) % 6)[:, None]).double()
    return Beside().double(), {"a": torch.randn(8, 6, 5).double() * 3, "b": torch.randn(8, 5).double(), "mask": mask}


def test_a_mask_given_to_an_encoder_beside_its_input_is_kept_in_coalitions() -> None:
    """The encoder alone would be another function; the model is run as a whole, once a coalition."""
    model, inputs = beside()
    found = shapley(Objective(model, F.cross_entropy), inputs, TARGET, value="probability").values

    def worth(present: str) -> float:
        zeroed = {**inputs, **{name: torch.zeros_like(inputs[name]) for name in "ab" if name not in present}}
        return float(model(zeroed).softmax(1).gather(1, TARGET[:, None]).mean())

    with torch.no_grad():
        a = (worth("a") + worth("ab") - worth("b")) / 2
    assert found["a"] == pytest.approx(a, abs=1e-12)


@pytest.mark.parametrize("absent", ["zero-feature", "mean-feature"])
def test_features_of_such_a_model_are_refused_with_the_reason(absent: Any) -> None:
    model, inputs = beside()
    with pytest.raises(
        ValueError, match=r"replaces features, but .*not `fuse` of .*masks and lengths inside inputs"
    ) as error:
        shapley(Objective(model, F.cross_entropy), inputs, TARGET, absent=absent)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("scope", ["encoder", "shapley"])
def test_second_passes_of_such_a_model_keep_the_mask(scope: Any) -> None:
    """Against a model that shows its encoders but not how it fuses, which is always run as a whole."""

    class Whole(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        @property
        def encoders(self) -> nn.ModuleDict:
            return self.inner.encoders

        def forward(self, inputs: Any) -> Tensor:
            return self.inner(inputs)

    model, inputs = beside()
    method = MSAM(0.3, scope=scope, dominant="a", weight=1.0)
    found = run(method, model, inputs, TARGET)
    if scope == "encoder":
        whole = run(method, Whole(model), inputs, TARGET)
        assert close(found, {key.removeprefix("inner."): g for key, g in whole.items()}, 1e-12)
    else:
        assert close(
            run(MSAM(1e-9, scope=scope, dominant="a"), model, inputs, TARGET), run(Joint(), model, inputs, TARGET), 1e-7
        )

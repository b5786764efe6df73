"""Targets as they come, for every method: integers of any type are classes, the rest is right or refused at once."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from contract.test_methods import METHODS, fits
from msam import FusionModel, LateFusion, Objective, Shapley, shapley
from zoo import CLASSES, NAMES, WIDTHS, batch, close, encoder, model

EVERY = [name for name in METHODS if fits(name, 2, "late")]
NEEDS_NO_CLASSES = frozenset(
    [
        "joint",
        "unimodal",
        "sam",
        "asam",
        "gnp",
        "esam",
        "esam-selecting",
        "looksam",
        "ae-sam",
        "f-sam",
        "f-sam-code",
        "msam-loss-value",
        "mmpareto",
        "mmpareto-code",
        "masam",
        "masam-code",
        "mses",
        "mses-code",
        "g-blending",
        "umt",
        "umt-given",
        "mmcosine",
    ]
)
"""Methods that ask the criterion alone."""

NEEDS_CLASSES = frozenset(
    [
        "msam",
        "msam-encoder",
        "msam-shapley",
        "msam-random",
        "ogm",
        "ogm-ge",
        "agm",
        "agm-code",
        "cggm",
        "cggm-code",
        "mslr",
        "pmr",
        "pmr-others",
        "reconboost",
        "reconboost-code",
        "cml",
        "cml-code",
        "lfm",
        "lfm-code",
        "mbsd",
        "mla",
        "mla-code",
    ]
)
"""Methods that ask how probable the true class is; the table may have more of either kind."""

GUARD = r"needs? class indices \[batch\] and logits \[batch, classes\], found targets"


def steps(name: str, net: Any, inputs: Any, target: Tensor, criterion: Any) -> dict[str, Tensor]:
    """Gradients of a step after the end of an epoch, of a method that has learned nothing yet."""
    backward = METHODS[name](NAMES[:2]).on(net, criterion)
    for _ in range(2):
        net.zero_grad()
        torch.manual_seed(3)
        backward(inputs, target)
        backward.next_epoch([(inputs, target)], [(inputs, target)])
    return {key: weight.grad.clone() for key, weight in net.named_parameters() if weight.grad is not None}


def long(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target.long())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
@pytest.mark.parametrize("name", EVERY)
def test_integers_of_any_type_are_classes(name: str, dtype: torch.dtype) -> None:
    inputs, target = batch(2)
    plain = steps(name, model(2), inputs, target, long)
    assert close(steps(name, model(2), inputs, target.to(dtype), long), plain, 0)


@pytest.mark.parametrize("name", EVERY)
def test_booleans_are_the_first_two_classes(name: str) -> None:
    inputs, target = batch(2)
    plain = steps(name, model(2), inputs, (target > 1).long(), long)
    assert close(steps(name, model(2), inputs, target > 1, long), plain, 0)


def single() -> FusionModel:
    """A model with one logit."""
    torch.manual_seed(7)
    encoders = {name: encoder(WIDTHS[i], False) for i, name in enumerate(NAMES[:2])}
    return FusionModel(encoders, LateFusion(dict.fromkeys(NAMES[:2], 6), 1)).double()


def binary(logits: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits[:, 0], target.to(logits))


def labels(kind: str, target: Tensor) -> tuple[Tensor, Any]:
    """Targets that name no class for each sample, and a criterion for them."""
    hot = F.one_hot(target, CLASSES)
    return {
        "several labels": ((hot + hot.roll(1, 0)).clamp(max=1).double(), F.binary_cross_entropy_with_logits),
        "several integer labels": (
            (hot + hot.roll(1, 0)).clamp(max=1),
            lambda z, y: F.binary_cross_entropy_with_logits(z, y.to(z)),
        ),
        "probabilities": (hot.double(), F.cross_entropy),
        "column of classes": (target[:, None], lambda z, y: F.cross_entropy(z, y[:, 0])),
        "class numbers as floats": (target.double(), lambda z, y: F.cross_entropy(z, y.long())),
    }[kind]


KINDS = ["several labels", "several integer labels", "probabilities", "column of classes", "class numbers as floats"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EVERY)
def test_targets_without_one_class_train_or_are_refused_by_the_one_guard(name: str, kind: str) -> None:
    inputs, target = batch(2)
    target, criterion = labels(kind, target)
    assert trains(name, model(2), inputs, target, criterion) is not (name in NEEDS_CLASSES) or name not in KNOWN


KNOWN = NEEDS_NO_CLASSES | NEEDS_CLASSES


def trains(name: str, net: Any, inputs: Any, target: Tensor, criterion: Any) -> bool:
    """Whether a method trains, with numbers; else it is refused by the guard, in one sentence."""
    refusal = ""
    try:
        found = steps(name, net, inputs, target, criterion)
    except ValueError as error:
        refusal = str(error)
    if not refusal:
        assert all(gradient.isfinite().all() for gradient in found.values())
        return True
    assert re.search(GUARD, refusal), refusal
    assert "\n" not in refusal
    return False


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
@pytest.mark.parametrize("absent", ["zero-input", "zero-feature", "shuffle"])
@pytest.mark.parametrize("value", ["accuracy", "probability"])
def test_contributions_of_one_logit_are_those_of_its_two_classes(value: Any, absent: Any, dtype: torch.dtype) -> None:
    class Two(torch.nn.Module):
        """The same model with the logits (0, z)."""

        def __init__(self, inner: FusionModel) -> None:
            super().__init__()
            self.inner, self.encoders = inner, inner.encoders

        def fuse(self, features: Any) -> Tensor:
            logit = self.inner.fuse(features)
            return torch.cat([torch.zeros_like(logit), logit], 1)

        def forward(self, inputs: Any) -> Tensor:
            return self.fuse({name: each(inputs[name]) for name, each in self.encoders.items()})

    net, (inputs, target) = single(), batch(2)
    target = (target > 1).to(dtype)
    options = {"value": value, "absent": absent}
    one = shapley(Objective(net, binary), inputs, target, **options).values
    two = shapley(Objective(Two(net), long), inputs, target.long(), **options).values
    assert one == pytest.approx(two, abs=1e-12)


def test_one_logit_of_more_than_two_classes_is_refused() -> None:
    inputs, target = batch(2)
    with pytest.raises(ValueError, match="one logit for two classes is to be two logits"):
        shapley(Objective(single(), binary), inputs, target.clamp(min=2))


SIZED = ("mmpareto", "cggm", "masam", "mla", "lfm", "mbsd", "g-blending", "umt", "mses")
"""Methods that the table of methods makes with classifiers, or remembered weights, of four classes."""


@pytest.mark.parametrize("name", sorted(name for name in KNOWN if name in EVERY and not name.startswith(SIZED)))
def test_one_logit_trains_or_is_refused_by_the_one_guard(name: str) -> None:
    """To contributions one logit is two classes; the others ask for two logits."""
    inputs, target = batch(2)
    right = name in NEEDS_NO_CLASSES or name.startswith("msam")
    assert trains(name, single(), inputs, (target > 1).long(), binary) is right


def test_what_the_guard_proposes_works() -> None:
    inputs, target = batch(2)
    target, criterion = labels("several labels", target)
    objective = Objective(model(2), criterion)
    for value in ("loss", lambda logits, labels: -(logits - labels).abs().mean((1, 2))):
        found = Shapley(value=value)(objective, inputs, target)
        assert found.shapley.isfinite().all()

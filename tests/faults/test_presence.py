"""Samples that lack a modality: in training, in evaluation, in contributions."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contract.test_methods import METHODS, make
from msam import MSAM, Joint, Objective, Shapley, shapley
from msam.coalition import ABSENT, lattice
from zoo import Opaque, batch, close, model, run, same

HALF = torch.arange(12) % 2 == 0


def lacking(rows: Tensor = HALF, junk: float = float("nan"), name: str = "audio") -> tuple[dict[str, Tensor], Tensor]:
    """A batch in which only these rows have a modality; the others hold junk."""
    inputs, target = batch(2)
    inputs[name] = torch.where(rows[:, None], inputs[name], junk)
    return {**inputs, f"{name}/present": rows}, target


@pytest.mark.parametrize("name", METHODS)
def test_what_an_absent_row_holds_reaches_no_method(name: str) -> None:
    net = model(2, noisy=False)
    found = [run(make(name), net, *lacking(junk=junk)) for junk in (float("nan"), 1e30, 0.0)]
    assert all(bool(torch.isfinite(gradient).all()) for gradient in found[0].values())
    assert same(found[0], found[1])
    assert same(found[0], found[2])


@pytest.mark.parametrize("fusion", ["late", "early"])
def test_training_without_an_attribution_sees_zeros(fusion: str) -> None:
    net, (inputs, target) = model(2, fusion), lacking()
    zeros = {"audio": inputs["audio"].nan_to_num(0), "image": inputs["image"]}
    for name in ("joint", "sam"):
        assert same(run(make(name), net, inputs, target), run(make(name), net, zeros, target))


@pytest.mark.parametrize("name", METHODS)
def test_everybody_present_is_no_mask(name: str) -> None:
    net, (inputs, target) = model(2, noisy=False), batch(2)
    masked = {**inputs, "audio/present": torch.ones(12, dtype=torch.bool)}
    assert same(run(make(name), net, masked, target), run(make(name), net, inputs, target))


@pytest.mark.parametrize("name", METHODS)
def test_predictions_see_zeros(name: str) -> None:
    net, (inputs, _) = model(2), lacking()
    predict = make(name).on(net, F.cross_entropy).predict
    assert torch.equal(predict(inputs), predict({**inputs, "audio": inputs["audio"].nan_to_num(0)}))
    assert bool(torch.isfinite(predict(inputs)).all())


@pytest.mark.parametrize("absent", ABSENT)
@pytest.mark.parametrize("fusion", ["late", "early"])
def test_a_modality_that_no_sample_has_adds_nothing(fusion: str, absent: Any) -> None:
    """In evaluation mode, and with the features of a training pass, whose normalisation is another.

    What is worth something is the loss without it; accuracies begin at zero for no modality at all, and what that is
    worth really is shared equally.
    """
    net, (inputs, target) = model(2, fusion), lacking(torch.zeros(12, dtype=torch.bool))
    objective = Objective(net, F.cross_entropy)
    alone = shapley(objective, inputs, target, absent=absent, value="loss").values
    attribution = Shapley(absent=absent, value="loss")
    within = _noted(MSAM(attribution=attribution).on(net, F.cross_entropy)(inputs, target).notes)
    for values in (alone, within):
        assert abs(values["audio"]) < 1e-15
        assert abs(values["image"]) > 1e-6
    if absent in ("zero-input", "zero-feature"):
        nothing = objective.coalition_logits(inputs, torch.zeros(1, 2, dtype=torch.bool), absent)[0]
        accuracy = float((nothing.argmax(1) == target).double().mean())
        assert shapley(objective, inputs, target, absent=absent).values["audio"] == pytest.approx(accuracy / 2)


def _noted(notes: dict[str, Any]) -> dict[str, float]:
    return {name: float(notes[f"contributions/{name}"]) for name in ("audio", "image")}


@pytest.mark.parametrize("absent", ["zero-input", "zero-feature"])
@pytest.mark.parametrize("fusion", ["late", "early"])
def test_contributions_are_the_mean_of_those_who_have_it_and_those_who_do_not(fusion: str, absent: Any) -> None:
    objective, (inputs, target) = Objective(model(2, fusion), F.cross_entropy), lacking()

    def found(rows: Tensor, drop: tuple[str, ...] = ()) -> Tensor:
        part = {key: tensor[rows] for key, tensor in inputs.items() if key not in drop}
        return shapley(objective, part, target[rows], absent=absent, value="probability").shapley

    parts = (found(HALF, ("audio/present",)) + found(~HALF)) / 2
    assert torch.allclose(found(torch.ones(12, dtype=torch.bool)), parts, rtol=0, atol=1e-12)


def test_every_coalition_lacks_what_the_sample_lacks() -> None:
    for net in (model(2), model(2, "early"), Opaque(model(2))):
        objective, (inputs, _) = Objective(net, F.cross_entropy), lacking()
        only_image, both = objective.coalition_logits(inputs, lattice(2), "zero-input")[1:]
        assert torch.allclose(only_image[~HALF], both[~HALF], rtol=0, atol=1e-14)
        assert not torch.allclose(only_image[HALF], both[HALF], rtol=0, atol=1e-3)


class Reading(nn.Module):
    """A model that is told which rows are there; what it writes into its own attributes would be taken back."""

    seen: ClassVar[list[list[bool]]] = []

    def __init__(self) -> None:
        super().__init__()
        self.inner = model(2)
        self.missing = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        self.seen.append(inputs["audio/present"].tolist())
        logits: Tensor = self.inner(inputs)
        return logits + self.missing * (~inputs["audio/present"])[:, None]


def test_a_model_may_read_the_masks_and_coalitions_tell_it() -> None:
    net, (inputs, target) = Reading(), lacking()
    net.seen.clear()
    assert Objective(net, F.cross_entropy).modalities(inputs) == ("audio", "image")
    Joint().on(net, F.cross_entropy)(inputs, target)
    Objective(net, F.cross_entropy).coalition_logits(inputs, lattice(2), "zero-input")
    assert net.seen == [HALF.tolist(), HALF.tolist(), [False] * 12, HALF.tolist()]


def test_sharpness_sees_zeros() -> None:
    from msam.sharpness import Landscape, ball_sharpness

    found = []
    for junk in (float("nan"), 0.0):
        objective = Objective(model(2), F.cross_entropy)
        found.append(ball_sharpness(Landscape(objective, [lacking(junk=junk)]), 0.05, 1).value)
    assert found[0] == found[1] > 0


def test_sets_at_the_end_of_an_epoch_see_zeros() -> None:
    states = []
    for junk in (float("nan"), 0.0):
        backward = make("pmr").on(model(2, noisy=False), F.cross_entropy)
        backward.next_epoch([lacking(junk=junk)], [lacking(junk=junk)])
        states.append({key: value for key, value in backward.method.state_dict().items() if isinstance(value, Tensor)})
    assert close(*states, 0.0)


@pytest.mark.parametrize(
    ("key", "mask", "message"),
    [
        ("sound/present", HALF, "Expected the modality 'sound' beside 'sound/present'"),
        ("audio/present", HALF.float(), r"must be one boolean a sample, \[12\], found torch.float32 \[12\]"),
        ("audio/present", HALF[:5], r"must be one boolean a sample, \[12\], found torch.bool \[5\]"),
        ("audio/present", HALF[:, None], r"found torch.bool \[12, 1\]"),
    ],
)
def test_a_mask_that_fits_nothing_is_refused_in_a_sentence(key: str, mask: Tensor, message: str) -> None:
    inputs, target = batch(2)
    with pytest.raises(ValueError, match=message):
        Joint().on(model(2), F.cross_entropy)({**inputs, key: mask}, target)

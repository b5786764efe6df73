"""Controls and probes of the studies: exact limits, and the notes against what they say they are."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from msam import MSAM, SAM, Joint, Objective, Shapley, shapley
from msam.attribution import NORMALIZATIONS
from msam_bench.studies.controls import GradientShare, MeanShare, ShuffledShare, gradient_norms, shares
from msam_bench.studies.instruments.decaying import Decaying
from msam_bench.studies.instruments.estimators import Estimators
from msam_bench.studies.instruments.normalizations import Normalizations
from zoo import NAMES, batch, close, gradients, model, run, same

FUSIONS = pytest.mark.parametrize("fusion", ["late", "early"])


def stepped(method: Any, net: nn.Module, count: int, seeds: range) -> list[dict[str, float | str]]:
    backward = method.on(net, F.cross_entropy)
    return [backward(*batch(count, seed=seed)).notes for seed in seeds]


# ---- controls -------------------------------------------------------------------------------------------------------


@FUSIONS
@pytest.mark.parametrize("control", [MeanShare, ShuffledShare])
def test_the_first_batch_is_msam(control: type[MSAM], fusion: str) -> None:
    net, data = model(3, fusion), batch(3)
    assert same(run(control(rho=0.2), net, *data), run(MSAM(rho=0.2), net, *data))


def test_the_mean_share_is_the_mean_of_the_shares_so_far() -> None:
    value = Shapley(value="probability")
    net, method = model(2, noisy=False), MeanShare(0.2, copy.deepcopy(value))
    seen = [float(note["share"]) for note in stepped(method, net, 2, range(5))]
    assert len(set(seen)) > 1
    mean = sum(seen) / 5
    net.zero_grad()
    stepped(method, net, 2, range(4, 5))  # the same batch again: its share is known
    other = copy.deepcopy(net)
    other.zero_grad()
    stepped(MSAM(rho=0.2, attribution=value, weight=(5 * mean + seen[4]) / 6), other, 2, range(4, 5))
    assert close(gradients(net), gradients(other), 1e-14)


def test_shuffled_shares_are_shares_that_were_seen_and_not_always_the_batch_s_own() -> None:
    method = ShuffledShare(rho=0.2)
    seen: list[float] = []
    chosen: list[float] = []
    share = ShuffledShare._share

    def watch(self: ShuffledShare, *arguments: Any) -> Any:
        own, weight = share(self, *arguments)
        chosen.append(float(weight))
        seen.append(self._shares[-1])
        return own, weight

    method._share = watch.__get__(method)  # type: ignore[method-assign]
    stepped(method, model(3), 3, range(12))
    assert all(value in seen[: place + 1] for place, value in enumerate(chosen))
    assert chosen != seen


@pytest.mark.parametrize("control", [MeanShare, ShuffledShare])
def test_controls_continue_identically_from_their_state(control: type[MSAM]) -> None:
    net, method = model(2), control(rho=0.2)
    stepped(method, net, 2, range(4))
    fresh, copied = control(rho=0.2), copy.deepcopy(net)
    fresh.load_state_dict(copy.deepcopy(method.state_dict()))
    for one, of in ((method, net), (fresh, copied)):
        of.zero_grad()
        torch.manual_seed(5)
        stepped(one, of, 2, range(4, 7))
    assert same(gradients(net), gradients(copied))


@FUSIONS
def test_gradient_share_is_msam_with_the_dominant_encoder_s_share_of_gradient_norms(fusion: str) -> None:
    net, data = model(3, fusion, noisy=False), batch(3)
    plain = run(Joint(), net, *data)
    norms = [
        torch.cat([g.flatten() for key, g in plain.items() if key.startswith(f"encoders.{name}.")]).norm()
        for name in NAMES[:3]
    ]
    dominant = NAMES.index(MSAM().on(copy.deepcopy(net), F.cross_entropy)(*data).notes["dominant"])
    weight = float(norms[dominant] / sum(norms))
    assert close(run(GradientShare(rho=0.2), net, *data), run(MSAM(rho=0.2, weight=weight), net, *data))
    assert not close(run(GradientShare(rho=0.2), net, *data), run(MSAM(rho=0.2), net, *data), 1e-6)


def test_norms_and_shares_by_hand() -> None:
    norms = gradient_norms({"a": [torch.tensor([3.0]), torch.tensor([4.0])], "b": []})
    assert norms.tolist() == [5.0, 0.0]
    assert shares(norms).tolist() == [1.0, 0.0]
    assert shares(torch.zeros(2)).tolist() == [0.0, 0.0]


# ---- probes ---------------------------------------------------------------------------------------------------------


@FUSIONS
@pytest.mark.parametrize("probe", [Normalizations(), Estimators()])
def test_probes_train_jointly(probe: Any, fusion: str) -> None:
    net, data = model(3, fusion), batch(3)
    assert close(run(probe, net, *data), run(Joint(), net, *data), 1e-15)


def test_normalizations_are_compared_with_the_gradient_s_shares() -> None:
    net, data = model(3, noisy=False), batch(3)
    notes = Normalizations("probability").on(copy.deepcopy(net), F.cross_entropy)(*data).notes
    plain = run(Joint(), net, *data)
    norms = torch.stack(
        [
            torch.cat([g.flatten() for key, g in plain.items() if key.startswith(f"encoders.{name}.")]).norm()
            for name in NAMES[:3]
        ]
    )
    truth = norms / norms.sum()
    values = torch.tensor(
        list(shapley(Objective(net, F.cross_entropy), *data, value="probability").values.values()), dtype=torch.float64
    )
    for name, normalize in NORMALIZATIONS.items():
        assert notes[f"error/{name}"] == pytest.approx(float((normalize(values) - truth).abs().sum() / 2), abs=1e-12)
    assert notes["error/uniform"] == pytest.approx(float((truth - 1 / 3).abs().sum() / 2), abs=1e-12)
    assert notes["agrees"] == float(values.argmax() == truth.argmax())
    assert notes["chance"] == pytest.approx(1 / 3)


def test_estimators_of_two_modalities_are_never_wrong() -> None:
    for notes in stepped(Estimators(), model(2), 2, range(6)):
        assert all(notes[f"wrong/{n}-pairs"] == 0 for n in Estimators.PAIRS)
        assert all(notes[f"error/{n}-pairs"] < 1e-12 for n in Estimators.PAIRS)
        assert notes["coalitions/1-pairs"] == 4
        assert notes["coalitions/reference"] == 3


def test_old_values_are_those_of_so_many_batches_ago() -> None:
    net = model(3, noisy=False)
    values = [list(shapley(Objective(net, F.cross_entropy), *batch(3, seed=seed)).values.values()) for seed in range(6)]
    notes = stepped(Estimators(), net, 3, range(6))
    assert all("wrong/5-batches-old" not in note for note in notes[:5])
    found = max(abs(a - b) for a, b in zip(values[0], values[5], strict=True))
    assert notes[5]["error/5-batches-old"] == pytest.approx(found, abs=1e-12)


def test_estimators_measure_every_so_many_batches_and_continue_from_their_state() -> None:
    method = Estimators(each=2)
    notes = stepped(method, model(3), 3, range(4))
    assert ["error/1-pairs" in note for note in notes] == [True, False, True, False]
    fresh = Estimators(each=2)
    fresh.load_state_dict(copy.deepcopy(method.state_dict()))
    assert same({"past": dict(enumerate(fresh._past))}, {"past": dict(enumerate(method._past))})
    assert fresh._batches == 4


@FUSIONS
def test_decaying_begins_as_joint_sam_or_msam_and_its_radius_falls(fusion: str) -> None:
    net, data = model(2, fusion), batch(2)
    assert close(run(Decaying(0.2, 0), net, *data), run(Joint(), net, *data), 1e-15)
    assert same(run(Decaying(0.2, 1), net, *data), run(SAM(0.2), net, *data))
    assert same(run(Decaying(0.2), net, *data), run(MSAM(0.2), net, *data))
    later = Decaying(0.2, 1)
    later._batches = 3
    assert close(run(later, net, *data), run(SAM(0.1), net, *data), 1e-15)


def test_decaying_notes_the_squared_norm_of_the_plain_gradient() -> None:
    net, data = model(2, noisy=False), batch(2)
    notes = Decaying(0.2).on(copy.deepcopy(net), F.cross_entropy)(*data).notes
    expected = sum(float(g.square().sum()) for g in run(Joint(), net, *data).values())
    assert notes["squared_gradient"] == pytest.approx(expected, rel=1e-12)

"""Two processes through gloo: equal gradients on both, the mean of their own, one reduction of gradients a batch.

Each rank climbs by its own gradient (m-sharpness), the descent gradients are averaged, and the coalitions are counted
over all ranks, so that both name the same dominant modality with the same share. The references are computed here, in
one process, from the batches of both ranks.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
import torch.nn.functional as F
from torch import Tensor, nn

from ddp import workers
from ddp.workers import CASES, METHODS, MICRO, MSAMS, SIZES, SYNCHRONISED, data, seeded
from msam import MSAM, Joint, Method, Objective, shapley
from zoo import close, gradients, model, same

pytestmark = pytest.mark.ddp

TOLERANCE = 1e-12
"""Gradients are of order one in float64; sums over ranks are made in another order."""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Results of both ranks, by case."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(workers.work, (str(folder),), nprocs=2)
    return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(2)]


def mean(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Over ranks, each with the same weight, as the wrapper averages."""
    return {key: sum(part[key] for part in parts) / len(parts) for key in parts[0]}


def pooled(method: MSAM, nets: list[nn.Module], number: int) -> tuple[set[str], float]:
    """Leading modalities and their share, of the samples of both ranks; each rank's own values by a step of its own."""
    counts: dict[str, float] = defaultdict(float)
    for rank, net in enumerate(nets):
        seeded(rank, number)
        notes = copy.deepcopy(method).on(copy.deepcopy(net), F.cross_entropy)(*data(rank, number)).notes
        for name in ("audio", "image"):
            value = notes[f"contributions/{name}"]
            assert isinstance(value, float)
            counts[name] += SIZES[rank] * value
    positive = {name: max(value, 0.0) for name, value in counts.items()}
    leading = {name for name, value in counts.items() if value > max(counts.values()) - 1e-9}
    return leading, max(positive.values()) / sum(positive.values())


def as_told(name: str, nets: list[nn.Module], number: int, notes: dict[str, Any]) -> Method:
    """The method, told the share that was computed here, and which of the leading modalities was taken."""
    method = METHODS[name]()
    if isinstance(method, MSAM):
        leading, share = pooled(method, nets, number)
        dominant = notes["dominant"]
        assert dominant in leading
        method = MSAM(0.3, scope=method.scope, dominant=dominant, weight="share" if name == "shapley" else share)
    return method


def local(method: Method, net: nn.Module, rank: int, number: int = 0, scale: float = 1.0) -> dict[str, Tensor]:
    """One step of one rank by itself; the net's statistics move on."""
    net.zero_grad()
    seeded(rank, number)
    method.on(net, lambda logits, target: scale * F.cross_entropy(logits, target))(*data(rank, number))
    return gradients(net)


def two(fusion: str) -> list[nn.Module]:
    return [model(2, fusion), model(2, fusion)]


EACH = pytest.mark.parametrize(("name", "fusion"), CASES)


# ---- one batch -------------------------------------------------------------------------------------------------------


@EACH
def test_gradients_are_equal_on_both_ranks(ranks: list[dict[str, Any]], name: str, fusion: str) -> None:
    left, right = (rank[f"step/{name}/{fusion}"] for rank in ranks)
    for one, other in zip(left["gradients"], right["gradients"], strict=True):
        assert one
        assert same(one, other)


@EACH
def test_gradients_are_the_mean_of_what_each_rank_finds_alone(
    ranks: list[dict[str, Any]], name: str, fusion: str
) -> None:
    nets, notes = two(fusion), ranks[0][f"step/{name}/{fusion}"]["notes"][0]
    expected = mean([local(as_told(name, nets, 0, notes), net, rank) for rank, net in enumerate(nets)])
    assert close(ranks[0][f"step/{name}/{fusion}"]["gradients"][0], expected, TOLERANCE)


@pytest.mark.parametrize(("name", "fusion"), [case for case in CASES if case[0] in ("sam", "gnp", "loss")])
def test_mixtures_are_the_mean_of_the_ranks_literal_ones(ranks: list[dict[str, Any]], name: str, fusion: str) -> None:
    """v g(theta + epsilon_r) + (1 - v) g(theta) from plain gradients, epsilon_r from the rank's own batch."""
    share = {"sam": 1.0, "gnp": 0.4, "loss": ranks[0][f"step/{name}/{fusion}"]["notes"][0].get("share")}[name]
    parts = []
    for rank in range(2):
        net = model(2, fusion)
        plain = local(Joint(), copy.deepcopy(net), rank)
        norm = torch.sqrt(sum(grad.square().sum() for grad in plain.values()))
        with torch.no_grad():
            for key, weight in net.named_parameters():
                weight += 0.3 * plain[key] / norm
        there = local(Joint(), net, rank)
        parts.append({key: share * there[key] + (1 - share) * plain[key] for key in plain})
    assert close(ranks[0][f"step/{name}/{fusion}"]["gradients"][0], mean(parts), TOLERANCE)


@pytest.mark.parametrize(("name", "fusion"), [case for case in CASES if case[0] in MSAMS])
def test_both_ranks_name_the_dominant_modality_and_share_of_all_samples(
    ranks: list[dict[str, Any]], name: str, fusion: str
) -> None:
    method, notes = METHODS[name](), [rank[f"step/{name}/{fusion}"]["notes"] for rank in ranks]
    assert isinstance(method, MSAM)
    leading, share = pooled(method, two(fusion), 0)
    for found in notes:
        assert found[0]["dominant"] in leading
        assert found[0]["share"] == pytest.approx(share, abs=TOLERANCE)
        assert found[1] | {"sharpness": 0} == notes[0][1] | {"sharpness": 0}
    assert notes[0][0]["sharpness"] != notes[1][0]["sharpness"]  # of the rank's own batch


@EACH
def test_gradients_are_reduced_once_a_batch(ranks: list[dict[str, Any]], name: str, fusion: str) -> None:
    counts = [2 * 3 + 1] if name in MSAMS else []  # two values of three coalitions, and the number of samples
    for rank in ranks:
        found = rank[f"step/{name}/{fusion}"]
        elements = sum(grad.numel() for grad in found["gradients"][0].values())
        assert found["reductions"] == [[*counts, elements]] * 2


@pytest.mark.parametrize(("name", "fusion"), [case for case in CASES if case[0] not in ("joint", "unimodal")])
def test_statistics_and_random_stream_are_those_of_plain_data_parallel_training(
    ranks: list[dict[str, Any]], name: str, fusion: str
) -> None:
    """Over two batches: the wrapper spreads the first rank's running statistics before each."""
    for rank in ranks:
        found, plain = rank[f"step/{name}/{fusion}"], rank[f"step/joint/{fusion}"]
        assert same(found["buffers"], plain["buffers"])
        assert torch.equal(found["random"], plain["random"])


# ---- accumulation ----------------------------------------------------------------------------------------------------


@EACH
def test_micro_batches_under_no_sync_add_up(ranks: list[dict[str, Any]], name: str, fusion: str) -> None:
    nets, expected = two(fusion), [dict[str, Tensor](), dict[str, Tensor]()]
    for number in range(MICRO):
        method = as_told(name, nets, number, ranks[0][f"accumulated/{name}/{fusion}"]["notes"][number])
        for rank, net in enumerate(nets):
            for key, grad in local(copy.deepcopy(method), net, rank, number, 1 / MICRO).items():
                expected[rank][key] = expected[rank].get(key, 0) + grad
    left, right = (rank[f"accumulated/{name}/{fusion}"]["gradients"] for rank in ranks)
    assert same(left, right)
    assert close(left, mean(expected), TOLERANCE)


@EACH
def test_micro_batches_reduce_gradients_once(ranks: list[dict[str, Any]], name: str, fusion: str) -> None:
    for rank in ranks:
        found = rank[f"accumulated/{name}/{fusion}"]
        elements = sum(grad.numel() for grad in found["gradients"].values())
        assert [size for size in found["reductions"] if size > 7] == [elements]
        assert len(found["reductions"]) == 1 + (MICRO if name in MSAMS else 0)


# ---- a perturbation of all ranks' samples ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SYNCHRONISED)
def test_synchronised_ascent_costs_one_more_reduction(ranks: list[dict[str, Any]], name: str) -> None:
    counts, more = [2 * 3 + 1] * (name in MSAMS), 2 if name == "shapley" else 1
    for rank in ranks:
        found = rank[f"synchronised/{name}"]
        elements = sum(grad.numel() for grad in found["gradients"][0].values())
        for seen in found["reductions"]:
            assert sorted(seen) == [*counts, *[elements] * (1 + more)]
    assert same(*(rank[f"synchronised/{name}"]["gradients"][0] for rank in ranks))


def test_synchronised_ascent_is_shared_within_no_sync(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        found = rank["synchronised/accumulated"]
        elements = sum(grad.numel() for grad in found["gradients"].values())
        assert found["reductions"].count(elements) == MICRO + 1
    assert same(*(rank["synchronised/accumulated"]["gradients"] for rank in ranks))


@pytest.mark.parametrize("name", ["sam", "gnp", "loss", "encoder"])
def test_synchronised_ascent_climbs_by_the_mean_gradient(ranks: list[dict[str, Any]], name: str) -> None:
    """(1 - v) mean g_r(theta) + v mean g_r(theta + epsilon), epsilon from the mean gradient (of one encoder)."""
    notes = ranks[0][f"synchronised/{name}"]["notes"][0]
    share = {"sam": 1.0, "gnp": 0.4}.get(name) or notes["share"]
    prefix = f"encoders.{notes['dominant']}." if name == "encoder" else ""
    nets = two("late")
    plain = mean([local(Joint(), copy.deepcopy(net), rank) for rank, net in enumerate(nets)])
    block = [key for key in plain if key.startswith(prefix)]
    norm = torch.sqrt(sum(plain[key].square().sum() for key in block))
    with torch.no_grad():
        for net in nets:
            weights = dict(net.named_parameters())
            for key in block:
                weights[key] += 0.3 * plain[key] / norm
    there = mean([local(Joint(), net, rank) for rank, net in enumerate(nets)])
    expected = plain | {key: share * there[key] + (1 - share) * plain[key] for key in block}
    assert close(ranks[0][f"synchronised/{name}"]["gradients"][0], expected, TOLERANCE)


# ---- errors and settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sam", "loss", "encoder", "shapley"])
@pytest.mark.parametrize("failing", [0, 1])
def test_step_after_a_step_that_raised_is_as_good_as_the_first(
    ranks: list[dict[str, Any]], name: str, failing: int
) -> None:
    """The wrapper reduces one more backward pass after a synchronised forward pass that came to nothing."""
    for rank in ranks:
        found = rank[f"error/{name}"]["found"][failing]
        assert close(found["gradients"], rank[f"step/{name}/late"]["gradients"][0], TOLERANCE)
        assert found["notes"] == rank[f"step/{name}/late"]["notes"][0]


@pytest.mark.parametrize("option", ["gradient_as_bucket_view", "find_unused_parameters"])
@pytest.mark.parametrize("name", ["joint", "loss", "encoder"])
def test_settings_of_the_wrapper_change_nothing(ranks: list[dict[str, Any]], option: str, name: str) -> None:
    """Onto gradients of 0.25 in the second step: their mean over the ranks is 0.25."""
    for rank in ranks:
        found, plain = rank[f"{option}/{name}"], rank[f"step/{name}/late"]["gradients"]
        assert close(found["first"], plain[0], TOLERANCE)
        assert close(found["second"], {key: grad + 0.25 for key, grad in plain[1].items()}, TOLERANCE)


# ---- attribution on its own ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["accuracy", "probability", "loss"])
def test_contributions_are_those_of_all_samples(ranks: list[dict[str, Any]], value: Any) -> None:
    parts = [data(0), data(1)]
    inputs = {name: torch.cat([part[0][name] for part in parts]) for name in ("audio", "image")}
    objective = Objective(model(2), F.cross_entropy)
    together = shapley(objective, inputs, torch.cat([part[1] for part in parts]), value=value).values
    for rank in ranks:
        assert rank["attributed"][value] == pytest.approx(together, abs=TOLERANCE)


def test_remembered_contributions_are_equal_on_both_ranks(ranks: list[dict[str, Any]]) -> None:
    left, right = (rank["attributed"]["remembered"] for rank in ranks)
    assert left == right
    assert left[0] == left[1] != left[2] == left[3]

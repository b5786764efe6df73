"""Loss surfaces: directions, planes through checkpoints, grids with holes."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zoo
from msam import FusionModel, LateFusion, Objective
from msam.sharpness import Landscape, Plane, random_plane, surface, trajectory_plane


def site(seed: int = 0, block: str | None = None, model: nn.Module | None = None, **options: Any) -> Landscape:
    goal = Objective(model or zoo.model(2, "early"), options.pop("criterion", F.cross_entropy))
    return Landscape(goal, [zoo.batch(2, 7, 0), zoo.batch(2, 5, 1)], block=block, seed=seed, **options)


# ---- random directions ----------------------------------------------------------------------------------------------


def test_each_filter_of_a_direction_is_as_long_as_that_of_the_weight() -> None:
    landscape = site()
    for direction in random_plane(landscape).directions:
        for weight, part in zip(landscape.weights, landscape.split(direction), strict=True):
            own = weight.detach().flatten(1).norm(dim=1) if weight.dim() > 1 else torch.zeros(len(weight))
            assert torch.allclose(part.reshape(len(weight), -1).norm(dim=1), own.to(part), rtol=1e-12)


def test_layer_normalisation_takes_each_weight_as_a_whole() -> None:
    landscape = site()
    (direction,) = random_plane(landscape, 1, normalize="layer").directions
    for weight, part in zip(landscape.weights, landscape.split(direction), strict=True):
        assert float(part.norm()) == pytest.approx(float(weight.detach().norm()) if weight.dim() > 1 else 0)


def test_convolutions_are_scaled_output_channel_by_output_channel() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(1, 3, 2), nn.Flatten()).double()
    net[0].weight.data[1] *= 100
    net[0].weight.data[2] = 0
    model = FusionModel({"audio": nn.Sequential(nn.Unflatten(1, (1, 5)), net)}, LateFusion({"audio": 12}, 4).double())
    landscape = Landscape(Objective(model, F.cross_entropy), [zoo.batch(1)], block="audio")
    part = landscape.split(random_plane(landscape, 1).directions[0])[0]
    assert torch.allclose(part.flatten(1).norm(dim=1), net[0].weight.detach().flatten(1).norm(dim=1), rtol=1e-12)
    assert not part[2].any()


def test_directions_come_from_the_seed() -> None:
    one, same, other = (random_plane(site(seed)).directions for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])


def test_models_of_one_architecture_share_the_numbers_behind_their_directions() -> None:
    larger = zoo.model(2, "early")
    for weight in larger.parameters():
        weight.data *= 3
    one, other = random_plane(site()).directions, random_plane(site(model=larger)).directions
    assert torch.allclose(3 * one, other, rtol=1e-12)


def test_no_direction_is_left_where_nothing_has_two_dimensions() -> None:
    model = FusionModel({"audio": nn.BatchNorm1d(5)}, LateFusion({"audio": 5}, 4)).double()
    landscape = Landscape(Objective(model, F.cross_entropy), [zoo.batch(1)], block="audio")
    with pytest.raises(ValueError, match="No direction is left"):
        random_plane(landscape)


# ---- grids ----------------------------------------------------------------------------------------------------------


def moved_loss(landscape: Landscape, step: Tensor) -> float:
    model = copy.deepcopy(landscape.objective.bare)
    own = {id(weight): index for index, weight in enumerate(landscape.weights)}
    pairs = zip(landscape.objective.bare.parameters(), model.parameters(), strict=True)
    for weight, twin in pairs:
        if id(weight) in own:
            twin.data += landscape.split(step)[own[id(weight)]]
    return site(model=model).loss()


@pytest.mark.parametrize("block", [None, "image", "fusion"])
def test_each_point_is_the_loss_of_the_moved_model(block: str | None) -> None:
    landscape = site(block=block)
    plane = random_plane(landscape)
    found = surface(landscape, plane, span=[(-1, 0.5), (0, 2)], points=4)
    for i, j in ((0, 0), (1, 3), (3, 2)):
        step = found.axes[0][i] * plane.directions[0] + found.axes[1][j] * plane.directions[1]
        assert float(found.losses[i, j]) == pytest.approx(moved_loss(landscape, step), rel=1e-12)
    assert found.axes[0].tolist() == pytest.approx([-1, -0.5, 0, 0.5])
    assert found.cost.losses == 17


def test_an_odd_grid_has_the_model_itself_in_its_middle() -> None:
    landscape = site()
    found = surface(landscape, random_plane(landscape), points=5)
    assert float(found.losses[2, 2]) == found.loss == landscape.loss()
    assert found.losses.shape == (5, 5)


def test_one_axis_gives_a_curve() -> None:
    landscape = site()
    found = surface(landscape, random_plane(landscape, 1), points=7, span=2)
    assert found.losses.shape == (7,)
    assert [axis.tolist()[0] for axis in found.axes] == [-2]


def test_points_without_a_finite_loss_are_holes() -> None:
    def criterion(logits: Tensor, target: Tensor) -> Tensor:
        size = logits.square().mean()
        return torch.where(size > limit, torch.inf, torch.where(size < limit / 100, torch.nan, size))

    limit = 4 * float(zoo.model(2, "early").eval()(zoo.batch(2)[0]).detach().square().mean())
    landscape = site(criterion=criterion)
    found = surface(landscape, random_plane(landscape), span=3.0, points=9)
    assert 0 < found.holes < 80
    assert int(found.losses.isnan().sum()) == found.holes
    assert not found.losses.isinf().any()


def test_one_plane_serves_several_models() -> None:
    plane = random_plane(site())
    other = zoo.model(2, "early")
    for weight in other.parameters():
        weight.data *= 1.1
    first, second = surface(site(), plane, points=3), surface(site(model=other), plane, points=3)
    assert first.axes[0].tolist() == second.axes[0].tolist()
    assert second.losses[1, 1] == second.loss != first.loss


# ---- planes through checkpoints -------------------------------------------------------------------------------------


def path_in_a_plane(landscape: Landscape, coordinates: Tensor) -> tuple[list[dict[str, Tensor]], Tensor]:
    """Checkpoints at the weights plus combinations of two orthonormal directions."""
    generator = torch.Generator().manual_seed(2)
    basis = torch.linalg.qr(torch.randn(landscape.size, 2, generator=generator, dtype=torch.float64)).Q.T
    names = [name for name, _ in landscape.objective.bare.named_parameters()]
    positions = [landscape.position() + row @ basis for row in coordinates]
    return [dict(zip(names, landscape.split(position), strict=True)) for position in positions], basis


PATH = torch.tensor([[3.0, 0.5], [2.0, -0.5], [1.0, 0.5], [0.0, 0.0]], dtype=torch.float64)


def test_a_trajectory_in_a_plane_is_found_exactly() -> None:
    landscape = site()
    checkpoints, basis = path_in_a_plane(landscape, PATH)
    plane = trajectory_plane(landscape, checkpoints)
    assert plane.path is not None
    assert plane.explained is not None
    assert sum(plane.explained) == pytest.approx(1)
    assert plane.explained[0] > plane.explained[1]
    assert torch.allclose(plane.directions @ plane.directions.T, torch.eye(2).double(), atol=1e-10)
    assert torch.allclose(plane.path @ plane.directions, PATH @ basis, atol=1e-10)
    assert plane.path[-1].tolist() == [0, 0]
    assert plane.labels[0].startswith("component 1 (9")


def test_points_of_a_path_have_the_losses_of_its_checkpoints() -> None:
    landscape = site()
    checkpoints, _ = path_in_a_plane(landscape, PATH)
    plane = trajectory_plane(landscape, checkpoints[::-1])
    assert plane.path is not None
    for state, (a, b) in zip(checkpoints[::-1], plane.path.tolist(), strict=True):
        found = surface(landscape, plane, span=[(a, a + 1), (b, b + 1)], points=2)
        model = zoo.model(2, "early")
        model.load_state_dict({**model.state_dict(), **state})
        assert float(found.losses[0, 0]) == pytest.approx(site(model=model).loss(), rel=1e-9)


def test_a_trajectory_of_one_block_uses_its_weights_only() -> None:
    landscape = site(block="audio")
    named = dict(landscape.objective.bare.named_parameters())
    states = [{k: w.detach() + torch.randn_like(w) for k, w in named.items()} for _ in range(3)]
    plane = trajectory_plane(landscape, states)
    assert plane.directions.shape == (2, landscape.size)
    assert trajectory_plane(landscape, states[:2], axes=1).directions.shape == (1, landscape.size)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda states: states[:2], "at least 3 finite checkpoints"),
        (
            lambda states: [{k: v * math.nan for k, v in states[0].items()}, *states[1:]],
            "leave out those that diverged",
        ),
        (lambda states: [states[0]] * 4, "do not span 2 directions"),
        (lambda states: [states[0], states[3], states[3], states[3]], "do not span 2 directions"),
        (lambda states: [{}, *states[1:]], r"no encoders\.audio\.0\.weight of the model's shape"),
        (lambda states: [{k: v[:1] for k, v in states[0].items()}, *states[1:]], "of the model's shape"),
    ],
)
def test_checkpoints_that_give_no_plane_are_refused(change: Any, words: str) -> None:
    landscape = site()
    checkpoints, _ = path_in_a_plane(landscape, PATH)
    with pytest.raises(ValueError, match=words):
        trajectory_plane(landscape, change(checkpoints))


# ---- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"points": 1}, "points >= 2"),
        ({"points": 2.5}, "points must be a whole number"),
        ({"span": 0}, "low < high"),
        ({"span": [(0, 1)]}, "for 2 axes"),
        ({"span": [(0, 1), (1, math.inf)]}, "low < high"),
        ({"plane": Plane(torch.zeros(2, 3), ("a", "b"))}, "The plane has 3 dimensions"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(arguments: dict[str, Any], words: str) -> None:
    landscape = site()
    plane = arguments.pop("plane", None) or random_plane(landscape)
    with pytest.raises(ValueError, match=words):
        surface(landscape, plane, **arguments)


def test_directions_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="1 or 2 axes, found 3"):
        random_plane(site(), 3)
    with pytest.raises(ValueError, match="normalize must be one of"):
        random_plane(site(), normalize="none")  # type: ignore[arg-type]

"""Sharpness and curvature against closed forms, dense Hessians and independent implementations."""

from __future__ import annotations

import gc
import math
from collections import UserDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zoo
from msam import FusionModel, LateFusion, Objective
from msam.coalition import ABSENT
from msam.perturbation import asam_epsilon, ball
from msam.sharpness import (
    Landscape,
    average_sharpness,
    ball_sharpness,
    density,
    m_sharpness,
    random_plane,
    surface,
    top_eigenvalues,
    trace,
    trajectory_plane,
)
from msam.types import Inputs

# torch's own formulas for forward-mode derivatives are still scripted
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

# ---- a quadratic whose spectrum is known ----------------------------------------------------------------------------

SPECTRUM = torch.cat([torch.tensor([31.62, 25.72, 20.92]), torch.linspace(5, 0.01, 34), torch.tensor([-0.5, -2, -3])])


class Bowl(nn.Module):
    """`z(w) = R (w - w*)`: with `quadratic` the loss is `1/2 z^T S z`, whose Hessian has the spectrum S."""

    def __init__(self, size: int, dtype: torch.dtype, away: float) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        rotation = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
        self.register_buffer("rotation", rotation.to(dtype))
        self.weight = nn.Parameter(away * torch.randn(size, generator=generator, dtype=torch.float64).to(dtype))

    def forward(self, inputs: Inputs) -> Tensor:
        return (self.rotation @ self.weight).expand(len(inputs["x"]), -1)


def bowl(
    spectrum: Tensor = SPECTRUM, dtype: torch.dtype = torch.float64, away: float = 0.1, **options: Any
) -> Landscape:
    scale = spectrum.to(dtype)

    def quadratic(logits: Tensor, target: Tensor) -> Tensor:
        return (logits.square() * scale).sum(1).mean() / 2

    objective = Objective(Bowl(len(spectrum), dtype, away), quadratic)
    return Landscape(objective, [({"x": torch.zeros(4, 1)}, torch.zeros(4))], **options)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_eigenvalues_of_a_quadratic(dtype: torch.dtype) -> None:
    found = top_eigenvalues(bowl(dtype=dtype), 3)
    assert found.values == pytest.approx([31.62, 25.72, 20.92], rel=1e-5)
    assert found.converged
    assert found.cost.products == found.steps < 40


@pytest.mark.parametrize(
    ("which", "expected"),
    [("smallest", [-3, -2]), ("magnitude", [31.62, 25.72]), ("largest", [31.62, 25.72])],
)
def test_both_ends_of_the_spectrum(which: Any, expected: list[float]) -> None:
    assert top_eigenvalues(bowl(), 2, which=which, tolerance=1e-6).values == pytest.approx(expected, rel=1e-5)


def test_eigenvalues_say_when_they_have_not_converged() -> None:
    found = top_eigenvalues(bowl(), 3, steps=4)
    assert not found.converged
    assert found.steps == 4
    assert max(found.residuals) > 1e-4 * found.values[0]


def test_residuals_and_vectors_are_those_of_eigenpairs() -> None:
    landscape = bowl()
    found = top_eigenvalues(landscape, 3, steps=9, vectors=True)
    assert found.vectors is not None
    for value, residual, vector in zip(found.values, found.residuals, found.vectors, strict=True):
        assert float(vector.norm()) == pytest.approx(1, abs=1e-12)
        assert float((landscape.curvature(vector) - value * vector).norm()) == pytest.approx(
            residual, rel=1e-6, abs=1e-9
        )


@pytest.mark.parametrize("basis", [4, 5, 8, 40])
def test_a_small_basis_finds_the_same_eigenpairs(basis: int) -> None:
    landscape = bowl()
    found = top_eigenvalues(landscape, 3, basis=basis, steps=200, vectors=True)
    assert found.values == pytest.approx([31.62, 25.72, 20.92], rel=1e-5)
    assert found.converged
    assert found.vectors is not None
    assert torch.allclose(found.vectors @ found.vectors.T, torch.eye(3).double(), atol=1e-10)
    for value, residual, vector in zip(found.values, found.residuals, found.vectors, strict=True):
        off = float((landscape.curvature(vector) - value * vector).norm())
        assert off == pytest.approx(residual, rel=1e-6, abs=1e-9)


def test_a_large_basis_takes_fewer_products() -> None:
    small, large = (top_eigenvalues(bowl(), 2, which="smallest", steps=200, basis=basis) for basis in (4, 40))
    assert small.converged
    assert large.converged
    assert small.values == pytest.approx(large.values, rel=1e-3)
    assert large.steps < small.steps


def test_no_more_vectors_are_kept_than_the_basis_has(monkeypatch: pytest.MonkeyPatch) -> None:
    landscape, seen = bowl(), []
    product = landscape.curvature

    def curvature(vector: Tensor) -> Tensor:
        alive = (thing for thing in gc.get_objects() if type(thing) is Tensor)
        seen.append(sum(tensor.shape == (landscape.size,) for tensor in alive))
        return product(vector)

    monkeypatch.setattr(landscape, "curvature", curvature)
    measures: list[Callable[[], Any]] = [
        lambda: top_eigenvalues(landscape, 1, steps=60, tolerance=1e-15, basis=6),
        lambda: trace(landscape, 60, estimator="hutch++", basis=6),
        lambda: density(landscape, 2, 30, basis=6),
    ]
    for measure in measures:
        before = len(seen)
        measure()
        assert max(seen[before:]) - seen[before] <= 6


def test_all_eigenvalues_of_a_quadratic() -> None:
    found = top_eigenvalues(bowl(), 40)
    assert torch.tensor(found.values) == pytest.approx(SPECTRUM.sort(descending=True).values, abs=1e-5)
    assert found.converged


def test_repeated_eigenvalues_are_found_when_steps_are_left() -> None:
    found = top_eigenvalues(bowl(torch.tensor([5.0, 5.0, 1.0, 1.0, 1.0, 0.0])), 3)
    assert found.values == pytest.approx([5, 5, 1], abs=1e-9)


def test_a_hessian_of_zeros_has_zero_eigenvalues() -> None:
    landscape = bowl(torch.zeros(5))
    assert top_eigenvalues(landscape, 2).values == (0, 0)
    assert trace(landscape, estimator="hutch++").value == 0
    assert density(landscape, 2).mass == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("estimator", ["hutchinson", "hutch++"])
def test_trace_lies_within_its_standard_error(estimator: Any) -> None:
    found = [trace(bowl(seed=seed), 24, estimator=estimator) for seed in range(80)]
    scores = torch.tensor([(one.value - float(SPECTRUM.double().sum())) / one.error for one in found])
    assert abs(float(scores.mean())) < 3.5 / math.sqrt(80)
    assert 0.8 < float(scores.square().mean().sqrt()) < 1.5  # Student's t with 7 degrees has 1.18
    assert {one.cost.products for one in found} == {24}


def test_hutchpp_is_better_where_few_eigenvalues_dominate() -> None:
    plain, better = trace(bowl(), 36), trace(bowl(), 36, estimator="hutch++")
    assert better.error < plain.error / 2
    assert abs(better.value - float(SPECTRUM.sum())) < 3 * better.error


def test_hutchpp_is_exact_with_products_for_the_whole_space() -> None:
    found = trace(bowl(torch.tensor([3.0, 2.0, -1.0])), 12, estimator="hutch++")
    assert (found.value, found.error) == (pytest.approx(4, abs=1e-9), 0)


def test_density_integrates_to_one_and_has_the_moments() -> None:
    found = density(bowl(), probes=40, steps=20)
    assert found.mass == pytest.approx(1, abs=1e-6)
    assert float(found.shares.sum()) == pytest.approx(1, abs=1e-12)
    assert found.trace == pytest.approx(float(SPECTRUM.sum()), abs=3 * found.trace_error)
    assert float(found.nodes @ found.shares) * 40 == pytest.approx(found.trace)
    assert float(found.nodes.max()) == pytest.approx(31.62, abs=1e-3)


def test_density_needs_no_whole_basis() -> None:
    whole, short = (density(bowl(), probes=10, steps=35, basis=basis) for basis in (40, 3))
    for moment in (1, 2, 3):
        expected = float(whole.nodes**moment @ whole.shares)
        assert float(short.nodes**moment @ short.shares) == pytest.approx(expected, rel=1e-4)
    assert float((whole.values - short.values).abs().max()) < 0.02 * float(whole.values.max())


def test_density_puts_each_eigenvalue_where_it_is() -> None:
    found = density(bowl(torch.tensor([1.0, 1.0, 1.0, 9.0])), probes=400, steps=10, width=0.02)
    below = found.grid < 5
    share = torch.trapezoid(found.values[below], found.grid[below])
    assert float(share) == pytest.approx(0.75, abs=0.06)
    assert float(found.grid[found.values.argmax()]) == pytest.approx(1, abs=0.02)


# ---- sharpness in a ball --------------------------------------------------------------------------------------------


def highest_rise(landscape: Landscape, rho: float) -> float:
    """`max l(w + e) - l(w)` over the ball for the bowl: on its rim, `(mu - S) e = g` with mu above all eigenvalues."""
    net = landscape.objective.bare
    offset = (net.rotation @ net.weight).detach()
    slope = SPECTRUM.double() * offset

    def step(mu: float) -> Tensor:
        return slope / (mu - SPECTRUM.double())

    low, high = float(SPECTRUM.max()) + 1e-12, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if float(step(middle).norm()) > rho else (low, middle)
    end = step(high)
    return float(slope @ end + (SPECTRUM.double() * end.square()).sum() / 2)


@pytest.mark.parametrize("rho", [0.01, 0.3])
def test_ascent_reaches_the_maximum_in_the_ball(rho: float) -> None:
    found = [ball_sharpness(bowl(), rho, steps).value for steps in (1, 3, 10, 100)]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(highest_rise(bowl(), rho), rel=1e-4)
    assert found[0] < highest_rise(bowl(), rho)


def test_ascent_from_the_bottom_of_the_bowl_is_no_silent_zero() -> None:
    found = ball_sharpness(bowl(away=0.0), 0.3, 60)
    assert found.stationary == 1
    assert found.value == pytest.approx(31.62 * 0.3**2 / 2, rel=1e-3)
    assert ball_sharpness(bowl(away=0.0), 0.3).value > 0


def manual(landscape: Landscape, epsilon: list[Tensor]) -> float:
    weights = landscape.weights
    before = landscape.loss()
    for weight, move in zip(weights, epsilon, strict=True):
        weight.data += move
    after = landscape.loss()
    for weight, move in zip(weights, epsilon, strict=True):
        weight.data -= move
    return after - before


@pytest.mark.parametrize("block", [None, "audio", "fusion"])
def test_one_step_is_the_point_that_sam_and_asam_climb_to(block: str | None) -> None:
    landscape = site(block=block)
    gradient = landscape.split(landscape.gradient())
    plain, adaptive = ball(gradient, 0.1), asam_epsilon(landscape.weights, gradient, 0.5, 0.01)
    assert ball_sharpness(landscape, 0.1).value == pytest.approx(manual(landscape, plain), rel=1e-9)
    found = ball_sharpness(landscape, 0.5, adaptive=True, eta=0.01)
    assert found.value == pytest.approx(manual(landscape, adaptive), rel=1e-9)


def test_m_sharpness_is_the_mean_over_micro_batches() -> None:
    inputs, target = zoo.batch(2, 10)
    whole = Landscape(objective(), [(inputs, target)])
    parts = [({m: x[rows] for m, x in inputs.items()}, target[rows]) for rows in (slice(4), slice(4, 8), slice(8, 10))]
    each = [ball_sharpness(Landscape(objective(), [part]), 0.05, 2).value for part in parts]
    found = m_sharpness(whole, 0.05, 4, 2)
    assert found.value == pytest.approx(np.average(each, weights=[4, 4, 2]), rel=1e-9)
    assert (found.cost.losses, found.cost.gradients) == (4, 2)
    alone = m_sharpness(whole, 0.05, 10, 2)
    assert alone.value == pytest.approx(ball_sharpness(whole, 0.05, 2).value, rel=1e-12)
    assert math.isnan(alone.error)


def test_m_sharpness_grows_as_micro_batches_shrink() -> None:
    found = [m_sharpness(site(), 0.05, size).value for size in (12, 6, 3, 1)]
    assert found == sorted(found)


def test_inputs_that_are_no_tensors_go_with_every_micro_batch() -> None:
    inputs, target = zoo.batch(2)
    named = Landscape(objective(), [({**inputs, "source": "a string"}, target)])
    assert m_sharpness(named, 0.05, 4).value == m_sharpness(Landscape(objective(), [(inputs, target)]), 0.05, 4).value


def test_average_sharpness_of_a_quadratic_is_half_the_trace() -> None:
    found = [average_sharpness(bowl(seed=seed), 0.1, 8) for seed in range(60)]
    scores = torch.tensor([(one.value - 0.1**2 / 2 * float(SPECTRUM.double().sum())) / one.error for one in found])
    assert abs(float(scores.mean())) < 3.5 / math.sqrt(60)
    assert 0.8 < float(scores.square().mean().sqrt()) < 1.5
    assert (found[0].cost.losses, found[0].cost.gradients) == (17, 0)


def rescaled(by: float) -> Landscape:
    """A ReLU network whose layers are scaled by inverse factors: the same function."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 4)).double()
    for weight in net[0].parameters():
        weight.data *= by
    net[2].weight.data /= by
    model = FusionModel({"audio": net}, LateFusion({"audio": 4}, 4).double())
    return Landscape(Objective(model, F.cross_entropy), [zoo.batch(1)])


def test_adaptive_sharpness_does_not_see_a_rescaling() -> None:
    def numbers(landscape: Landscape, adaptive: bool) -> list[float]:
        climbs = [ball_sharpness(landscape, 0.1, steps, adaptive=adaptive).value for steps in (1, 5)]
        parts = m_sharpness(landscape, 0.1, 3, adaptive=adaptive).value
        return [*climbs, parts, average_sharpness(landscape, 0.05, adaptive=adaptive).value]

    assert numbers(rescaled(7), True) == pytest.approx(numbers(rescaled(1), True), rel=1e-9)
    assert numbers(rescaled(7), False) != pytest.approx(numbers(rescaled(1), False), rel=0.1)


# ---- small networks: the dense Hessian ------------------------------------------------------------------------------


def objective(fusion: str = "late", noisy: bool = True, count: int = 2) -> Objective:
    return Objective(zoo.model(count, fusion, noisy), F.cross_entropy)


def batches(count: int = 2) -> list[tuple[dict[str, Tensor], Tensor]]:
    return [zoo.batch(count, 7, 0), zoo.batch(count, 5, 1)]


def site(fusion: str = "late", noisy: bool = True, **options: Any) -> Landscape:
    return Landscape(objective(fusion, noisy), batches(), **options)


def together(landscape: Landscape) -> tuple[dict[str, Tensor], Tensor]:
    inputs = {name: torch.cat([one[name] for one, _ in landscape.batches]) for name in landscape.batches[0][0]}
    return inputs, torch.cat([target for _, target in landscape.batches])


def dense(landscape: Landscape, logits: Callable[[nn.Module, Inputs], Tensor]) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian by the landscape's weights, by forward over reverse differentiation of one flat vector."""
    net = landscape.objective.bare.eval()
    names = [n for n, w in net.named_parameters() if any(w is own for own in landscape.weights)]
    inputs, target = together(landscape)

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self) -> Tensor:
            return logits(self.net, inputs)

    def loss(vector: Tensor) -> Tensor:
        weights = {f"net.{name}": part for name, part in zip(names, landscape.split(vector), strict=True)}
        return F.cross_entropy(torch.func.functional_call(Logits(), weights, ()), target)

    where = landscape.position()
    return torch.func.grad(loss)(where).detach(), torch.func.hessian(loss)(where).detach()


def everything(net: nn.Module, inputs: Inputs) -> Tensor:
    return net(inputs)


def assembled(landscape: Landscape) -> Tensor:
    return torch.stack([landscape.curvature(row) for row in torch.eye(landscape.size, dtype=torch.float64)])


@pytest.mark.parametrize("block", [None, "audio", "image", "fusion"])
@pytest.mark.parametrize(("fusion", "noisy"), [("late", True), ("late", False), ("early", False)])
def test_equals_the_dense_hessian_and_its_blocks(fusion: str, noisy: bool, block: str | None) -> None:
    landscape = site(fusion, noisy, block=block)
    gradient, hessian = dense(landscape, everything)
    assert torch.allclose(landscape.gradient(), gradient, rtol=0, atol=1e-12)
    assert torch.allclose(assembled(landscape), hessian, rtol=0, atol=1e-12)
    values = torch.linalg.eigvalsh(hessian).flip(0)
    found = top_eigenvalues(landscape, 2)
    assert found.values == pytest.approx(values[:2].tolist(), rel=1e-5)
    rough = trace(landscape, 40)
    assert rough.value == pytest.approx(float(values.sum()), abs=4 * rough.error)


def test_equals_the_dense_hessian_with_maxout_and_normalised_fusion() -> None:
    landscape = site("early", True, block="fusion")
    _, hessian = dense(landscape, everything)
    vector = landscape.noise(landscape.generator())
    assert torch.allclose(landscape.curvature(vector), hessian @ vector, rtol=0, atol=1e-11)


def test_blocks_are_blocks_of_the_whole() -> None:
    landscape = site("early", False)
    start = 0
    for block in ("audio", "image", "fusion"):
        own = site("early", False, block=block)
        vector, rows = own.noise(own.generator()), slice(start, start + own.size)
        around = torch.zeros(landscape.size, dtype=torch.float64)
        around[rows] = vector
        assert torch.allclose(own.curvature(vector), landscape.curvature(around)[rows], rtol=0, atol=1e-13)
        start += own.size
    assert start == landscape.size


def test_hutchpp_is_exact_on_a_network_with_products_for_its_whole_block() -> None:
    landscape = site(block="audio")
    exact = float(torch.trace(assembled(landscape)))
    assert trace(landscape, 3 * landscape.size, estimator="hutch++").value == pytest.approx(exact, abs=1e-9)


def test_single_precision_agrees_with_double() -> None:
    model = zoo.model(2, dtype=torch.float32)
    data = [({m: x.float() for m, x in inputs.items()}, target) for inputs, target in batches()]
    single = Landscape(Objective(model, F.cross_entropy), data)
    assert top_eigenvalues(single, 2).values == pytest.approx(top_eigenvalues(site(), 2).values, rel=1e-4)
    assert trace(single, 20).value == pytest.approx(trace(site(), 20).value, rel=1e-4)


def without_image(absent: str) -> Callable[[nn.Module, Inputs], Tensor]:
    def logits(net: nn.Module, inputs: Inputs) -> Tensor:
        image = net.encoders["image"](inputs["image"])
        gone = {
            "zero-input": lambda: net.encoders["image"](torch.zeros_like(inputs["image"])),
            "zero-feature": lambda: torch.zeros_like(image),
            "mean-feature": lambda: image.mean(0, keepdim=True).expand_as(image),
        }
        return net.fusion({"audio": net.encoders["audio"](inputs["audio"]), "image": gone[absent]()})

    return logits


@pytest.mark.parametrize("absent", ["zero-input", "zero-feature", "mean-feature"])
@pytest.mark.parametrize(("fusion", "block"), [("late", "audio"), ("early", None)])
def test_the_loss_of_one_modality_has_a_landscape_too(absent: Any, fusion: str, block: str | None) -> None:
    data = [zoo.batch(2)]  # one batch: mean-feature is taken within it
    landscape = Landscape(objective(fusion, False), data, block=block, coalition="audio", absent=absent)
    gradient, hessian = dense(landscape, without_image(absent))
    assert torch.allclose(landscape.gradient(), gradient, rtol=0, atol=1e-12)
    assert torch.allclose(assembled(landscape), hessian, rtol=0, atol=1e-12)


@pytest.mark.parametrize("absent", [kind for kind in ABSENT if kind != "shuffle"])
@pytest.mark.parametrize("fusion", ["late", "early"])
def test_losses_of_coalitions_are_those_of_the_objective(absent: Any, fusion: str) -> None:
    goal, (inputs, target) = objective(fusion, True, 3), zoo.batch(3)
    mask = torch.tensor([[True, False, True]])
    expected = goal.loss(goal.coalition_logits(inputs, mask, absent)[0], target)
    landscape = Landscape(goal, [(inputs, target)], coalition=["text", "audio"], absent=absent)
    assert landscape.loss() == pytest.approx(float(expected), rel=1e-12)
    assert landscape.site.coalition == ("audio", "text")


def test_shuffled_partners_depend_on_the_seed_only() -> None:
    def loss(seed: int) -> float:
        return site(coalition="audio", absent="shuffle", seed=seed).loss()

    assert loss(0) == loss(0) != loss(1)


@pytest.mark.parametrize("wrapper", [zoo.Opaque, zoo.Unfusable])
def test_models_that_show_less_mask_their_inputs(wrapper: type[nn.Module]) -> None:
    inputs, target = zoo.batch(2)
    goal = Objective(wrapper(zoo.model(2)), F.cross_entropy)
    landscape = Landscape(goal, [(inputs, target)], coalition="image")
    masked = {**inputs, "audio": torch.zeros_like(inputs["audio"])}
    assert landscape.loss() == pytest.approx(float(goal.loss(goal.logits(masked), target)), rel=1e-12)
    assert top_eigenvalues(landscape).converged


# ---- independent implementations ------------------------------------------------------------------------------------


def test_agrees_with_scipy_on_functional_products() -> None:
    landscape = site("early", False)
    net = landscape.objective.bare.eval()
    inputs, target = together(landscape)
    names = [name for name, _ in net.named_parameters()]

    def loss(vector: Tensor) -> Tensor:
        weights = dict(zip(names, landscape.split(vector), strict=True))
        return F.cross_entropy(torch.func.functional_call(net, weights, (inputs,)), target)

    def product(vector: np.ndarray) -> np.ndarray:
        return torch.func.jvp(torch.func.grad(loss), (landscape.position(),), (torch.from_numpy(vector),))[1].numpy()

    size = landscape.size
    operator = scipy.sparse.linalg.LinearOperator((size, size), product, dtype=np.float64)
    start = np.random.default_rng(0).normal(size=size)
    values = scipy.sparse.linalg.eigsh(operator, 3, which="LA", v0=start, return_eigenvectors=False)
    assert top_eigenvalues(landscape, 3).values == pytest.approx(sorted(values, reverse=True), rel=1e-6)


def test_agrees_with_hessian_eigenthings() -> None:
    oracle = pytest.importorskip("hessian_eigenthings")
    landscape = site(block="audio")
    net = landscape.objective.bare.eval()
    operator = oracle.HessianOperator(
        net,
        batches(),
        lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]) * len(batch[1]) / 6,
        param_filter=lambda name, _: name.startswith("encoders.audio"),
    )
    found = oracle.lanczos(operator, k=2, which="LA", max_iter=50, reorthogonalize=True)  # its defaults lose the top
    assert top_eigenvalues(landscape, 2).values == pytest.approx(sorted(found.eigenvalues.tolist())[::-1], rel=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_agrees_with_curvlinops() -> None:
    oracle = pytest.importorskip("curvlinops")
    landscape = site(block="audio")
    net = landscape.objective.bare.eval()
    weights = list(net.encoders["audio"].parameters())
    data = [(UserDict(inputs), target) for inputs, target in batches()]
    options = {"check_deterministic": False, "batch_size_fn": lambda inputs: len(inputs["audio"])}
    operator = oracle.HessianLinearOperator(net, nn.CrossEntropyLoss(), weights, data, **options)
    vector = landscape.noise(landscape.generator())
    assert torch.allclose(landscape.curvature(vector), operator @ vector, rtol=0, atol=1e-12)


# ---- nothing is touched ---------------------------------------------------------------------------------------------

MEASURES: dict[str, Callable[[Landscape], Any]] = {
    "ball": lambda it: ball_sharpness(it, 0.05, 3),
    "adaptive": lambda it: ball_sharpness(it, 0.5, adaptive=True),
    "m": lambda it: m_sharpness(it, 0.05, 4),
    "average": lambda it: average_sharpness(it, pairs=2),
    "eigenvalues": lambda it: top_eigenvalues(it, 2, steps=6),
    "trace": lambda it: trace(it, 6, estimator="hutch++"),
    "density": lambda it: density(it, 2, 4),
    "surface": lambda it: surface(it, random_plane(it), points=3),
    "trajectory": lambda it: surface(it, trajectory_plane(it, checkpoints(it)), points=3),
}


def checkpoints(landscape: Landscape) -> list[dict[str, Tensor]]:
    state = landscape.objective.bare.state_dict()
    generator = torch.Generator().manual_seed(0)
    moved = [
        {k: v + torch.randn(v.shape, generator=generator) if v.is_floating_point() else v for k, v in state.items()}
    ]
    return [*moved, *[{k: v * 1.1 for k, v in state.items()}], state]


class Restless(nn.Module):
    """Draws and counts in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + 0.1 * torch.randn_like(x)


def restless() -> FusionModel:
    model = zoo.model(2, "early").train()
    model.encoders["audio"].append(Restless())
    model.encoders["image"].eval()
    return model


def remember(model: nn.Module) -> dict[str, Any]:
    gradients = {name: weight.grad for name, weight in model.named_parameters()}
    copies = {name: None if grad is None else grad.clone() for name, grad in gradients.items()}
    return {**zoo.state(model), "gradients": copies, "identity": [id(grad) for grad in gradients.values()]}


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("block", [None, "audio"])
def test_leaves_no_trace(name: str, block: str | None) -> None:
    model = restless()
    Objective(model, F.cross_entropy).accumulate_gradient(*zoo.batch(2))
    next(iter(model.parameters())).grad = None
    landscape = Landscape(Objective(model, F.cross_entropy), batches(), block=block)
    before = remember(model)
    first = MEASURES[name](landscape)
    assert zoo.same(remember(model), before)
    torch.randn(3)
    again = MEASURES[name](landscape)
    for field in ("value", "values", "losses"):
        assert zoo.same(getattr(first, field, None), getattr(again, field, None))


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("fails_at", [1, 2, 4])
def test_leaves_no_trace_when_the_criterion_raises(name: str, fails_at: int) -> None:
    model, calls = restless(), iter(range(1, 1000))

    def criterion(logits: Tensor, target: Tensor) -> Tensor:
        if next(calls) == fails_at:
            raise RuntimeError("no loss today")
        return F.cross_entropy(logits, target)

    landscape = Landscape(Objective(model, criterion), batches())
    before = remember(model)
    with pytest.raises(RuntimeError, match="no loss today"):
        MEASURES[name](landscape)
    assert zoo.same(remember(model), before)


@pytest.mark.parametrize("name", MEASURES)
def test_works_where_gradients_are_off(name: str) -> None:
    expected = MEASURES[name](site())
    with torch.no_grad():
        found = MEASURES[name](site())
    for field in ("value", "values", "losses"):
        assert zoo.same(getattr(found, field, None), getattr(expected, field, None))


def test_a_shuffling_loader_gives_the_same_data_and_leaves_the_stream() -> None:
    inputs, target = zoo.batch(1, 12)
    data = torch.utils.data.TensorDataset(inputs["audio"], target)

    def some() -> Any:
        loader = torch.utils.data.DataLoader(data, 4, shuffle=True)
        return (({"audio": x}, y) for x, y in list(loader)[:2])

    goal = objective(count=1)
    before = torch.get_rng_state()
    losses = [Landscape(goal, _Lazily(some), seed=seed).loss() for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(torch.get_rng_state(), before)


class _Lazily:
    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def __iter__(self) -> Any:
        return self.make()


# ---- models with kernels of their own -------------------------------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.LSTM(5, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x[:, None].expand(-1, 3, -1))[0][:, -1]


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
        self.up = nn.Linear(7, 18)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.up(x).view(-1, 3, 6)).mean(1)


def test_recurrent_and_attention_encoders_have_hessians() -> None:
    encoders = {"audio": Recurrent(), "image": Attentive()}
    model = FusionModel(encoders, LateFusion({"audio": 6, "image": 6}, 4)).double()
    landscape = Landscape(Objective(model, F.cross_entropy), batches())
    vector = landscape.noise(landscape.generator())
    slope = (landscape.gradient(1e-5 * vector) - landscape.gradient(-1e-5 * vector)) / 2e-5
    assert torch.allclose(landscape.curvature(vector), slope, rtol=0, atol=1e-6)
    assert top_eigenvalues(landscape).converged


class Once(torch.autograd.Function):
    """Its backward pass cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return 2 * slope


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return Once.apply(super().forward(x))


def test_a_part_without_second_derivative_is_named() -> None:
    model = FusionModel({"audio": Doubled(5, 6)}, LateFusion({"audio": 6}, 4)).double()
    landscape = Landscape(Objective(model, F.cross_entropy), [zoo.batch(1)])
    assert math.isfinite(ball_sharpness(landscape).value)
    with pytest.raises(ValueError, match="no second derivative"):
        top_eigenvalues(landscape)


# ---- what cannot be measured is said --------------------------------------------------------------------------------


def test_a_diverged_model_is_refused() -> None:
    landscape = site()
    landscape.weights[1].data[0] = math.nan
    for name, measure in MEASURES.items():
        if name != "trajectory":
            with pytest.raises(ValueError, match=r"diverged: encoders\.audio\.0\.bias"):
                measure(landscape)


def test_a_loss_that_is_not_finite_is_refused() -> None:
    inputs, target = zoo.batch(2)
    inputs["audio"][0, 0] = math.nan
    with pytest.raises(ValueError, match="The loss is nan"):
        ball_sharpness(Landscape(objective(), [(inputs, target)]))


def linear(logits: Tensor, target: Tensor) -> Tensor:
    return logits.mean()


def root(logits: Tensor, target: Tensor) -> Tensor:
    return (0 * logits).abs().sqrt().mean() + logits.square().mean()


def test_points_without_derivative_are_said_or_marked() -> None:
    goal = Objective(zoo.model(2), root)
    found = ball_sharpness(Landscape(goal, batches()))
    assert math.isnan(found.value)
    assert found.holes == 1
    with pytest.raises(ValueError, match="not finite here"):
        trace(Landscape(goal, batches()))


def test_a_loss_linear_in_the_block_has_no_silent_hessian() -> None:
    model = FusionModel({"audio": nn.Linear(5, 6)}, LateFusion({"audio": 6}, 4)).double()
    with pytest.raises(ValueError, match="linear in them"):
        top_eigenvalues(Landscape(Objective(model, linear), [zoo.batch(1)], block="fusion"))


def test_holes_beyond_the_middle_give_nan() -> None:
    def cliff(logits: Tensor, target: Tensor) -> Tensor:
        here = F.cross_entropy(logits, target)
        return torch.where(here > level, torch.inf, here)

    level = max(part.loss() for part in site().micro(6)) + 1e-4
    landscape = Landscape(Objective(zoo.model(2), cliff), batches())
    assert math.isnan(ball_sharpness(landscape, 0.5, 3).value)
    assert math.isnan(average_sharpness(landscape, 0.5, 3).value)
    assert average_sharpness(landscape, 0.5, 3).holes == 3
    assert math.isnan(m_sharpness(landscape, 5.0, 6).value)


def test_a_block_that_the_loss_does_not_use_is_refused() -> None:
    landscape = site(block="image", coalition="audio", absent="zero-feature")
    for measure in (ball_sharpness, top_eigenvalues, trace):
        with pytest.raises(ValueError, match="does not depend on these weights"):
            measure(landscape)


def test_a_vanishing_gradient_gives_a_direction_at_random() -> None:
    model = zoo.model(2)
    for weight in model.parameters():
        weight.data.zero_()
    landscape = Landscape(Objective(model, lambda z, y: z.square().mean()), batches())
    found = ball_sharpness(landscape, 0.1)
    assert found.stationary == 1
    assert found.value > 0
    with pytest.raises(ValueError, match="All weights of the block are zero"):
        ball_sharpness(landscape, 0.1, adaptive=True)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_loss_scale_does_not_change_the_direction(scale: float) -> None:
    model = zoo.model(2, dtype=torch.float32)
    data = [({m: x.float() for m, x in inputs.items()}, target) for inputs, target in batches()]
    plain = ball_sharpness(Landscape(Objective(model, F.cross_entropy), data), 0.1)
    scaled = Objective(model, lambda z, y: scale * F.cross_entropy(z, y))
    assert ball_sharpness(Landscape(scaled, data), 0.1).value == pytest.approx(scale * plain.value, rel=1e-3)


def frozen(model: FusionModel) -> FusionModel:
    for weight in model.encoders["image"].parameters():
        weight.requires_grad = False
    return model


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"block": "smell"}, r"blocks of this model are \[None, 'audio', 'image', 'fusion'\], found 'smell'"),
        ({"block": "image"}, "no trainable parameter in the block 'image'"),
        ({"absent": "silence"}, "absent must be one of"),
        ({"batches": []}, "at least one batch"),
    ],
)
def test_a_landscape_that_cannot_be_is_refused(arguments: dict[str, Any], words: str) -> None:
    goal = Objective(frozen(zoo.model(2)), F.cross_entropy)
    with pytest.raises(ValueError, match=words):
        Landscape(goal, arguments.pop("batches", batches()), **arguments)


@pytest.mark.parametrize("coalition", [[], "smell", ["audio", "smell"]])
def test_a_coalition_of_nobody_is_refused(coalition: Any) -> None:
    with pytest.raises(ValueError, match="A coalition is some of the modalities"):
        site(coalition=coalition).loss()


def test_a_model_without_encoders_has_one_block() -> None:
    goal = Objective(zoo.Opaque(zoo.model(2)), F.cross_entropy)
    assert ball_sharpness(Landscape(goal, batches())).site.block == "all"
    with pytest.raises(ValueError, match="encoders show more"):
        Landscape(goal, batches(), block="fusion")


def test_parts_of_a_batch_cannot_stand_for_it() -> None:
    with pytest.raises(ValueError, match="depends on the whole batch"):
        m_sharpness(site(coalition="audio", absent="shuffle"))


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda it: ball_sharpness(it, 0), "rho must be a number above 0, found 0"),
        (lambda it: ball_sharpness(it, math.nan), "rho must be"),
        (lambda it: ball_sharpness(it, 0.1, 0), "steps must be a whole number"),
        (lambda it: ball_sharpness(it, 0.1, adaptive=True, eta=-1), "eta must be at least 0"),
        (lambda it: m_sharpness(it, 0.1, 0), "size must be a whole number"),
        (lambda it: average_sharpness(it, -1), "sigma must be"),
        (lambda it: average_sharpness(it, 0.1, 2.5), "pairs must be a whole number"),
        (lambda it: top_eigenvalues(it, which="best"), "which must be one of"),
        (lambda it: top_eigenvalues(it, 9, steps=8), "9 eigenvalues need as many steps"),
        (lambda it: top_eigenvalues(it, tolerance=0), "tolerance must be"),
        (lambda it: top_eigenvalues(it, 3, basis=3), "basis must be a whole number above the 3"),
        (lambda it: trace(it, basis=0), "basis must be a whole number"),
        (lambda it: density(it, basis=1), "basis of at least 2"),
        (lambda it: trace(it, 1), "at least 2 products"),
        (lambda it: trace(it, 5, estimator="hutch++"), "at least 6 products"),
        (lambda it: trace(it, estimator="guess"), "estimator must be one of"),
        (lambda it: density(it, 1), "probes >= 2"),
        (lambda it: density(it, width=0), "width in"),
    ],
)
def test_arguments_out_of_range_are_refused(measure: Callable[[Landscape], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        measure(site())


# ---- cost and progress ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measure", "losses", "gradients", "products"),
    [
        (lambda it, p: ball_sharpness(it, 0.05, 4, progress=p), 5, 4, 0),
        (lambda it, p: m_sharpness(it, 0.05, 5, 2, progress=p), 4, 2, 0),
        (lambda it, p: average_sharpness(it, pairs=3, progress=p), 7, 0, 0),
        (lambda it, p: top_eigenvalues(it, 3, steps=5, tolerance=1e-12, progress=p), 1, 0, 5),
        (lambda it, p: trace(it, 7, progress=p), 1, 0, 7),
        (lambda it, p: trace(it, 7, estimator="hutch++", progress=p), 1, 0, 7),
        (lambda it, p: density(it, 2, 3, progress=p), 1, 0, 6),
        (lambda it, p: surface(it, random_plane(it), points=3, progress=p), 10, 0, 0),
    ],
)
def test_cost_is_counted_and_progress_told(measure: Any, losses: int, gradients: int, products: int) -> None:
    calls: list[str] = []

    def criterion(logits: Tensor, target: Tensor) -> Tensor:
        calls.append("made")
        return F.cross_entropy(logits, target)

    told: list[tuple[int, int]] = []
    landscape = Landscape(Objective(zoo.model(2), criterion), [zoo.batch(2, 10)])
    landscape.loss()
    found = measure(landscape, lambda done, total: told.append((done, total)))
    cost = found.cost
    assert (cost.losses, cost.gradients, cost.products) == (losses, gradients, products)
    assert cost.total == pytest.approx(losses / 3 + gradients + 3 * products)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1][0] == told[-1][1]
    assert found.site.samples == 10

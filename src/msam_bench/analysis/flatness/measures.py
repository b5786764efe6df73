"""The measures of flatness by name, with one plan of their radii and sizes.

title, measure = MEASURES["eigenvalue"]
value, error, note = measure(landscape, Plan())
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msam.sharpness import Landscape

SCORE, TAU = "test score", "tau"
"""What is no measure of flatness, but stands beside them."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and how.

    Args:
        samples: of the training split, drawn by the run's seed, so that methods of a seed see the same ones.
        rho: radius of the ball.
        adaptive_rho: radius relative to the weights.
        steps: of the projected ascent.
        micro: samples a micro-batch, for m-sharpness.
        sigma: standard deviation of Gaussian moves.
        adaptive_sigma: the same relative to the weights.
        pairs: of opposite Gaussian moves.
        products: Hessian-vector products for the trace; at most twice as many for the eigenvalue.
        seed: of samples, directions and probes.
    """

    samples: int = 512
    rho: float = 0.05
    adaptive_rho: float = 0.5
    steps: int = 10
    micro: int = 16
    sigma: float = 0.01
    adaptive_sigma: float = 0.1
    pairs: int = 10
    products: int = 18
    seed: int = 0


Found = tuple[float, float, str]


def _ball(landscape: Landscape, rho: float, steps: int, adaptive: bool = False) -> Found:
    from msam.sharpness import ball_sharpness

    measured = ball_sharpness(landscape, rho, steps, adaptive=adaptive)
    return measured.value, measured.error, "random direction, the gradient is zero" if measured.stationary else ""


def _micro(landscape: Landscape, plan: Plan) -> Found:
    from msam.sharpness import m_sharpness

    measured = m_sharpness(landscape, plan.rho, plan.micro)
    return measured.value, measured.error, ""


def _average(landscape: Landscape, sigma: float, pairs: int, adaptive: bool = False) -> Found:
    from msam.sharpness import average_sharpness

    measured = average_sharpness(landscape, sigma, pairs, adaptive=adaptive)
    return measured.value, measured.error, ""


def _eigenvalue(landscape: Landscape, plan: Plan) -> Found:
    from msam.sharpness import top_eigenvalues

    measured = top_eigenvalues(landscape, steps=min(2 * plan.products, landscape.size))
    return measured.values[0], measured.residuals[0], "" if measured.converged else "not converged"


def _trace(landscape: Landscape, plan: Plan) -> Found:
    from msam.sharpness import trace

    measured = trace(landscape, plan.products, estimator="hutch++")
    return measured.value, measured.error, ""


MEASURES: dict[str, tuple[str, Callable[[Any, Plan], Found]]] = {
    "loss": ("training loss (nats)", lambda it, plan: (it.base(), 0.0, "")),
    "one-step": ("one-step sharpness (nats)", lambda it, plan: _ball(it, plan.rho, 1)),
    "ball": ("sharpness in the ball (nats)", lambda it, plan: _ball(it, plan.rho, plan.steps)),
    "adaptive": ("adaptive sharpness (nats)", lambda it, plan: _ball(it, plan.adaptive_rho, plan.steps, True)),
    "m-sharpness": ("m-sharpness (nats)", _micro),
    "average": ("average-case sharpness (nats)", lambda it, plan: _average(it, plan.sigma, plan.pairs)),
    "adaptive-average": (
        "adaptive average-case sharpness (nats)",
        lambda it, plan: _average(it, plan.adaptive_sigma, plan.pairs, True),
    ),
    "eigenvalue": ("largest Hessian eigenvalue", _eigenvalue),
    "trace": ("trace of the Hessian", _trace),
}
"""Name -> title with unit, and how it is measured."""

"""Sharpness in a ball: how far the loss rises when the weights are moved by at most rho.

    ball_sharpness(landscape, rho=0.05).value                  # one step up the gradient, as SAM climbs
    ball_sharpness(landscape, rho=0.05, steps=20).value        # projected ascent: closer to the maximum
    average_sharpness(landscape, sigma=0.01)                   # the mean over Gaussian moves, with its error

All are differences of losses that were computed, never estimates from derivatives. With `adaptive=True` each weight is
moved in proportion to its size, so that the number does not change when a network is rescaled without changing what it
computes (Kwon et al. 2021, arXiv 2102.11600).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from msam.sharpness.landscape import Landscape
from msam.sharpness.record import Cost, Progress, Site, mean_and_error, tell
from msam.validation import positive, whole


@dataclass(frozen=True)
class Sharpness:
    """How far the loss rises within some distance.

    Args:
        value: the rise; NaN if a point was met where the loss is not finite.
        error: its standard error: 0 for a deterministic measure, NaN if a single draw was made.
        loss: the loss at the weights as they are.
        radius: rho of a ball, or sigma of a Gaussian.
        adaptive: whether distances are relative to the weights.
        stationary: how often the gradient was exactly zero and a random direction took its place.
        holes: at how many points the loss was not finite.
        site: what was measured.
        cost: what it took.
    """

    value: float
    error: float
    loss: float
    radius: float
    adaptive: bool
    stationary: int
    holes: int
    site: Site
    cost: Cost


def ball_sharpness(
    landscape: Landscape,
    rho: float = 0.05,
    steps: int = 1,
    *,
    adaptive: bool = False,
    eta: float = 0.0,
    progress: Progress = None,
) -> Sharpness:
    """`max l(w + e) - l(w)` over `|e / T| <= rho`, by projected gradient ascent; `T = 1`, or `|w| + eta` if adaptive.

    In `u = e / T`, from `u = 0` and `a = rho`, with `g = T grad l(w + T u)` and P the projection onto the ball:

        v = P(u + a g / |g|);    u <- v if l(w + T v) > l(w + T u), else a <- a / 2

    The value is the highest rise at any v. One step is the point SAM (or ASAM) climbs to; its rise may be negative,
    where the loss curves down. More steps never give less. The result is a lower bound of the maximum. (Foret et al.
    2021, arXiv 2010.01412, Eq. 1.)

    Takes at most `steps` gradients, and `steps + 1` losses.

    Args:
        landscape: what to measure.
        rho: radius of the ball, above 0, in units of the weights (relative if adaptive).
        steps: of the ascent, at least 1.
        adaptive: measure distance relative to each weight.
        eta: added to each |w|, at least 0; 0 is exactly scale-invariant, and leaves weights that are zero in place.
        progress: called with (done, total) after each step.

    Raises:
        ValueError: if an argument is out of its range, or the model has diverged.
    """
    positive(rho=rho)
    whole(steps=steps)
    before, loss = landscape.spent, landscape.base()
    climb = _climb(landscape, loss, rho, steps, _scale(landscape, adaptive, eta), progress)
    return _result(landscape, before, climb, 0.0, loss, rho, adaptive)


def m_sharpness(
    landscape: Landscape,
    rho: float = 0.05,
    size: int = 1,
    steps: int = 1,
    *,
    adaptive: bool = False,
    eta: float = 0.0,
    progress: Progress = None,
) -> Sharpness:
    """Mean over micro-batches of `size` samples of `ball_sharpness`, each micro-batch climbing by its own gradient.

    This is what SAM lowers when each worker perturbs by its own part of the batch (Foret et al. 2021, arXiv 2010.01412,
    Section 4.1). It grows as `size` falls. Micro-batches count by their samples; the error is that of the mean, taking
    them for a random sample.

    Takes at most `steps` gradients, and `steps + 2` losses, in small pieces.

    Args:
        landscape: what to measure.
        rho: radius of the ball, above 0.
        size: samples a micro-batch, at least 1; each of the landscape's batches is cut into such pieces.
        steps: of the ascent, at least 1.
        adaptive: measure distance relative to each weight.
        eta: added to each |w|, at least 0.
        progress: called with (samples done, all samples) after each micro-batch.

    Raises:
        ValueError: if an argument is out of its range, the model has diverged, or absent modalities depend on a batch.
    """
    positive(rho=rho)
    whole(size=size, steps=steps)
    before, loss = landscape.spent, landscape.base()
    scale = _scale(landscape, adaptive, eta)
    climbs, samples, pieces = [], [], Cost()
    for part in landscape.micro(size):
        climbs.append(_climb(part, part.loss(), rho, steps, scale, None))
        samples.append(part.samples)
        pieces = pieces.plus(part.spent, part.samples)
        tell(progress, sum(samples), landscape.samples)
    landscape.spent = landscape.spent.plus(pieces, of=landscape.samples)
    mean, error = mean_and_error([climb.rise for climb in climbs], samples)
    total = _Climb(mean, sum(climb.stationary for climb in climbs), sum(climb.holes for climb in climbs))
    return _result(landscape, before, total, error, loss, rho, adaptive)


def average_sharpness(
    landscape: Landscape,
    sigma: float = 0.01,
    pairs: int = 10,
    *,
    adaptive: bool = False,
    eta: float = 0.0,
    progress: Progress = None,
) -> Sharpness:
    """`E l(w + sigma T x) - l(w)` over standard normal x, as a mean over pairs of opposite moves x and -x.

    In pairs the gradient cancels, which would otherwise dominate the error. To second order the value is
    `sigma^2 / 2` times the trace of `T H T`. The length of a move is close to `sigma sqrt(n)` for n parameters.
    (Adaptive form: Andriushchenko et al. 2023, arXiv 2302.07011, Section 3.)

    Takes `2 pairs + 1` losses and no gradient.

    Args:
        landscape: what to measure.
        sigma: standard deviation of the moves, above 0.
        pairs: how many pairs are drawn, at least 1.
        adaptive: scale each move by its weight: `T = |w| + eta`.
        eta: added to each |w|, at least 0.
        progress: called with (done, total) after each pair.

    Raises:
        ValueError: if an argument is out of its range, or the model has diverged.
    """
    positive(sigma=sigma)
    whole(pairs=pairs)
    before, loss, generator = landscape.spent, landscape.base(), landscape.generator()
    scale, rises = _scale(landscape, adaptive, eta), []
    for done in range(pairs):
        step = _times(scale, landscape.noise(generator)).mul_(sigma)
        rises.append((landscape.loss(step) + landscape.loss(step.neg_())) / 2 - loss)
        tell(progress, done + 1, pairs)
    mean, error = mean_and_error(rises)
    holes = sum(not math.isfinite(rise) for rise in rises)
    return _result(landscape, before, _Climb(math.nan if holes else mean, 0, holes), error, loss, sigma, adaptive)


@dataclass(frozen=True)
class _Climb:
    rise: float
    stationary: int
    holes: int


def _climb(
    landscape: Landscape, loss: float, rho: float, steps: int, scale: Tensor | None, progress: Progress
) -> _Climb:
    generator, stationary, length = landscape.generator(), 0, rho
    position: Tensor | None = None
    direction: Tensor | None = None
    reached, rises = 0.0, [-math.inf]
    for count in range(1, steps + 1):
        if direction is None:
            slope = _times(scale, landscape.gradient(None if position is None else _times(scale, position)))
            stationary += not slope.any()
            direction = _unit(slope if slope.any() else landscape.noise(generator))
        ahead = _within(rho, length * direction if position is None else position.add(direction, alpha=length))
        rises.append(landscape.loss(_times(scale, ahead)) - loss)
        tell(progress, count, steps)
        if not math.isfinite(rises[-1]):
            return _Climb(math.nan, stationary, 1)
        if rises[-1] > reached:
            reached, position, direction = rises[-1], ahead, None
        else:
            length /= 2
    return _Climb(max(rises), stationary, 0)


def _unit(slope: Tensor) -> Tensor:
    slope = slope / slope.abs().max()  # the squares of a vanishing gradient would be zero
    return slope.div_(slope.norm())


def _within(rho: float, position: Tensor) -> Tensor:
    return position.mul_((rho / position.norm()).clamp(max=1))


def _times(scale: Tensor | None, vector: Tensor) -> Tensor:
    return vector if scale is None else vector * scale


def _scale(landscape: Landscape, adaptive: bool, eta: float) -> Tensor | None:
    if eta < 0:
        raise ValueError(f"eta must be at least 0, found {eta!r}.")
    if not adaptive:
        return None
    scale = landscape.position().abs_().add_(eta)
    if not scale.any():
        raise ValueError("All weights of the block are zero, so a distance relative to them is none; give eta > 0.")
    return scale


def _result(
    landscape: Landscape, before: Cost, climb: _Climb, error: float, loss: float, radius: float, adaptive: bool
) -> Sharpness:
    cost = landscape.spent.plus(before, -1)
    return Sharpness(climb.rise, error, loss, radius, adaptive, climb.stationary, climb.holes, landscape.site, cost)

"""Who contributes what: Shapley values of the modalities on a batch.

    Shapley()(objective, inputs, target).dominant               # inside a method, once a batch
    shapley(objective, inputs, target, value="loss").values     # stand-alone

Every estimator is a design: some coalitions, and one constant matrix that turns their values into Shapley values. The
worth of the empty coalition is zero by definition, so the values sum to the worth of all modalities together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import comb
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from msam.coalition import ABSENT, Absent, lattice
from msam.objective import Objective
from msam.remembering import Remembering
from msam.types import Contributions, Features, Inputs, Value
from msam.validation import class_indices, one_of

Normalize = Literal["clamp", "raw", "softmax"]
Estimator = Literal["auto", "exact", "antithetic"]

_TIE = 1e-6
"""Values closer than this are a tie; a batch accuracy's steps are larger up to thousands of samples."""

_PRECISION = defaultdict(lambda: torch.float64, mps=torch.float32)
"""Kind of device -> double, where the device has it: shares enter the gradient."""

_LARGE = 1e30
"""Stands for infinity in values, so that sums and quotients of them stay finite in single precision too."""


# ---- designs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Design:
    """Coalitions to value, and how values combine: `shapley = weights @ value(masks)`.

    Args:
        masks: non-empty coalitions, booleans `[coalitions, modalities]`.
        weights: `[modalities, coalitions]`.
    """

    masks: Tensor
    weights: Tensor


@cache
def exact(count: int) -> Design:
    """All `2**M - 1` coalitions.

    A member of coalition S weighs `1 / (M binom(M-1, |S|-1))`, any other modality `-1 / (M binom(M-1, |S|))`.
    """
    masks = lattice(count)
    size = masks.sum(1, keepdim=True)
    joins = torch.tensor([1 / (count * comb(count - 1, s - 1)) for s in range(1, count + 1)], dtype=torch.float64)
    leaves = torch.tensor([*(-1 / (count * comb(count - 1, s)) for s in range(1, count)), 0], dtype=torch.float64)
    return Design(masks, torch.where(masks, joins[size - 1], leaves[size - 1]).T.contiguous())


def antithetic(orders: Sequence[Sequence[int]]) -> Design:
    """Marginal contributions along each order and its reverse, averaged: `2M` coalitions an order.

    Unbiased for uniformly drawn orders, and exact for games whose interactions are between pairs at most, because a
    pair's interaction falls to one of its members in an order and to the other in the reverse.
    """
    paths = torch.tensor([list(path) for order in orders for path in (order, order[::-1])])
    place = paths.argsort(1)[:, None]  # of each player in each path: [paths, 1, players]
    step = torch.arange(paths.shape[1])[:, None]
    masks = place <= step
    gains = ((place == step).double() - (place == step + 1).double()) / len(paths)
    return Design(masks.flatten(0, 1), gains.flatten(0, 1).T.contiguous())


# ---- value functions: (logits [coalitions, batch, classes], target [batch]) -> [coalitions] -------------------------


def accuracy(logits: Tensor, target: Tensor) -> Tensor:
    """Share of samples whose largest logit is the target's."""
    logits, labels = _classes(logits, target)
    right = (logits.argmax(-1) == labels) & ~logits.isnan().any(-1)  # the largest of no numbers would be the first
    return right.to(_PRECISION[logits.device.type]).mean(-1)


def probability(logits: Tensor, target: Tensor) -> Tensor:
    """Mean probability of the true class."""
    return torch.where(target < 0, 0, _log_likelihood(logits, target).exp()).mean(-1)


def log_likelihood(logits: Tensor, target: Tensor) -> Tensor:
    """Mean log-probability of the true class; breaks ties of the accuracy."""
    return torch.where(target < 0, 0, _log_likelihood(logits, target)).mean(-1)


def r2(outputs: Tensor, target: Tensor) -> Tensor:
    """Share of the batch's variance that values `[coalitions, batch, outputs]` explain; targets may be `[batch]`.

    `1 - sum |y - f(x)|^2 / sum |y - mean y|^2`; where all targets are the same, their variance counts as 1.
    """
    values, true = (
        outputs.to(_PRECISION[outputs.device.type]),
        target.reshape(len(target), -1).to(_PRECISION[outputs.device.type]),
    )
    spread = (true - true.mean(0)).square().sum(-1).mean()
    return 1 - (values - true).square().sum(-1).mean(-1) / torch.where(spread > 0, spread, 1.0)


def _log_likelihood(logits: Tensor, target: Tensor) -> Tensor:
    """Per sample; targets that a criterion ignores (negative ones) may stand for any class."""
    logits, labels = _classes(logits, target)
    chosen = labels.clamp(min=0).expand(logits.shape[:-1]).unsqueeze(-1)
    logits = logits.to(_PRECISION[logits.device.type])
    return logits.gather(-1, chosen).squeeze(-1) - logits.logsumexp(-1)


def _one_each(worth: object, logits: Tensor) -> Tensor:
    if isinstance(worth, Tensor) and worth.shape == logits.shape[:1]:
        return worth.to(logits.device, _PRECISION[logits.device.type])
    shape = list(worth.shape) if isinstance(worth, Tensor) else type(worth).__name__
    raise ValueError(
        f"A value function must return one number a coalition, a tensor [{len(logits)}], found {shape}; "
        "reduce over the batch and nothing else."
    )


def _classes(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Logits `[coalitions, batch, classes]` and the class of each sample; one logit z counts as the two (0, z)."""
    if target.dtype == torch.int64 and target.dim() == 1 and logits.dim() == 3 and logits.shape[-1] > 1:
        return logits, target
    if logits.dim() == 3 and logits.shape[-1] == 1 and not target.is_floating_point() and bool((target <= 1).all()):
        logits = torch.cat([torch.zeros_like(logits), logits], -1)
    instead = "; use value='loss', 'r2' for values to regress, or a function"
    return logits, class_indices("value='accuracy' and 'probability'", logits[0], target, instead)


VALUES: dict[str, Value] = {"accuracy": accuracy, "probability": probability, "r2": r2}


# ---- from values to weights -----------------------------------------------------------------------------------------


def clamp(values: Tensor) -> Tensor:
    """Positive parts over their sum, in [0, 1]; equal weights where nothing is positive."""
    positive = values.clamp(min=0)
    total = positive.sum()
    return torch.where(total > 0, positive / total, 1 / len(values))


def raw(values: Tensor) -> Tensor:
    """Values over their sum (the paper's Eq. 20), which may leave [0, 1]; equal weights where the sum vanishes."""
    total = values.sum()
    return torch.where(total.abs() > _TIE, values / total, 1 / len(values))


def softmax(values: Tensor) -> Tensor:
    """Softmax of the values: never zero, and nearly equal for an accuracy's values, whose differences are small."""
    return values.softmax(0)


NORMALIZATIONS: dict[str, Callable[[Tensor], Tensor]] = {"clamp": clamp, "raw": raw, "softmax": softmax}


def leader(values: Tensor, soft: Tensor, previous: Tensor | None) -> Tensor:
    """Position of the largest value; ties go to the largest soft value, then to the previous leader."""
    leading = values >= values.max() - _TIE
    soft = soft.masked_fill(~leading, -torch.inf)
    leading = leading & (soft >= soft.max() - _TIE)
    first = leading.int().argmax()
    return first if previous is None else torch.where(leading[previous], previous, first)


# ---- the attribution ------------------------------------------------------------------------------------------------


class Shapley(Remembering):
    """Shapley values of the modalities (M-SAM, arXiv 2510.24919, Appendix B; Shapley 1953).

    The paper's Eq. 17 drops the empty coalition and then does not sum to the whole, as its Eq. 18 says it does; this is
    the reading that does: the ordinary Shapley value with the worth of the empty coalition set to zero. The dominant
    modality is the argmax of the values themselves, never of the weights, which a negative sum would turn over.

    Args:
        value: worth of a coalition: `accuracy` of the batch, `probability` of the true class, `r2` of values to
            regress, `loss` (how far the coalition brings the criterion below that of no modality), or a function
            `(logits [coalitions, batch, classes], target [batch]) -> [coalitions]`.
        absent: what an absent modality looks like, see `msam.coalition`.
        normalize: how values become weights: `clamp` (positive parts over their sum), `raw`, `softmax`.
        estimator: `exact` (all coalitions), `antithetic` (random orders and their reverses), or `auto`: exact up to six
            modalities (four for a model that must be re-run for each coalition), one antithetic pair above.
        pairs: orders of the antithetic estimator.
        every: refresh the values on every so many calls, keep them in between.
        momentum: share of the running mean in the values, in [0, 1).
        strict: encode again in evaluation mode instead of reusing the training pass's features; one more forward.
        seed: of the random orders and shuffles; the n-th refresh always draws the same.

    Raises:
        ValueError: if an argument is out of its range.
    """

    remembers = ("calls", "mean", "previous")

    def __init__(
        self,
        value: Literal["accuracy", "probability", "r2", "loss"] | Value = "accuracy",
        absent: Absent = "zero-input",
        normalize: Normalize = "clamp",
        estimator: Estimator = "auto",
        pairs: int = 1,
        every: int = 1,
        momentum: float = 0.0,
        strict: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not callable(value):
            one_of("value", value, [*VALUES, "loss"])
        one_of("absent", absent, ABSENT)
        one_of("normalize", normalize, NORMALIZATIONS)
        one_of("estimator", estimator, get_args(Estimator))
        if every < 1 or pairs < 1 or not 0 <= momentum < 1:
            raise ValueError(
                f"Shapley expects every >= 1, pairs >= 1 and 0 <= momentum < 1, found {every=}, {pairs=}, {momentum=}."
            )
        self.value, self.absent, self.normalize, self.estimator = value, absent, normalize, estimator
        self.pairs, self.every, self.momentum, self.strict, self.seed = pairs, every, momentum, strict, seed
        self._calls = 0
        self._mean: Tensor | None = None
        self._previous: Tensor | None = None

    def forward(
        self, objective: Objective, inputs: Inputs, target: Tensor, features: Features | None = None
    ) -> Contributions:
        """Contributions on one batch.

        Args:
            objective: the model and criterion.
            inputs: modality -> `[batch, ...]`.
            target: `[batch]` class indices (anything the value function takes).
            features: encoder outputs of the training pass, reused unless `strict`.
        """
        names = tuple(features) if features else objective.modalities(inputs)
        if self._mean is None or self._calls % self.every == 0:
            reused = None if self.strict else features
            with torch.no_grad():
                values = self._values(objective, inputs, target, reused, len(names))
                if self._mean is not None:
                    values = torch.lerp(values, self._mean.to(values), self.momentum)
                previous = None if self._previous is None else self._previous.to(values.device)
                self._mean, self._previous = values, leader(values[0], values[1], previous)
        self._calls += 1
        assert self._mean is not None
        assert self._previous is not None
        return Contributions(names, self._mean[0], NORMALIZATIONS[self.normalize](self._mean[0]), self._previous)

    def design(self, objective: Objective, count: int) -> Design:
        """The coalitions of this call and their weights; exact or, from the seed and the call's number, random."""
        limit = 6 if "fuse" in objective.capabilities else 4
        if self.estimator == "exact" or (self.estimator == "auto" and count <= limit):
            return exact(count)
        generator = self._generator()
        return antithetic([torch.randperm(count, generator=generator).tolist() for _ in range(self.pairs)])

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed * 1_000_003 + self._calls // self.every)

    def _values(
        self, objective: Objective, inputs: Inputs, target: Tensor, features: Features | None, count: int
    ) -> Tensor:
        """Shapley values by the value function and by its tie-breaker, `[2, modalities]`, equal on all ranks."""
        design = self.design(objective, count)
        masks = (
            torch.cat([design.masks, torch.zeros(1, count, dtype=torch.bool)]) if self.value == "loss" else design.masks
        )
        generator = self._generator() if self.absent == "shuffle" else None
        logits = objective.coalition_logits(inputs, masks, self.absent, features or None, generator)
        worth = self._worth(objective, logits, target)
        if objective.distributed.active:
            worth = objective.average(worth, len(target))
        return (worth @ design.weights.to(worth).T).nan_to_num(0, _LARGE, -_LARGE)

    def _worth(self, objective: Objective, logits: Tensor, target: Tensor) -> Tensor:
        if self.value == "loss":
            losses = torch.stack([objective.loss(each, target) for each in logits]).to(_PRECISION[logits.device.type])
            return (losses[-1] - losses[:-1]).expand(2, -1)
        if not isinstance(self.value, str):
            return torch.stack([_one_each(self.value(logits, target), logits)] * 2)
        worth = VALUES[self.value](logits, target)
        return torch.stack([worth, log_likelihood(logits, target) if self.value == "accuracy" else worth])


def shapley(objective: Objective, inputs: Inputs, target: Tensor, **options: Any) -> Contributions:
    """Contributions on one batch, all in evaluation mode; `options` are those of `Shapley`."""
    return Shapley(**options)(objective, inputs, target)  # type: ignore[no-any-return]

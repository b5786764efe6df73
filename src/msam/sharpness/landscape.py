"""Where sharpness is measured: the loss of some modalities, on fixed data, as a function of some weights.

    landscape = Landscape(Objective(model, F.cross_entropy), batches, block="audio", coalition="audio")
    landscape.loss(), landscape.gradient(), landscape.curvature(vector)

A point is named by its step from the weights as they are: one flat vector, in the order of `landscape.weights`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor

from msam.coalition import ABSENT, Absent
from msam.model_state import perturbed, replayed, seeded_state
from msam.objective import Objective
from msam.sharpness.record import Cost, Site
from msam.types import Inputs
from msam.validation import one_of

FUSION = "fusion"
"""The block of all parameters that belong to no encoder."""

R = TypeVar("R")


class Landscape:
    """The mean loss over fixed data, in evaluation mode, as a function of one block of the weights.

    It looks at the model as it is when a measure is called. Every evaluation leaves the model bit for bit the same:
    weights, `.grad`, buffers, flags, random state; also when it raises. In data-parallel training it does not
    communicate: measure on one rank.

    Args:
        objective: the model and criterion. Its `context` is used: bind one without autocast to measure curvature.
        batches: (inputs, target) pairs, read once and kept; losses are averaged by samples. A loader that shuffles
            draws from `seed`, so that the same seed gives the same data. Batch sizes bound memory, not results, except
            with `absent="mean-feature"` and `"shuffle"`, which are taken within a batch.
        block: None for all trainable parameters, a modality for those of its encoder, `"fusion"` for those of no
            encoder (an encoder of that name goes first).
        coalition: the modalities that are present (one name will do), None for all.
        absent: what the others look like, see `msam.coalition`.
        seed: of directions, probes and shuffles.

    Attributes:
        weights: the parameters of the block.
        spent: what has been computed so far.

    Raises:
        ValueError: if there is no data, no such block, or nothing trainable in it.
    """

    def __init__(
        self,
        objective: Objective,
        batches: Iterable[tuple[Inputs, Tensor]],
        *,
        block: str | None = None,
        coalition: str | Iterable[str] | None = None,
        absent: Absent = "zero-input",
        seed: int = 0,
    ) -> None:
        self.objective, self.absent, self.seed = objective, one_of("absent", absent, ABSENT), seed
        with replayed(seeded_state(seed, [objective.device])):
            self.batches = tuple(batches)
        self.samples = sum(len(target) for _, target in self.batches)
        if not self.samples:
            raise ValueError("Landscape needs at least one batch of (inputs, target), found none.")
        self.modalities = objective.modalities(self.batches[0][0])
        self.coalition = frozenset(_names(coalition, self.modalities))
        self.block = block
        self.weights = _weights(objective, block)
        self.spent = Cost()

    @property
    def size(self) -> int:
        """How many numbers the block has."""
        return sum(weight.numel() for weight in self.weights)

    @property
    def site(self) -> Site:
        """What is measured here, for the record."""
        present = tuple(name for name in self.modalities if name in self.coalition)
        return Site(self.block or "all", present, self.absent, self.samples, self.size, self.seed)

    # ---- the loss and its derivatives -----------------------------------------------------------------------------

    def base(self) -> float:
        """The loss at the weights as they are.

        Raises:
            ValueError: if a weight or the loss is not finite.
        """
        model = self.objective.bare
        broken = [name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()]
        if broken:
            raise ValueError(f"The model has diverged: {broken[0]} is not finite; measure an earlier checkpoint.")
        loss = self.loss()
        if not math.isfinite(loss):
            raise ValueError(f"The loss is {loss} at the weights as they are; look at the data and the checkpoint.")
        return loss

    def loss(self, step: Tensor | None = None) -> float:
        """The loss at the weights plus `step`, which may be infinite or NaN."""
        self.spent = self.spent.plus(Cost(losses=1))
        with self._moved(step):
            return sum(share * loss for share, loss in self._over_batches([], Tensor.item))

    def gradient(self, step: Tensor | None = None) -> Tensor:
        """The gradient at the weights plus `step`, `[size]`.

        Raises:
            ValueError: if the loss does not depend on the block.
        """
        self.spent = self.spent.plus(Cost(gradients=1))
        with self._moved(step):
            return self._sum(lambda loss: self.objective.curvature.gradient(loss, self.weights))

    def curvature(self, vector: Tensor) -> Tensor:
        """`H v`, `[size]`: the Hessian at the weights as they are, times a vector.

        Raises:
            ValueError: if there is no second derivative here, or it is not finite.
        """
        self.spent = self.spent.plus(Cost(products=1))
        along = self.split(vector)
        product = self._sum(lambda loss: self.objective.curvature.hessian_product(loss, self.weights, along))
        if not torch.isfinite(product).all():
            raise ValueError("The Hessian is not finite here: the loss has no second derivative at these weights.")
        return product

    # ---- vectors --------------------------------------------------------------------------------------------------

    def split(self, vector: Tensor) -> list[Tensor]:
        """A flat vector as one tensor a weight."""
        parts = torch.split(vector, [weight.numel() for weight in self.weights])
        return [part.view_as(weight).to(weight) for part, weight in zip(parts, self.weights, strict=True)]

    def position(self, state: Mapping[str, Tensor] | None = None) -> Tensor:
        """The weights as one flat vector: those of the model, or those of a checkpoint's `state_dict`.

        Raises:
            ValueError: if the checkpoint misses a parameter, or has one of another shape.
        """
        if state is None:
            return flat(self.weights)
        named = {id(weight): name for name, weight in self.objective.bare.named_parameters()}
        names = [named.get(id(weight), "parameter of the criterion") for weight in self.weights]
        wrong = [n for n, w in zip(names, self.weights, strict=True) if n not in state or state[n].shape != w.shape]
        if wrong:
            raise ValueError(f"The checkpoint has no {wrong[0]} of the model's shape; its keys must be the model's.")
        return flat([state[name].to(weight) for name, weight in zip(names, self.weights, strict=True)])

    def noise(self, generator: torch.Generator) -> Tensor:
        """Independent standard normal numbers, `[size]`: the same on every device and in every precision."""
        return self._like(torch.randn(self.size, generator=generator))

    def signs(self, generator: torch.Generator) -> Tensor:
        """Independent random signs, `[size]`: the same on every device and in every precision."""
        return self._like(torch.randint(2, (self.size,), generator=generator, dtype=torch.int8) * 2 - 1)

    def generator(self) -> torch.Generator:
        """A new generator at this landscape's seed."""
        return torch.Generator().manual_seed(self.seed)

    # ---- parts ----------------------------------------------------------------------------------------------------

    def micro(self, size: int) -> Iterator[Landscape]:
        """A landscape for each `size` samples in turn; what is left of a batch is one of its own.

        Raises:
            ValueError: if absent modalities are made from the rest of the batch.
        """
        if self.coalition < set(self.modalities) and self.absent in ("mean-feature", "shuffle"):
            raise ValueError(
                f"absent={self.absent!r} depends on the whole batch and cannot be measured in parts of it."
            )
        for inputs, target in self.batches:
            for start in range(0, len(target), size):
                rows = slice(start, start + size)
                some = {name: each[rows] if isinstance(each, Tensor) else each for name, each in inputs.items()}
                part = copy.copy(self)
                part.batches, part.samples, part.spent = ((some, target[rows]),), len(target[rows]), Cost()
                yield part

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _moved(self, step: Tensor | None) -> AbstractContextManager[None]:
        return nullcontext() if step is None else perturbed(self.weights, self.split(step))

    def _over_batches(self, weights: Sequence[Tensor], read: Callable[[Tensor], R]) -> Iterator[tuple[float, R]]:
        for index, (inputs, target) in enumerate(self.batches):
            options = (self.coalition, self.absent, self.seed * 1_000_003 + index)
            with self.objective.curvature.loss_at(inputs, target, weights, *options) as loss:
                value = read(loss)
            yield len(target) / self.samples, value

    def _sum(self, read: Callable[[Tensor], list[Tensor]]) -> Tensor:
        total: Tensor | None = None
        for share, parts in self._over_batches(self.weights, read):
            part = flat(parts).mul_(share)
            total = part if total is None else total.add_(part)
        assert total is not None
        return total

    def _like(self, draws: Tensor) -> Tensor:
        return draws.to(flat([weight.flatten()[:0] for weight in self.weights]))


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors as one vector, on the device of the first."""
    return torch.cat([tensor.detach().flatten().to(tensors[0].device) for tensor in tensors])


def _names(coalition: str | Iterable[str] | None, modalities: Sequence[str]) -> Iterable[str]:
    if coalition is None:
        return modalities
    return [coalition] if isinstance(coalition, str) else coalition


def _weights(objective: Objective, block: str | None) -> list[Tensor]:
    blocks = [None, *objective.encoders, *([FUSION] if objective.encoders else [])]
    if block not in blocks:
        raise ValueError(f"The blocks of this model are {blocks}, found {block!r}; encoders show more (FusionModel).")
    weights = objective.parameters(block) if block in (None, *objective.encoders) else _unowned(objective)
    if not weights:
        raise ValueError(f"There is no trainable parameter in the block {block!r}; choose another.")
    return weights


def _unowned(objective: Objective) -> list[Tensor]:
    owned = {id(weight) for name in objective.encoders for weight in objective.parameters(name)}
    return [weight for weight in objective.parameters() if id(weight) not in owned]

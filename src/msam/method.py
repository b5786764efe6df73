"""What every method is: something that turns one batch into `.grad`.

    backward = SAM(rho=0.05).on(model, F.cross_entropy)
    outcome = backward(inputs, target)                 # instead of criterion(model(inputs), target).backward()

A method with parameters of its own, such as a classifier a modality, is told their sizes when it is made:
`MMPareto(widths={"audio": 64, "image": 512}, classes=6)`. They then exist before the optimizer does, are the same on
every rank and in every checkpoint, and cost no trial pass through the model.

    method = MMPareto(widths, classes)
    backward = method.on(model, F.cross_entropy)       # moves them to the model's device and precision
    optimizer = SGD([*model.parameters(), *method.parameters()], lr=0.01)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from msam.features import FeatureHook
from msam.heads import Heads
from msam.objective import Objective
from msam.types import Batches, Criterion, Inputs, Outcome
from msam.validation import class_indices, in_range, one_of

__all__ = ["Backward", "Method", "class_indices", "in_range", "one_of"]


class Method(nn.Module, ABC):
    """Turns one batch into gradients.

    A method only ever adds to `.grad`. Weights, buffers, training flags, hooks and the random stream are afterwards
    what one plain forward and backward pass would have left, also when the criterion raises. Multiplying the loss by a
    constant multiplies the result, so gradient scaling, clipping, accumulation, schedulers and optimizers stay the
    user's own. What a method remembers between batches is in its `state_dict`; it never holds the model.
    Parameters of its own (`parameters()`, none for most) are trained by the user's optimizer beside the model's.

    Attributes:
        needs: what the model must show, any of `encoders`, `separate_encoders`, `fuse`, `additive_fusion`, `heads`.
        learns_from: what `Backward.next_epoch` must be given, any of `train`, `valid`.
        name: of the method in the bench and the documentation; a class without one is named by its path.
        family: `reference`, `sharpness` or `balance`.
        paper: authors, year and arXiv id or venue.
        search: argument -> its values in the listed trials of a search; `lr` is the optimizer's.
        variants: further names -> the arguments that each stands for.
        extended_by: the variant for more than two modalities, of a method that its authors define for two.
        controls: those names that answer a question about another method and are no rivals.
        remedies: name -> what it is advised for: `support` of weak modalities, `restraint` of a leader, `flatness`.
        kind: what a method says: which `loss` is minimised, how gradients are recombined (`modulation`), or where they
            are taken (`ascent`).
        plain: whether its gradient is the objective's own, so that an ascent needs no method to take it from.
        stands_alone: why no ascent can take this method's gradient; empty if one can.
    """

    kind: ClassVar[Literal["loss", "modulation", "ascent"]] = "modulation"
    plain: ClassVar[bool] = False
    stands_alone: str = ""
    needs: frozenset[str] = frozenset()
    learns_from: frozenset[str] = frozenset()
    name: ClassVar[str] = ""
    family: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    search: ClassVar[Mapping[str, Sequence[float]]] = MappingProxyType({})
    variants: ClassVar[Mapping[str, Mapping[str, float | str]]] = MappingProxyType({})
    extended_by: ClassVar[str] = ""
    controls: ClassVar[frozenset[str]] = frozenset()
    remedies: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @abstractmethod
    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds this method's gradient of one batch to `.grad`.

        Args:
            objective: the model and criterion.
            inputs: modality -> `[batch, ...]`.
            target: `[batch, ...]`.
        """

    def predict(self, objective: Objective, inputs: Inputs) -> Tensor:
        """Logits at test time, `[batch, classes]`, in evaluation mode."""
        return objective.logits(inputs)

    def next_epoch(self, objective: Objective, train: Batches | None = None, valid: Batches | None = None) -> None:
        """Told by the training loop that an epoch has ended; does nothing unless a method says otherwise.

        Args:
            objective: the model and criterion.
            train: the training set, for methods whose `learns_from` names it.
            valid: a held-out set that is not the test set, likewise.
        """

    def progress(self, done: float, rate: float) -> None:
        """Told by the training loop how far training is; does nothing unless a method says otherwise.

        Args:
            done: share of the training that is over, in [0, 1].
            rate: the learning rate in units of the first one.
        """

    def on(
        self,
        model: nn.Module,
        criterion: Criterion,
        *,
        encoders: Mapping[str, nn.Module] | None = None,
        call: Callable[[Any, Inputs], Tensor] | None = None,
        backward: Callable[[Tensor], Any] = Tensor.backward,
        context: Callable[[], AbstractContextManager[Any]] | None = None,
        parallel: DistributedDataParallel | None = None,
        features: FeatureHook | None = None,
        modalities: Sequence[str] | None = None,
    ) -> Backward:
        """Binds the method to a model once, before training; the arguments are those of `Objective`.

        Raises:
            ValueError: if the model does not show what the method needs.
        """
        objective = Objective(
            model,
            criterion,
            encoders=encoders,
            call=call,
            backward=backward,
            context=context,
            parallel=parallel,
            features=features,
            modalities=modalities,
        )
        self.check(objective)
        example = next((weight for weight in model.parameters() if weight.is_floating_point()), None)
        return Backward(self if example is None else self.to(example.device, example.dtype), objective)

    def check(self, objective: Objective) -> None:
        """Refuses an impossible pair of method and model in one sentence.

        Raises:
            ValueError: if the model does not show what the method needs.
        """
        missing = sorted(self.needs - objective.capabilities)
        if missing:
            raise ValueError(
                f"{type(self).__name__} needs a model with {_words(missing)}, which {_shown(objective)} does not show; "
                f"{_others(self, objective)} would work."
            )
        for heads in (module for module in self.modules() if isinstance(module, Heads)):
            if set(heads) != set(objective.encoders):
                raise ValueError(
                    f"{type(self).__name__} has classifiers for {list(heads)}, but the model has encoders for "
                    f"{list(objective.encoders)}; give `widths` for these."
                )


class Backward:
    """A method bound to a model: call it instead of `loss.backward()`."""

    def __init__(self, method: Method, objective: Objective) -> None:
        self.method = method
        self.objective = objective

    def __call__(self, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the method's gradient of one batch to `.grad`."""
        outcome = self.method.backward(self.objective, self.objective.passes.prepared(inputs), target)
        if self.objective.distributed.active:
            self.objective.share_gradients(self.method.parameters())
            if self.objective.distributed.is_static:  # its wrapper has seen no pass
                self.objective.share_gradients()
        return outcome

    def predict(self, inputs: Inputs) -> Tensor:
        """Logits at test time, `[batch, classes]`, in evaluation mode; not counted."""
        with self.objective.runtime.uncounted():
            return self.method.predict(self.objective, self.objective.passes.prepared(inputs))

    def progress(self, done: float, rate: float = 1.0) -> None:
        """Tells the method how far training is, for schedules that begin at a share of it or follow the learning rate.

        Args:
            done: share of the training that is over, in [0, 1].
            rate: the learning rate in units of the first one, at least 0.

        Raises:
            ValueError: if one is out of its range.
        """
        self.method.progress(in_range("done", done, 0, 1), in_range("rate", rate, 0))

    def next_epoch(self, train: Batches | None = None, valid: Batches | None = None) -> None:
        """Tells the method that an epoch has ended; the sets may be left out unless its `learns_from` names them.

        Raises:
            ValueError: if a set that the method learns from is missing.
        """
        given = {name for name, batches in {"train": train, "valid": valid}.items() if batches is not None}
        missing = sorted(self.method.learns_from - given)
        if missing:
            raise ValueError(
                f"{type(self.method).__name__} learns from {' and '.join(_SETS[name] for name in missing)} after each "
                f"epoch; call backward.next_epoch({', '.join(f'{name}=...' for name in missing)})."
            )
        self.method.next_epoch(self.objective, train, valid)


_NAMES = {
    "encoders": "`encoders` (a mapping from modality to module)",
    "separate_encoders": "`encoders` (a mapping from modality to module) that share no weights",
    "fuse": "`fuse(features) -> logits`",
    "additive_fusion": "an additive fusion (such as LateFusion)",
    "heads": "a fusion with one head a modality (such as LateFusion)",
}

_SETS = {"train": "the training set", "valid": "a held-out set"}


def _words(needs: list[str]) -> str:
    return " and ".join(_NAMES[need] for need in needs)


def _shown(objective: Objective) -> str:
    fusion = getattr(objective.bare, "fusion", None)
    return type(objective.bare).__name__ + (f" with {type(fusion).__name__}" if isinstance(fusion, nn.Module) else "")


def _others(refused: Method, objective: Objective) -> str:
    """The library's methods that this model suits, less the one whose arguments ask for more."""
    public = [method for method in _subclasses(Method) if method.__module__.startswith("msam.methods.")]
    fitting = [method for method in public if method.needs <= objective.capabilities and method is not type(refused)]
    return ", ".join(sorted(method.__name__ for method in fitting))


def _subclasses(method: type[Any]) -> list[type[Method]]:
    """All classes below a class."""
    return [below for cls in method.__subclasses__() for below in (cls, *_subclasses(cls))]

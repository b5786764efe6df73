"""The description of a user's problem: what is trained, on what, how; `Experiment` adds what can be asked of it.

problem = Problem(data=make_data, model=make_model, criterion=F.cross_entropy, metrics=["macro-f1"])
problem_at("my_module:experiment")                 # the one that a module holds, or that a function there makes
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from msam_bench.registry import load

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from msam.types import Criterion, Inputs
    from msam_bench.config.run import Fusion

_PACKAGE = "msam_bench."


@dataclass(kw_only=True, eq=False)
class Problem:
    """What is compared.

    Args:
        data: name or path of a data set, or `(seed) -> {"train": ..., "valid": ..., "test": ...}` of torch Datasets or
            DataLoaders; the same seed gives the same samples.
        model: `() -> nn.Module`, called after seeding; the bench's own encoders and fusion if None, which takes a named
            data set.
        criterion: (logits, target) -> scalar mean; cross-entropy of classes, squared error of values if None.
        metrics: names such as `macro-f1` (see `msam_bench.metrics.sample_metrics.METRICS`); the first one selects the
            epoch on validation and stops early. Accuracy, or R2, if empty.
        unpack: batch -> (inputs by modality, target); for batches that are such pairs None.
        encoders: modality -> name of a submodule of the model, or `(model) -> {modality: module}`.
        call: (model, inputs) -> logits, where the model's forward takes no mapping.
        optimizer: `(parameters) -> Optimizer`, or `(model) -> Optimizer` where the argument is called `model`; with an
            argument `lr` its learning rate can be tuned. Or a name: `sgd`, `adam`, `adamw`.
        schedule: `(optimizer) -> scheduler`, stepped once an epoch, or a name.
        fusion: of the bench's own model.
        epochs: passes over the training data.
        early_stopping: epochs without a better validation score after which training ends; never if None.
        clip: largest norm of the gradient of a step.
        accumulate: batches a step.
        batch_size: samples a step, for Datasets; a DataLoader has its own.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `32`, `bf16`, or `16` with a gradient scaler.
        loader_workers: processes that load Datasets.
        settings: further settings of a run by their names, such as `lr`, for names instead of functions.

    Raises:
        ValueError: a part of the wrong kind.
    """

    data: str | Callable[[int], Mapping[str, Any]]
    model: Callable[[], nn.Module] | None = None
    criterion: Criterion | None = None
    metrics: Sequence[str] = ()
    unpack: Callable[[Any], tuple[Inputs, Tensor]] | None = None
    encoders: Mapping[str, str] | Callable[[Any], Mapping[str, nn.Module]] | None = None
    call: Callable[[Any, Inputs], Tensor] | None = None
    optimizer: str | Callable[..., Optimizer] | None = None
    schedule: str | Callable[[Optimizer], Any] | None = None
    fusion: Fusion = "late"
    epochs: int | None = None
    early_stopping: int | None = None
    clip: float | None = None
    accumulate: int = 1
    batch_size: int | None = None
    device: str = "auto"
    precision: Literal["32", "bf16", "16"] = "32"
    loader_workers: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.module = _defining_module()
        if not isinstance(self.data, str) and not callable(self.data):
            raise ValueError(
                "data must be the name of a data set or a function of a seed that gives train, valid and test, found "
                f"{type(self.data).__name__}; write data=lambda seed: {{'train': ..., 'valid': ..., 'test': ...}}."
            )
        if not isinstance(self.data, str) and self.model is None:
            raise ValueError("Data of your own need a model of your own; pass model=, a function that makes it.")
        for name in ("model", "criterion", "unpack", "call"):
            part = getattr(self, name)
            if part is not None and not callable(part):
                raise ValueError(f"{name} must be a function, found {type(part).__name__}; pass one that makes it.")
        if isinstance(self.metrics, str):
            self.metrics = (self.metrics,)
        self.metrics = tuple(name.replace("_", "-") for name in self.metrics)

    @property
    def parts(self) -> dict[str, Callable[..., Any]]:
        """The functions that it is made of, by the names of its fields."""
        names = ("data", "model", "criterion", "unpack", "encoders", "call", "optimizer", "schedule")
        return {name: part for name in names if callable(part := getattr(self, name))}


def _defining_module() -> str:
    """The name of the module that calls, past the bench and generated code."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "__main__"))


_HERE: dict[str, Problem] = {}
"""Problems of this process by their locations, so that a script is not imported a second time."""


def keep_here(location: str, problem: Problem) -> None:
    """Makes a problem of this process known under a location."""
    _HERE[location] = problem


def _required(function: Callable[..., Any]) -> list[str]:
    """The arguments that a function cannot be called without."""
    parameters = inspect.signature(function).parameters.values()
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in optional]


def problem_at(location: str) -> Problem | None:
    """The problem at `module:name`, or None where that is the name of something else.

    Raises:
        ValueError: there is no such module or name.
    """
    if location in _HERE:
        return _HERE[location]
    if ":" not in location or "=" in location:
        return None
    each = load(location, "an experiment or a data set")
    if inspect.isfunction(each) and not _required(each):
        each = each()
    if not isinstance(each, Problem):
        return None
    keep_here(location, each)
    return each

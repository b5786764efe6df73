"""The model and the optimizer of a problem, and what a trial batch shows of it, all before any training.

facts = inspect_problem(problem)       # modalities, widths of features, classes
model = make_model(problem)            # after seeding
optimizer = make_optimizer(problem, model, method, lr=0.01)
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from msam import Objective
from msam.types import Criterion, Inputs
from msam_bench.data.problems.problem import Problem
from msam_bench.data.problems.samples import Loading, UserSplit
from msam_bench.data.problems.streams import Streams
from msam_bench.names import nearest
from msam_bench.training.metrics import ACCURACY, R2

SPLITS = ("train", "valid", "test")
_SAMPLES = 8


@dataclass(frozen=True)
class Facts:
    """What a trial batch shows.

    Args:
        modalities: in canonical order.
        widths: modality -> numbers of its feature, of models that show encoders.
        classes: number of classes; 0 for values to regress.
        outputs: numbers that the model gives for a sample.
        shapes: modality -> shape of one sample, of the first batch.
    """

    modalities: tuple[str, ...]
    widths: dict[str, int]
    classes: int
    outputs: int
    shapes: dict[str, tuple[int, ...]]


class Adapted(nn.Module):
    """A user's model whose encoders or call are given beside it.

    Args:
        model: the model.
        encoders: modality -> its module.
        call: (model, inputs) -> logits.
    """

    def __init__(
        self, model: nn.Module, encoders: Mapping[str, nn.Module] | None, call: Callable[[Any, Inputs], Tensor] | None
    ) -> None:
        super().__init__()
        self.model = model
        object.__setattr__(self, "encoders", dict(encoders or getattr(model, "encoders", None) or {}))
        self._call = call
        for name in ("fuse", "partial", "heads"):
            if (part := getattr(model, name, None)) is not None:
                object.__setattr__(self, name, part)

    def forward(self, inputs: Inputs) -> Tensor:
        """What the model gives."""
        logits: Tensor = self.model(inputs) if self._call is None else self._call(self.model, inputs)
        return logits


def load_splits(
    problem: Problem, seed: int, loading: Loading, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, UserSplit]:
    """The splits that the data function of a problem gives for a seed.

    Args:
        problem: with the function.
        seed: of the run.
        loading: how Datasets are loaded.
        shapes: of the modalities, where they are known.

    Raises:
        ValueError: it fails, or gives other splits.
    """
    assert callable(problem.data)
    with Streams(seed):
        try:
            given = problem.data(seed)
        except (TypeError, KeyError, AttributeError, IndexError) as error:
            raise ValueError(f"data({seed}) failed: {_one_line(error)}; it is called with a seed.") from error
    if not isinstance(given, Mapping) or set(given) != set(SPLITS):
        shown = ", ".join(map(str, given)) if isinstance(given, Mapping) else type(given).__name__
        raise ValueError(f"Expected data(seed) to give train, valid and test, found {shown}; give exactly these three.")
    return {name: UserSplit.of(given[name], problem.unpack, name, loading, shapes) for name in SPLITS}


def make_model(problem: Problem) -> nn.Module:
    """A fresh model; its weights are drawn from torch's stream.

    Raises:
        ValueError: it is no module, or has no encoder of a name.
    """
    assert problem.model is not None
    model = problem.model()
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must give a torch.nn.Module, found {type(model).__name__}; return the model from it.")
    if problem.encoders is None and problem.call is None:
        return model
    return Adapted(model, _encoders(problem, model), problem.call)


def make_optimizer(problem: Problem, model: nn.Module, method: nn.Module, lr: float) -> torch.optim.Optimizer:
    """The optimizer of the model's parameters and of the method's.

    Raises:
        ValueError: it is none, or does not train them all.
    """
    assert callable(problem.optimizer)
    known = inspect.signature(problem.optimizer).parameters
    first = next(iter(known), "")
    rate = {"lr": lr} if "lr" in known else {}
    own = list(method.parameters())
    if first == "model":
        optimizer = problem.optimizer(model.model if isinstance(model, Adapted) else model, **rate)
    else:
        optimizer = problem.optimizer([*model.parameters(), *own], **rate)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ValueError(f"optimizer must give a torch optimizer, found {type(optimizer).__name__}; return it.")
    if first == "model" and own:
        optimizer.add_param_group({"params": own})
    return optimizer


def default_lr(problem: Problem) -> float | None:
    """The learning rate that an optimizer function has by default; None where it takes none."""
    if not callable(problem.optimizer):
        return None
    parameter = inspect.signature(problem.optimizer).parameters.get("lr")
    return float(parameter.default) if parameter and parameter.default is not parameter.empty else None


def criterion_of(problem: Problem, classes: int) -> Criterion:
    """The loss of a problem."""
    return problem.criterion or (ACCURACY if classes else R2).criterion


@cache
def inspect_problem(problem: Problem) -> Facts:
    """What a few samples show: a trial pass in which a wrong form is refused, with nothing trained.

    Raises:
        ValueError: data, model, loss or metrics of a wrong form, in one sentence.
    """
    splits = load_splits(problem, 0, Loading())
    parts = {name: split.first(_SAMPLES) for name, split in splits.items()}
    with Streams(0):
        model = make_model(problem)
        inputs, target = parts["train"]
        logits, features, modalities = _trial(problem, model, inputs, target)
        if callable(problem.optimizer):
            _check_optimizer(problem, model)
    outputs = math.prod(logits.shape[1:])
    classes = 0 if target.is_floating_point() or logits.dim() < 2 else logits.shape[-1]
    _check_target(target, classes)
    check_metrics(problem.metrics, classes)
    widths = {name: math.prod(feature.shape[1:]) for name, feature in features.items()}
    for name, (others, _) in parts.items():
        if missing := [key for key in modalities if key not in others]:
            raise ValueError(f"The modality {missing[0]!r} is in 'train' but not in '{name}'; give it in every split.")
    shapes = {name: tuple(getattr(inputs[name], "shape", ())[1:]) for name in modalities}
    return Facts(modalities, widths, classes, outputs, shapes)


def check_metrics(metrics: tuple[str, ...] | Any, classes: int) -> None:
    """Raises a ValueError if a metric is unknown or does not fit the target."""
    from msam_bench.metrics.sample_metrics import METRICS

    kind = "classes" if classes else "values"
    fitting = [name for name, metric in METRICS.items() if metric.kind == kind]
    for name in metrics:
        if name not in METRICS:
            raise ValueError(f"Unknown metric {name!r}: {nearest(name, fitting)}.")
        if METRICS[name].kind != kind:
            raise ValueError(
                f"The metric {name!r} is of {METRICS[name].kind}, but the target has {kind}; take {', '.join(fitting)}."
            )


def _trial(
    problem: Problem, model: nn.Module, inputs: Inputs, target: Tensor
) -> tuple[Tensor, Mapping[str, Tensor], tuple[str, ...]]:
    """Logits, features and modalities of one training pass.

    Raises:
        ValueError: the model or the criterion fails on it.
    """
    objective = Objective(model, criterion_of(problem, 0 if target.is_floating_point() else 1))
    try:
        step = objective.forward(inputs, target)
    except (TypeError, ValueError) as error:
        raise ValueError(f"A trial batch of the training data failed: {_one_line(error)}") from error
    except (KeyError, IndexError, AttributeError, RuntimeError, NotImplementedError) as error:
        raise ValueError(
            f"The model or the loss failed on a batch of {_shapes(inputs)}, target {list(target.shape)} "
            f"{target.dtype}: {_one_line(error)}; mend it, or pass call= or unpack=."
        ) from error
    return step.logits, step.features, objective.modalities(inputs)


def _check_optimizer(problem: Problem, model: nn.Module) -> None:
    """Raises a ValueError if the optimizer or its schedule cannot be made."""
    optimizer = make_optimizer(problem, model, nn.Identity(), default_lr(problem) or 0.1)
    if not callable(problem.schedule):
        return
    scheduler = problem.schedule(optimizer)
    if not callable(getattr(scheduler, "step", None)):
        raise ValueError(f"schedule must give a scheduler with step(), found {type(scheduler).__name__}; return it.")


def _check_target(target: Tensor, classes: int) -> None:
    if classes and target.dim() == 1 and int(target.max()) >= classes:
        raise ValueError(
            f"Expected targets below the {classes} classes that the model gives, found {int(target.max())}; widen its "
            "last layer, or number the classes from 0."
        )
    if classes and target.dim() != 1:
        raise ValueError(f"Expected class indices [batch] as the target, found {list(target.shape)}; see unpack.")


def _encoders(problem: Problem, model: nn.Module) -> dict[str, nn.Module] | None:
    """The encoders of a model, by modality.

    Raises:
        ValueError: a name of no submodule.
    """
    if problem.encoders is None:
        return None
    if callable(problem.encoders):
        return dict(problem.encoders(model))
    try:
        return {name: model.get_submodule(path) for name, path in problem.encoders.items()}
    except AttributeError as error:
        names = ", ".join(name for name, _ in model.named_children())
        raise ValueError(f"encoders names submodules of the model: {_one_line(error)}; it has {names}.") from None


def _shapes(inputs: Inputs) -> str:
    return ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in inputs.items())


def _one_line(error: Exception) -> str:
    words = " ".join(str(error).split())
    return words if isinstance(error, ValueError | TypeError) else f"{type(error).__name__}: {words}"

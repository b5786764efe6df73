"""Steps that are not msam's, to stand beside its own.

Plain SGD, another package's SAM, the two-step SAM that is mostly written, and M-SAM to the letter. Each takes a model,
a batch and what makes a context for forward passes, and returns one training step.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from pytorch_optimizer import SAM as PackagedSAM
from torch import Tensor, nn

from msam.attribution import exact
from msam_bench.studies.instruments.step_costs import Step

SGD = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-4}
RHO = 0.05
Batch = tuple[dict[str, Tensor], Tensor]
Context = Callable[[], AbstractContextManager[Any]]


def sgd(model: nn.Module, batch: Batch, context: Context = nullcontext) -> Step:
    """One forward, one backward."""
    optimizer = torch.optim.SGD(model.parameters(), **SGD)
    loss = _loss(model, batch, context)

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def packaged_sam(model: nn.Module, batch: Batch, context: Context = nullcontext) -> Step:
    """SAM of pytorch_optimizer, used as its documentation says."""
    optimizer = PackagedSAM(model.parameters(), torch.optim.SGD, rho=RHO, **SGD)
    loss = _loss(model, batch, context)

    def step() -> None:
        loss().backward()
        optimizer.first_step(zero_grad=True)
        loss().backward()
        optimizer.second_step(zero_grad=True)

    return step


def two_step_sam(model: nn.Module, batch: Batch, context: Context = nullcontext) -> Step:
    """SAM as it is mostly written: climb parameter by parameter, keep the old values, put them back, step."""
    optimizer = torch.optim.SGD(model.parameters(), **SGD)
    loss = _loss(model, batch, context)

    def step() -> None:
        loss().backward()
        kept = _climb([w for w in model.parameters() if w.grad is not None])
        optimizer.zero_grad()
        loss().backward()
        for weight, value in kept.items():
            weight.data = value
        optimizer.step()
        optimizer.zero_grad()

    return step


def literal_msam(model: nn.Module, batch: Batch, context: Context = nullcontext) -> Step:
    """Algorithm 1 of M-SAM line by line: masked forward passes for Shapley, a backward for each part, one up there."""
    optimizer = torch.optim.SGD(model.parameters(), **SGD)
    loss = _loss(model, batch, context)
    weights = list(model.parameters())

    def step() -> None:
        share = _share(model, batch, context)
        whole = loss()
        (share * whole).backward(retain_graph=True)
        dominant = [weight.grad.clone() for weight in weights]
        optimizer.zero_grad()
        ((1 - share) * whole).backward()
        others = [weight.grad.clone() for weight in weights]
        for weight, gradient in zip(weights, dominant, strict=True):
            weight.grad = gradient
        kept = _climb(weights)
        optimizer.zero_grad()
        (share * loss()).backward()
        for weight, other in zip(weights, others, strict=True):
            weight.data = kept[weight]
            weight.grad += other
        optimizer.step()
        optimizer.zero_grad()

    return step


def _loss(model: nn.Module, batch: Batch, context: Context) -> Callable[[], Tensor]:
    inputs, target = batch

    def loss() -> Tensor:
        with context():
            return F.cross_entropy(model(inputs), target)

    return loss


def _climb(weights: list[Tensor]) -> dict[Tensor, Tensor]:
    """Adds `rho g / |g|`; returns what the weights were."""
    norm = torch.stack([weight.grad.norm() for weight in weights]).norm()
    kept = {}
    with torch.no_grad():
        for weight in weights:
            kept[weight] = weight.data.clone()
            weight.add_(weight.grad * (RHO / (norm + 1e-12)))
    return kept


def _share(model: nn.Module, batch: Batch, context: Context) -> Tensor:
    """The dominant modality's share, each coalition a forward pass of the whole model on inputs of zeros."""
    inputs, target = batch
    design = exact(len(inputs))
    model.eval()
    with torch.no_grad(), context():
        accuracies = [
            (model(_masked(inputs, mask)).argmax(1) == target).double().mean() for mask in design.masks.tolist()
        ]
    model.train()
    values = (design.weights @ torch.stack(accuracies)).clamp(min=0)
    total = values.sum()
    return (values.max() / total if total > 0 else torch.tensor(1 / len(inputs))).float()


def _masked(inputs: dict[str, Tensor], mask: list[bool]) -> dict[str, Tensor]:
    members = zip(inputs.items(), mask, strict=True)
    return {name: tensor if present else torch.zeros_like(tensor) for (name, tensor), present in members}

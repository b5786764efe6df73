"""Small models and batches that the tests share: late and early fusion, with normalisation and dropout or without."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam import EarlyFusion, FusionModel, LateFusion

NAMES = ("audio", "image", "text", "depth", "touch", "smell")
WIDTHS = (5, 7, 4, 6, 3, 5)
CLASSES = 4


def encoder(width: int, noisy: bool) -> nn.Module:
    noise: list[nn.Module] = [nn.BatchNorm1d(8), nn.Dropout(0.3)] if noisy else []
    return nn.Sequential(nn.Linear(width, 8), nn.Tanh(), *noise, nn.Linear(8, 6), nn.Tanh())


def model(count: int, fusion: str = "late", noisy: bool = True, dtype: torch.dtype = torch.float64) -> FusionModel:
    torch.manual_seed(7)
    names = NAMES[:count]
    encoders = {name: encoder(WIDTHS[i], noisy) for i, name in enumerate(names)}
    widths = dict.fromkeys(names, 6)
    head = LateFusion(widths, CLASSES) if fusion == "late" else EarlyFusion(widths, CLASSES, (10, 8))
    if fusion == "early" and not noisy:
        head = Plain(widths)
    return FusionModel(encoders, head).to(dtype)


class Plain(nn.Module):
    """A nonlinear shared fusion without noise."""

    def __init__(self, widths: dict[str, int]) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(sum(widths.values()), 9), nn.Tanh(), nn.Linear(9, CLASSES))

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        return self.net(torch.cat(list(features.values()), 1))


class Opaque(nn.Module):
    """A model that shows nothing but `forward`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.inner(inputs)


class Unfusable(Opaque):
    """A model that shows its encoders, but not how it fuses."""

    @property
    def encoders(self) -> nn.ModuleDict:
        return self.inner.encoders


def batch(
    count: int, size: int = 12, seed: int = 0, dtype: torch.dtype = torch.float64
) -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(CLASSES, (size,), generator=generator)
    inputs = {
        name: torch.randn(size, WIDTHS[i], generator=generator, dtype=dtype) + 0.4 * target[:, None]
        for i, name in enumerate(NAMES[:count])
    }
    return inputs, target


def informed(method: Any, names: Sequence[str], epochs: int = 1) -> Any:
    """The method after some epochs' ends, with what it learns from whole sets; the random stream is left alone."""
    with torch.random.fork_rng():
        built = model(len(names))
        encoders = dict(zip(names, built.encoders.values(), strict=True))
        net = FusionModel(encoders, LateFusion(dict.fromkeys(names, 6), CLASSES).double())
        backward = copy.deepcopy(method).on(net, F.cross_entropy)
        for epoch in range(epochs):
            train, valid = (_renamed(batch(len(names), 24, 10 * epoch + part), names) for part in (1, 2))
            backward(*train)
            backward.next_epoch([train], [valid])
    method.load_state_dict(backward.method.state_dict())
    return method


def teachers(names: Sequence[str]) -> dict[str, nn.Module]:
    """Encoders like those of `model` with weights of their own; the random stream is left alone."""
    with torch.random.fork_rng():
        torch.manual_seed(8)
        return {name: encoder(WIDTHS[i], True).double() for i, name in enumerate(names)}


def _renamed(data: tuple[dict[str, Tensor], Tensor], names: Sequence[str]) -> tuple[dict[str, Tensor], Tensor]:
    return dict(zip(names, data[0].values(), strict=True)), data[1]


def gradients(net: nn.Module) -> dict[str, Tensor]:
    return {name: weight.grad.clone() for name, weight in net.named_parameters() if weight.grad is not None}


def run(method: Any, net: nn.Module, inputs: dict[str, Tensor], target: Tensor, **options: Any) -> dict[str, Tensor]:
    """The gradients of one step from a fixed random state; the model given is left as it is."""
    copied = copy.deepcopy(net)
    torch.manual_seed(11)
    copy.deepcopy(method).on(copied, options.pop("criterion", F.cross_entropy), **options)(inputs, target)
    return gradients(copied)


def state(net: nn.Module) -> dict[str, Any]:
    """Everything a step must not change, bit for bit (a copy)."""
    return {
        "weights": {k: v.detach().clone() for k, v in net.state_dict().items()},
        "flags": [module.training for module in net.modules()],
        "requires": [weight.requires_grad for weight in net.parameters()],
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.modules()],
        "random": torch.get_rng_state(),
    }


def same(left: Any, right: Any) -> bool:
    """Equality of nested dicts and lists, bit for bit in tensors."""
    if isinstance(left, Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right


def close(left: dict[str, Tensor], right: dict[str, Tensor], tolerance: float = 1e-12) -> bool:
    """Equality of gradients within an absolute tolerance (float64 by default)."""
    return left.keys() == right.keys() and all(torch.allclose(left[k], right[k], rtol=0, atol=tolerance) for k in left)

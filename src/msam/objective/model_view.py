"""What a model shows: its modalities, their encoders and parameters, how it is wrapped. Nothing is run here.

    view = View(model, F.cross_entropy)
    view.modalities(inputs), view.parameters("audio"), view.capabilities

Ownership of parameters goes by module, never by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from msam.model_state import parameters
from msam.presence import SUFFIX
from msam.types import Criterion, Inputs

_PARALLEL = (DistributedDataParallel, nn.DataParallel)


class View:
    """A model, looked through its wrappers.

    Args:
        model: any module.
        criterion: (logits, target) -> scalar loss; may be a module with parameters of its own.
        encoders: modality -> module, for a model that has no attribute `encoders`.
        parallel: what shares the model's gradients between ranks, if it does not wrap the model itself.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        encoders: Mapping[str, nn.Module] | None = None,
        parallel: DistributedDataParallel | None = None,
    ) -> None:
        self.model = model
        self.wrappers = list(_wrappers(model))
        self.bare: Any = self.wrappers[-1]
        self.criterion = criterion
        self.encoders = _mapping(encoders or getattr(self.bare, "encoders", None) or {})
        found = (wrapper for wrapper in self.wrappers if isinstance(wrapper, DistributedDataParallel))
        self._data_parallel = parallel or next(found, None)

    @cached_property
    def capabilities(self) -> frozenset[str]:
        """What this model offers: any of `encoders`, `separate_encoders`, `fuse`, `additive_fusion`, `heads`."""
        shown = {
            "encoders": bool(self.encoders),
            "separate_encoders": bool(self.encoders) and self._separate,
            "fuse": self.can_fuse,
            "additive_fusion": self.can_fuse and getattr(self.bare, "partial", None) is not None,
            "heads": self.can_fuse and (len(self.encoders) == 1 or getattr(self.bare, "heads", None) is not None),
        }
        return frozenset(name for name, present in shown.items() if present)

    @property
    def can_fuse(self) -> bool:
        """Whether the model has encoders and fuses their features by `fuse`."""
        return bool(self.encoders) and callable(getattr(self.bare, "fuse", None))

    @cached_property
    def separable(self) -> bool:
        """Whether one encoder can be re-run alone: features fuse again, weights are not shared, nothing is compiled."""
        return self.can_fuse and self._separate and not self._joins

    @property
    def _separate(self) -> bool:
        owners = [id(weight) for encoder in self.encoders.values() for weight in set(encoder.parameters())]
        modules = {id(encoder) for encoder in self.encoders.values()}
        return len(owners) == len(set(owners)) and len(modules) == len(self.encoders)

    def modalities(self, inputs: Inputs) -> tuple[str, ...]:
        """The modalities in canonical order: the encoders', else all inputs that are tensors.

        Raises:
            TypeError: if the inputs are no mapping.
            ValueError: if a modality is missing from the inputs.
        """
        if not isinstance(inputs, Mapping):
            raise TypeError(f"Inputs must map modality to tensor, found {type(inputs).__name__}; name each modality.")
        tensors = (name for name, found in inputs.items() if isinstance(found, Tensor) and not name.endswith(SUFFIX))
        names = tuple(self.encoders or tensors)
        missing = [name for name in names if name not in inputs]
        if missing:
            raise ValueError(f"The model expects the modalities {list(names)}, found {list(inputs)}; add {missing}.")
        return names

    def parameters(self, modality: str | None = None, *, head: bool = False) -> list[Tensor]:
        """Trainable parameters: all (those of a criterion that has some too), or those of one encoder.

        With `head`, those of the encoder and of its modality's part of the fusion.
        """
        modules = [self.bare, *([self.criterion] if isinstance(self.criterion, nn.Module) else [])]
        if modality is not None and not (head and len(self.encoders) == 1):
            modules = [self.encoders[modality], *([self.bare.heads[modality]] if head else [])]
        weights = dict.fromkeys(weight for module in modules for weight in parameters(module))
        return [weight for weight in weights if weight.requires_grad]

    def _fusion_parameters(self) -> list[Tensor]:
        owned = {id(weight) for encoder in self.encoders.values() for weight in parameters(encoder)}
        return [weight for weight in self.parameters() if id(weight) not in owned]

    @property
    def device(self) -> torch.device:
        """Where the parameters are (the CPU for a model without any)."""
        return next((weight.device for weight in self.bare.parameters()), torch.device("cpu"))

    @property
    def _joins(self) -> bool:
        """Whether a pass must return the features itself, because hooks on encoders would break a compiled graph."""
        return self.can_fuse and self._compiled and self._data_parallel is None

    @property
    def _compiled(self) -> bool:
        return any(hasattr(wrapper, "_orig_mod") for wrapper in self.wrappers)

    @property
    def _shell(self) -> Any:
        """Fabric's outermost wrapper, if there is one: in mixed precision it lets nobody but itself differentiate."""
        return self.model if "_forward_module" in self.model._modules else None

    @cached_property
    def _capturable(self) -> dict[str, nn.Module]:
        """Encoders whose outputs one hook each can tell apart."""
        distinct = len({id(encoder) for encoder in self.encoders.values()}) == len(self.encoders)
        return self.encoders if distinct and (self.can_fuse or not self._compiled) else {}


def _mapping(encoders: Any) -> dict[str, nn.Module]:
    if not hasattr(encoders, "keys"):
        raise TypeError(
            f"A model's `encoders` must map modality to module, found {type(encoders).__name__}; pass encoders={{...}}."
        )
    return dict(encoders)


def _wrappers(model: nn.Module) -> Iterator[nn.Module]:
    """The model and what it wraps, outermost first."""
    yield model
    attributes = ["_orig_mod", "_forward_module", *(["module"] if isinstance(model, _PARALLEL) else [])]
    inner = next((model._modules[name] for name in attributes if name in model._modules), None)
    if inner is not None:
        yield from _wrappers(inner)

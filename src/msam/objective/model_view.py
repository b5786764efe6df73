"""What a model shows: its modalities, their encoders and parameters, how it is wrapped. Nothing is run here.

    view = ModelView(model, F.cross_entropy)
    view.modalities(inputs), view.parameters("audio"), view.capabilities

Ownership of parameters goes by module, never by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from msam.model_state import device_of, parameters, trainable
from msam.objective.wrappers import compiled, fabric_inner, sharder, unwrapped
from msam.presence import SUFFIX
from msam.types import Criterion, Inputs


class ModelView:
    """A model, looked through its wrappers.

    Args:
        model: any module.
        criterion: (logits, target) -> scalar loss; may be a module with parameters of its own.
        encoders: modality -> module, for a model that has no attribute `encoders`.
        parallel: what shares the model's gradients between ranks, if it does not wrap the model itself.

    Attributes:
        bare: the module inside all wrappers.
        entry: the module whose call is a training pass: the model, or what Fabric's outermost wrapper holds, which in
            mixed precision lets nobody but itself differentiate.
        is_compiled: whether `torch.compile` is among the wrappers.
        can_fuse: whether the model has encoders and fuses their features by `fuse`.
        joins: whether a pass must return the features itself, because hooks on encoders would break a compiled graph.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        encoders: Mapping[str, nn.Module] | None = None,
        parallel: DistributedDataParallel | None = None,
    ) -> None:
        self.model = model
        self.wrappers = unwrapped(model)
        self.bare: Any = self.wrappers[-1]
        self.entry = self.wrappers[1] if fabric_inner(model) is not None else model
        if (name := sharder(model)) is not None:
            raise ValueError(
                f"A method moves whole weights and measures whole gradients, found a model that {name} keeps in parts; "
                "use DistributedDataParallel, or train without a method."
            )
        self.criterion = criterion
        self.encoders = _mapping(encoders or getattr(self.bare, "encoders", None) or {})
        wrapping = (wrapper for wrapper in self.wrappers if isinstance(wrapper, DistributedDataParallel))
        self.parallel = parallel or next(wrapping, None)
        if self.parallel is not None and self.parallel.static_graph:
            self.entry = self._inside_static(self.parallel)
        self.is_compiled = compiled(self.wrappers) is not None
        self.can_fuse = bool(self.encoders) and callable(getattr(self.bare, "fuse", None))
        self.joins = self.can_fuse and self.is_compiled and self.parallel is None

    def _inside_static(self, wrapper: DistributedDataParallel) -> nn.Module:
        """What a static graph's wrapper holds: several passes a batch go past it, and gradients are shared after them.

        Raises:
            ValueError: if the wrapper has the model within another module, whose passes are not the method's.
        """
        if wrapper not in self.wrappers:
            raise ValueError(
                "Found static_graph=True for a module that holds the model, whose graph differs from pass to pass; use "
                "DistributedDataParallel without it."
            )
        inner: nn.Module = wrapper.module
        return inner

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

    @cached_property
    def separable(self) -> bool:
        """Whether one encoder can be re-run alone: features fuse again, weights are not shared, nothing is compiled."""
        return self.can_fuse and self._separate and not self.joins

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
        tensors = (name for name, value in inputs.items() if isinstance(value, Tensor) and not name.endswith(SUFFIX))
        names = tuple(self.encoders or tensors)
        missing = [name for name in names if name not in inputs]
        if missing:
            raise ValueError(f"The model expects the modalities {list(names)}, found {list(inputs)}; add {missing}.")
        return names

    def parameters(self, modality: str | None = None, *, head: bool = False) -> list[Tensor]:
        """Trainable parameters: all (those of a criterion that has some too), or those of one encoder.

        With `head`, those of the encoder and of its modality's part of the fusion.
        """
        if modality is None or (head and len(self.encoders) == 1):
            return trainable(self.bare, self.criterion)
        return trainable(self.encoders[modality], *([self.bare.heads[modality]] if head else []))

    def encoder_parameters(self) -> set[Tensor]:
        """Parameters of all encoders; all trainable ones of a model that shows none."""
        return set(parameters(*self.encoders.values())) if self.encoders else set(self.parameters())

    def fusion_parameters(self) -> list[Tensor]:
        """Trainable parameters that belong to no encoder."""
        owned = self.encoder_parameters()
        return [weight for weight in self.parameters() if weight not in owned]

    @property
    def device(self) -> torch.device:
        """Where the parameters are (the CPU for a model without any)."""
        return device_of(self.bare)

    @cached_property
    def observable(self) -> dict[str, nn.Module]:
        """Encoders whose outputs one hook each can tell apart."""
        distinct = len({id(encoder) for encoder in self.encoders.values()}) == len(self.encoders)
        return self.encoders if distinct and (self.can_fuse or not self.is_compiled) else {}


def _mapping(encoders: Any) -> dict[str, nn.Module]:
    if not hasattr(encoders, "keys"):
        raise TypeError(
            f"A model's `encoders` must map modality to module, found {type(encoders).__name__}; pass encoders={{...}}."
        )
    return dict(encoders)

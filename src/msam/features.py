"""What the feature of an encoder's output is: the tensor that classifiers read and that a fusion takes.

    SAM().on(model, criterion, features={"text": lambda output: output.last_hidden_state[:, 0]})
    FusionModel({"text": bert, "audio": lstm}, fusion, features={"audio": lambda output: output[1][0][-1]})

Without the hook a tensor is its own feature, an output with named fields gives its `pooler_output`, else its
`last_hidden_state`, and an output with a single tensor gives that. Any other output, such as the tuple of an
`nn.LSTM`, has more than one tensor that could be meant; it is refused where a feature is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

FeatureHook = Callable[[Any], Tensor] | Mapping[str, Callable[[Any], Tensor]]
"""Encoder output -> feature `[batch, ...]`; one function for all modalities, or modality -> function for some."""

_NAMED = ("pooler_output", "last_hidden_state")


class Unseen(dict[str, Tensor]):
    """No features, and the reason why."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class FeatureReader:
    """Encoder outputs to features.

    Args:
        hook: what the user says; the defaults of this module if None.

    Attributes:
        plain: whether every output so far was its own feature.
    """

    def __init__(self, hook: FeatureHook | None = None) -> None:
        self.hook = hook
        self.plain = hook is None

    def __call__(self, modality: str, output: Any) -> Tensor:
        """The feature of one encoder's output, `[batch, ...]`.

        Raises:
            TypeError: if the hook returns no tensor.
            ValueError: if it is not clear which tensor is meant.
        """
        hook = self.hook.get(modality) if isinstance(self.hook, Mapping) else self.hook
        if hook is None:
            self.plain &= isinstance(output, Tensor)
            return output if isinstance(output, Tensor) else _default(modality, output)
        feature = hook(output)
        if not isinstance(feature, Tensor) or feature.dim() == 0:
            raise TypeError(
                f"features= must make a tensor [batch, ...] of the output of encoder {modality!r}, found "
                f"{_shown(feature)}; pick another part of {_shown(output)}."
            )
        return feature

    def all(self, outputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """Features of all outputs, or none with the reason."""
        try:
            return {modality: self(modality, output) for modality, output in outputs.items()}
        except (TypeError, ValueError) as error:
            return Unseen(str(error))


def required(features: Mapping[str, Tensor], modality: str) -> Tensor:
    """The feature of a modality.

    Raises:
        ValueError: why it is not there.
    """
    if modality not in features:
        raise ValueError(f"A feature of {modality!r} is needed. {reason_of(features, modality)}")
    return features[modality]


def reason_of(features: Mapping[str, Tensor], modality: str) -> str:
    """Why the feature of a modality is not there."""
    return getattr(
        features,
        "reason",
        f"The model's forward pass did not show the output of the encoder {modality!r}; call each encoder once, as a "
        "module, without full backward hooks, and in no reentrant checkpoint; a compiled model needs `fuse`.",
    )


def _default(modality: str, output: Any) -> Tensor:
    """The feature of an output that is no tensor, by name or because there is only one."""
    fields = dict(_fields(output))
    for name in _NAMED:
        if isinstance(fields.get(name), Tensor):
            return fields[name]  # type: ignore[no-any-return]
    tensors = [value for value in fields.values() if isinstance(value, Tensor)]
    if len(tensors) == 1 and all(value is None for value in fields.values() if not isinstance(value, Tensor)):
        return tensors[0]
    raise ValueError(
        f"The encoder {modality!r} returns {_shown(output)}, of which one tensor [batch, ...] is its feature; say "
        f"which: features={{{modality!r}: lambda output: ...}}."
    )


def _fields(output: Any) -> Iterator[tuple[Any, Any]]:
    """The parts of an output, by name or position."""
    if isinstance(output, Mapping):
        yield from output.items()
    elif isinstance(output, (tuple, list)):
        named = getattr(output, "_fields", range(len(output)))
        yield from zip(named, output, strict=True)
    elif hasattr(output, "__dict__"):
        yield from vars(output).items()


def _shown(value: Any) -> str:
    """A value in a few words: its type and the shapes in it."""
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}"
    parts = list(_fields(value))
    inside = ", ".join(f"{key}: {_short(part)}" for key, part in parts[:4])
    return f"{type(value).__name__} ({inside}{', ...' if len(parts) > 4 else ''})" if parts else type(value).__name__


def _short(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__

"""Methods as text: `MSAM(rho=0.1)` as the command line writes it, `msam:rho=0.1`."""

from __future__ import annotations

import inspect
from typing import Any

from msam import Method, Shapley

_PLAIN = (bool, int, float, str)


def text_of(method: Method) -> str:
    """A method of `msam`, or of a module that can be imported, by its name and the arguments that it was made with.

    Raises:
        ValueError: an argument that text cannot hold.
    """
    kind = type(method)
    name = kind.name if vars(kind).get("name") else f"{kind.__module__}:{kind.__qualname__}"
    return ":".join([name, *(f"{key}={_written(value)}" for key, value in _arguments(method, name).items())])


def _arguments(each: Any, name: str) -> dict[str, Any]:
    """The arguments of an object that are not the defaults, read from its attributes of the same names."""
    values: dict[str, Any] = {}
    for key, parameter in inspect.signature(type(each)).parameters.items():
        if key in ("widths", "classes") or not hasattr(each, key):
            continue
        value = getattr(each, key)
        if isinstance(value, Shapley):
            values |= {f"{key}.{inner}": part for inner, part in _arguments(value, name).items()}
        elif value is not None and not isinstance(value, _PLAIN):
            if value != parameter.default:
                raise ValueError(f"{key} of {name} cannot be written as text, found {value!r}; write a name=value.")
        elif value != parameter.default:
            values[key] = value
    return values


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

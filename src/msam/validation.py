"""Checks of arguments: what was expected, what was found, in one sentence; all of them raise ValueError.

self.rho = in_range("rho", rho, 0)
self.scope = one_of("scope", scope, ("loss", "encoder"))
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeVar

from torch import Tensor

Choice = TypeVar("Choice")


def in_range(name: str, value: float, low: float, high: float = float("inf")) -> float:
    """The value, if it lies in [low, high].

    Raises:
        ValueError: if it does not, or is not a number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        above = "" if high == float("inf") else f" and at most {high:g}"
        raise ValueError(f"{name} must be a number of at least {low:g}{above}, found {value!r}.")
    return value


def one_of(name: str, value: Choice, among: Iterable[Choice]) -> Choice:
    """The value, if it is one of those.

    Raises:
        ValueError: if it is not.
    """
    if value not in (choices := list(among)):
        raise ValueError(f"{name} must be one of {choices}, found {value!r}.")
    return value


def class_indices(asker: object, logits: Tensor | None, target: Tensor, instead: str = "") -> Tensor:
    """The class of each sample, int64 `[batch]`, from integers of any type; the one guard of all that need it.

    Args:
        asker: what needs classes: a method, or words.
        logits: `[batch, classes]`, of two classes or more; None if none are at hand.
        target: `[batch]`; several labels a sample, one-hot rows and values to regress are refused.
        instead: what to do otherwise, for the error.

    Raises:
        ValueError: if a target is something else.
    """
    one = logits is not None and logits.dim() == 2 and logits.shape[1] < 2
    shape = [] if logits is None else list(logits.shape)
    wrong = logits is not None and (logits.dim() != 2 or one)
    if target.dim() != 1 or target.is_floating_point() or target.is_complex() or wrong:
        hint = "; one logit for two classes is to be two logits" if one else ""
        needs = f"{type(asker).__name__} asks how probable the true class is: it needs"
        needs = f"{asker} need" if isinstance(asker, str) else needs
        raise ValueError(
            f"{needs} class indices [batch] and logits [batch, classes], "
            f"found targets {target.dtype} {list(target.shape)} and logits {shape}{hint}{instead}."
        )
    return target.long()


def positive(**arguments: float) -> None:
    """Refuses arguments that are not finite numbers above zero.

    Raises:
        ValueError: naming the first that is not.
    """
    for name, value in arguments.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be a number above 0, found {value!r}.")


def whole(**arguments: int) -> None:
    """Refuses arguments that are not whole numbers above zero.

    Raises:
        ValueError: naming the first that is not.
    """
    for name, value in arguments.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, found {value!r}.")

"""What passes may write besides buffers: attributes of modules, state of a criterion, weights that follow others.

    effects = SideEffects.of(model, criterion)       # None where there is nothing of the kind
    undo = effects.save()
    ...                                              # a pass that is not the batch's first works on copies
    undo()

A queue, a counter or a momentum encoder moves once a batch, by the first pass. Looked at are the attributes of all
modules that belong to no library, of objects and modules that a criterion holds, and what functions refer to (the
criterion, forward hooks, methods of a module): their closures, their defaults, and the globals that they name.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from msam.model_state import GENERATORS, generator_at, generator_state, modules, write_values

_KEPT_BY_TORCH = frozenset(vars(nn.Module()))
_LIBRARIES = ("torch", "msam", "lightning", "pytorch_lightning", "accelerate", "transformers", "numpy", "builtins")
_DEPTH = 4
"""How far objects within objects are followed."""
_LONG = 10_000
"""Elements of a container that is taken for data, which no pass writes."""
_LIMIT = 2**28
"""Bytes of frozen weights that are compared by value; of more, torch's counter of writes is read."""


class Namespace(NamedTuple):
    """Names that are bound to values, and those of them that are left alone or, if given, alone looked at."""

    bound: MutableMapping[str, Any]
    without: frozenset[str] = frozenset()
    only: frozenset[str] | None = None

    def values(self) -> dict[str, Any]:
        """What is bound now."""
        names = self.bound.keys() - self.without if self.only is None else self.only & self.bound.keys()
        return {name: self.bound[name] for name in names}


class SideEffects:
    """State beside buffers that passes may write.

    Args:
        namespaces: where it is bound.
        frozen: weights that take no gradient, by name.
    """

    def __init__(self, namespaces: list[Namespace], frozen: dict[str, Tensor]) -> None:
        self._namespaces, self._frozen = namespaces, frozen
        self._small = sum(weight.nbytes for weight in frozen.values()) <= _LIMIT
        self._written: set[str] = set()
        self._batches = 0
        self._draws: dict[int, Any] = {}

    def follow(self, earlier: SideEffects | None) -> None:
        """Goes on from what has been noted of the same objects."""
        if earlier is not None:
            self._batches, self._draws, self._written = earlier._batches, earlier._draws, earlier._written

    @classmethod
    def of(cls, model: nn.Module, *users: object) -> SideEffects | None:
        """Those of a model, whose buffers are kept elsewhere, and of a criterion and functions; None without any."""
        reached: set[int] = set()
        within = list(_of_module(model, reached, 0, buffers=False))
        namespaces = within + [each for user in users for each in _reach(user, reached, 0)]
        frozen: dict[str, Tensor] = {}
        if within:
            frozen |= {n: weight for n, weight in model.named_parameters() if not weight.requires_grad}
        return cls(namespaces, frozen) if namespaces else None

    def begin(self) -> None:
        """Notes where the generators stand that the batch's first pass will draw from."""
        self._batches += 1
        values = (value for namespace in self._namespaces for value in namespace.values().values())
        self._draws = {id(value): generator_state(value) for value in values if isinstance(value, GENERATORS)}

    def save(self) -> Callable[[], None]:
        """Lets passes work on copies, and draw what the first pass drew, until what is returned is called."""
        memo: dict[int, Any] = {}
        originals = [(namespace, namespace.values()) for namespace in self._namespaces]
        for namespace, values in originals:
            namespace.bound.update({name: self._copy(value, memo) for name, value in values.items()})
        looking = self._small and not self._batches & (self._batches - 1)  # in the first, second, fourth, ... batch
        names = list(self._frozen) if looking else list(self._written)
        saved = {name: self._frozen[name].detach().clone() for name in names}
        versions = {name: weight._version for name, weight in self._frozen.items()}
        return partial(self._undo, originals, saved, versions)

    def _undo(
        self,
        originals: list[tuple[Namespace, dict[str, Any]]],
        saved: dict[str, Tensor],
        versions: dict[str, int],
    ) -> None:
        for namespace, values in originals:
            for name in namespace.values().keys() - values.keys():
                del namespace.bound[name]
            namespace.bound.update(values)
        for name, values_before in saved.items():
            if not torch.equal(self._frozen[name].detach(), values_before):
                self._written.add(name)
                write_values(self._frozen[name], values_before)
        missed = [name for name in versions.keys() - saved.keys() if self._frozen[name]._version != versions[name]]
        if missed:
            raise RuntimeError(
                f"Expected a pass to leave frozen weights alone, found {min(missed)!r} changed by a second "
                "pass of the batch; keep weights that follow others in buffers, or update them outside of `forward`."
            )

    def _copy(self, value: Any, memo: dict[int, Any]) -> Any:
        """A copy of what can be written in place; weights, parts of a graph, modules and objects are themselves."""
        if id(value) in memo:
            return memo[id(value)]
        copied = value
        if isinstance(value, Tensor):
            copied = value if value.requires_grad else value.detach().clone()
        elif isinstance(value, GENERATORS):
            copied = generator_at(value, self._draws.get(id(value)))
        elif isinstance(value, (list, set, tuple, dict, deque)) and len(value) > _LONG:
            pass
        elif type(value) in (list, set, tuple):
            copied = type(value)(self._copy(each, memo) for each in value)
        elif isinstance(value, deque):
            copied = deque((self._copy(each, memo) for each in value), value.maxlen)
        elif type(value) is dict:
            copied = {key: self._copy(each, memo) for key, each in value.items()}
        elif type(value).__module__ == "numpy" and hasattr(value, "copy"):
            copied = value.copy()
        memo[id(value)] = copied
        return copied


class _Cells(MutableMapping[str, Any]):
    """The variables that a function has from around it."""

    def __init__(self, function: types.FunctionType) -> None:
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        self._cells = {name: cell for name, cell in cells if _is_filled(cell)}

    def __getitem__(self, name: str) -> Any:
        return self._cells[name].cell_contents

    def __setitem__(self, name: str, value: Any) -> None:
        self._cells[name].cell_contents = value

    def __delitem__(self, name: str) -> None:
        del self._cells[name].cell_contents

    def __iter__(self) -> Iterator[str]:
        return iter(self._cells)

    def __len__(self) -> int:
        return len(self._cells)


class _Defaults(MutableMapping[str, Any]):
    """The default arguments of a function, by position."""

    def __init__(self, function: types.FunctionType) -> None:
        self._function = function

    def __getitem__(self, name: str) -> Any:
        return (self._function.__defaults__ or ())[int(name)]

    def __setitem__(self, name: str, value: Any) -> None:
        values = list(self._function.__defaults__ or ())
        values[int(name)] = value
        self._function.__defaults__ = tuple(values)

    def __delitem__(self, name: str) -> None:
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return map(str, range(len(self)))

    def __len__(self) -> int:
        return len(self._function.__defaults__ or ())


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _of_library(value: object) -> bool:
    return type(value).__module__.partition(".")[0].partition("_")[0] in _LIBRARIES


def _reach(value: object, reached: set[int], depth: int) -> Iterator[Namespace]:
    """The namespaces that a value can write to."""
    if id(value) in reached or depth > _DEPTH or isinstance(value, (Tensor, type, types.ModuleType)):
        return
    reached.add(id(value))
    inner: list[object] = []
    if isinstance(value, nn.Module):
        yield from _of_module(value, reached, depth, buffers=True)
    elif isinstance(value, types.FunctionType):
        yield from _of_function(value, reached, depth)
    elif isinstance(value, types.MethodType):
        inner = [value.__self__, value.__func__]
    elif isinstance(value, partial):
        inner = [value.func, *value.args, *value.keywords.values()]
    elif isinstance(value, (list, tuple, set, deque)):
        inner = list(value)[:100]
    elif isinstance(value, dict):
        inner = list(value.values())[:100]
    elif hasattr(value, "__dict__") and not _of_library(value):
        yield Namespace(vars(value))
        inner = list(vars(value).values())
    for each in inner:
        yield from _reach(each, reached, depth + 1)


def _of_module(model: nn.Module, reached: set[int], depth: int, *, buffers: bool) -> Iterator[Namespace]:
    for module in modules(model):
        reached.add(id(module))
        if buffers and module._buffers and not isinstance(module, nn.modules.loss._Loss):
            yield Namespace(module._buffers)
        if not _of_library(module):
            yield Namespace(vars(module), _KEPT_BY_TORCH)
    for module in modules(model):
        held = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
        if not _of_library(module):
            held += [vars(module)[name] for name in vars(module).keys() - _KEPT_BY_TORCH]
            held += [each for each in vars(type(module)).values() if isinstance(each, types.FunctionType)]
        for value in held:
            yield from _reach(value, reached, depth + 1)


def _of_function(function: types.FunctionType, reached: set[int], depth: int) -> Iterator[Namespace]:
    if function.__module__ is None or function.__module__.partition(".")[0] in _LIBRARIES:
        return
    names = _names(function.__code__) & function.__globals__.keys()
    named = {name for name in names if not isinstance(function.__globals__[name], (type, types.ModuleType))}
    around = (_Cells(function), _Defaults(function), function.__kwdefaults__ or {})
    for namespace in (*map(Namespace, around), Namespace(function.__globals__, only=frozenset(named))):
        if namespace.values():
            yield namespace
            for value in namespace.values().values():
                yield from _reach(value, reached, depth + 1)


def _names(code: types.CodeType) -> set[str]:
    inner = (each for each in code.co_consts if isinstance(each, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))

"""Methods, data sets and encoders by name: those that ship, those that packages register, and any by its path.

    methods()["sam"].search                            # {"rho": (0.02, ..., 2.0)}, of the class's own attributes
    build(parse_method("sam:rho=0.1"), widths, classes)
    build(parse_method("mine:Toy"), widths, classes)   # class Toy of mine.py, in the working directory or installed
   build(parse_method("msam:rho=0.3:of=mbsd:of.weight=3"), widths, classes)      # MSAM(rho=0.3, of=MBSD(weight=3))

A package registers what it adds by entry points of the groups `msam.methods` (name = "package.module:Class"),
`msam.datasets` (a `Source`) and `msam.encoders` (a function of a modality and a number of features).
"""

from __future__ import annotations

import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msam_bench.names import nearest

if TYPE_CHECKING:
    from types import ModuleType

    from msam import Method, Shapley
    from msam_bench.config.run import MethodConfig

_FAMILIES = ("reference", "sharpness", "balance")
_CONTROLS = "msam_bench.studies.controls"


@dataclass(frozen=True)
class MethodEntry:
    """A method by one of its names.

    Args:
        cls: its class.
        params: the arguments that the name stands for.
        search: argument -> its values in the listed trials of a search; empty for a control.
        extension: the name of its extension to more than two modalities, if it has one.
        extends: the name of the method that it extends, if it does.
        control: whether it answers a question about another method and is no rival.
        remedy: what a diagnosis advises it for.
    """

    cls: type[Method]
    params: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    extension: str = ""
    extends: str = ""
    control: bool = False
    remedy: str = ""


@cache
def methods() -> dict[str, MethodEntry]:
    """Every method by its name: references, then families in the order of publication, then those of other packages."""
    from msam import Method

    entries: dict[str, MethodEntry] = {}
    classes = [cls for module in (*submodules("msam.methods"), import_module(_CONTROLS)) for cls in _defined(module)]
    named = [(cls.name, cls) for cls in sorted(classes, key=_published)]
    for name, cls in (*named, *plugins("msam.methods").items()):
        if not (isinstance(cls, type) and issubclass(cls, Method)):
            raise ValueError(f"Expected a subclass of msam.Method as the method {name!r}, found {cls!r}.")
        for each, entry in _entries(name, cls).items():
            if each in entries:
                raise ValueError(f"Two methods are called {each!r}, {_path(entries[each].cls)} and {_path(cls)}.")
            entries[each] = entry
    return entries


def rivals() -> list[str]:
    """The methods that `all` compares: no controls, no extensions."""
    return [name for name, entry in methods().items() if not (entry.control or entry.extends)]


def remedies(need: str) -> list[str]:
    """The methods that are advised for a need: `support`, `restraint` or `flatness`."""
    return [name for name, entry in methods().items() if entry.remedy == need]


def build(config: MethodConfig, widths: Mapping[str, int], classes: int, value: str = "accuracy") -> Method:
    """The method of a configuration; `attribution.key` arguments go to its Shapley values, `of.key` to the method `of`.

    Args:
        config: its name and arguments.
        widths: modality -> width of its feature, for methods with classifiers of their own.
        classes: number of logits, likewise.
        value: the value function of contributions, unless the configuration names one.

    Raises:
        ValueError: an unknown method or argument (with the nearest name), or a value out of range.
    """
    cls, fixed = _located(config.name)
    sizes = {"widths": widths, "classes": classes}
    offered = {key: size for key, size in sizes.items() if key in inspect.signature(cls).parameters}
    params: dict[str, Any] = {**offered, **fixed, **config.params}
    inner: dict[str, Any] = {
        key.partition(".")[2]: params.pop(key) for key in list(params) if key.startswith("attribution.")
    }
    if (of := _taken_of(config, params)) is not None:
        params["of"] = of
    _check_arguments(config.name, cls, params)
    if of is not None:
        params["of"] = build(of, widths, classes, value)
    if value != "accuracy" and "attribution" in inspect.signature(cls).parameters:
        inner = {"value": value, **inner}
    try:
        if inner:
            params["attribution"] = _attribution(config.name, inner)
        method: Method = cls(**params)
    except TypeError as error:
        raise ValueError(f"Method {config.name!r} cannot be made from {params | inner}: {error}.") from None
    return method


# ---- what is installed -----------------------------------------------------------------------------------------------


def submodules(package: str) -> Iterator[ModuleType]:
    """The modules of a package, imported, in the order of their names; of a package inside it, its `source`."""
    for module in pkgutil.iter_modules(import_module(package).__path__):
        yield import_module(f"{package}.{module.name}{'.source' if module.ispkg else ''}")


def plugins(group: str) -> dict[str, Any]:
    """Objects that other packages register under a group of entry points, by name.

    Raises:
        ValueError: an entry point whose object cannot be imported.
    """
    objects = {}
    for point in sorted(metadata.entry_points(group=group), key=lambda point: point.name):
        try:
            objects[point.name] = point.load()
        except (ImportError, AttributeError) as error:
            raise ValueError(
                f"Expected {point.value} for the entry point {point.name!r} of {group}, found: {error}; update or "
                "remove the package that registers it."
            ) from None
    return objects


def load(location: str, what: str) -> Any:
    """The object at `package.module:name`; the working directory is searched last.

    Args:
        location: where it is.
        what: is expected there, for the message.

    Raises:
        ValueError: there is none.
    """
    module, _, attribute = location.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError, SyntaxError, NameError, LookupError) as error:
        raise ValueError(f"Expected {what} at {location!r}, found none: {error}.") from None


# ---- a method --------------------------------------------------------------------------------------------------------


def _defined(module: ModuleType) -> list[type[Method]]:
    """The methods with a name that a module defines."""
    classes = [cls for cls in vars(module).values() if isinstance(cls, type) and cls.__module__ == module.__name__]
    return [cls for cls in classes if vars(cls).get("name")]


def _published(cls: type[Method]) -> tuple[int, bool, str, str]:
    """The key that orders methods: family, paper, name."""
    number = re.search(r"\d{4}\.\d{5}", cls.paper)
    place = _FAMILIES.index(cls.family) if cls.family in _FAMILIES else len(_FAMILIES)
    return place, bool(cls.controls), number[0] if number else "9", cls.name


def _entries(name: str, cls: type[Method]) -> dict[str, MethodEntry]:
    """A class under its name, and under those of its variants; what its parents declare under theirs is not its own."""
    declared = vars(cls)
    controls, remedies = declared.get("controls", ()), declared.get("remedies", {})
    extension = declared.get("extended_by", "")
    return {
        each: MethodEntry(
            cls,
            params,
            {} if each in controls else {key: tuple(values) for key, values in cls.search.items()},
            extension if each == name else "",
            name if each == extension else "",
            each in controls,
            remedies.get(each, ""),
        )
        for each, params in {name: {}, **declared.get("variants", {})}.items()
    }


def _located(name: str) -> tuple[Any, Mapping[str, Any]]:
    if ":" in name:
        return load(name, "a method class"), {}
    if name in methods():
        return methods()[name].cls, methods()[name].params
    raise ValueError(f"Unknown method {name!r}: {nearest(name, methods())}, or name your own package.module:Class.")


def _taken_of(config: MethodConfig, params: dict[str, Any]) -> MethodConfig | None:
    """The method `of` another, of its arguments, which are taken out."""
    given = {key.removeprefix("of."): params.pop(key) for key in list(params) if key.startswith("of.")}
    if (name := params.pop("of", None)) is not None:
        return config.model_copy(update={"name": str(name), "params": given, "tuned": {}})
    if given:
        raise ValueError(
            f"Method {config.name!r} has arguments for a method of= ({', '.join(f'of.{key}' for key in given)}), but "
            "names none; write for example msam:of=mbsd:of.weight=3."
        )
    return None


def _attribution(name: str, params: dict[str, Any]) -> Shapley:
    from msam import Shapley

    _check_arguments(f"{name}'s attribution", Shapley, params)
    return Shapley(**params)


def _path(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _check_arguments(name: str, cls: Any, params: dict[str, Any]) -> None:
    known = list(inspect.signature(cls).parameters)
    for key in params:
        if key not in known:
            raise ValueError(f"Method {name!r} has no argument {key!r}: {nearest(key, known)}.")

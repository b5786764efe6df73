"""What a problem is known by: its import path, and the sha256 of the code that decides its numbers.

    location_of(problem)          # "my_module:experiment"; None if no module holds it under a name
    sources_of(problem)           # {"my_module": "9f86d0...", "my_models": "60303a..."}

Code is that of the modules of its functions and of every module that these import from outside the installed packages.
A function without a file, as in a notebook, is known by its own code, its closure and what it refers to.
"""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from msam_bench.data.problems.problem import Problem, keep_here

_INSTALLED = tuple({str(Path(sysconfig.get_path(key)).resolve()) for key in ("stdlib", "purelib", "platlib")})
_PLAIN = (bool, int, float, str, bytes, tuple, type(None))


def name_of(problem: Problem) -> tuple[str, bool]:
    """The location of a problem, under which this process knows it from now on, and whether others can import it."""
    location = location_of(problem)
    name = location or f"{_import_name(problem.module)}:experiment-{_digest(sources_of(problem))[:8]}"
    keep_here(name, problem)
    return name, location is not None


def location_of(problem: Problem) -> str | None:
    """`module:name` of a problem that another process can import; None otherwise."""
    module = sys.modules.get(problem.module)
    if module is None or _file(module) is None:
        return None
    name = next((name for name, value in vars(module).items() if value is problem), None)
    return f"{_import_name(problem.module)}:{name}" if name else None


def sources_of(problem: Problem) -> dict[str, str]:
    """Module, or function without a file -> sha256 of its code."""
    names = {problem.module, *(getattr(part, "__module__", "") for part in problem.parts.values())}
    modules = list(_reachable([sys.modules[name] for name in sorted(names) if name in sys.modules]))
    files = {_import_name(module.__name__): path for module in modules if (path := _file(module))}
    sources = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())}
    if location_of(problem) is None:
        sources |= {f"{name}()": _digest(list(_content(part, set()))) for name, part in problem.parts.items()}
    return sources


def _import_name(module: str) -> str:
    """The name under which another process imports a module: a script's is that of its file."""
    if module not in ("__main__", "__mp_main__"):
        return module
    path = _file(sys.modules[module])
    return path.stem if path else "notebook"


def _file(module: ModuleType) -> Path | None:
    """The file of a module that is written here, None for one that is installed, built in or a notebook."""
    path = getattr(module, "__file__", None)
    if path is None or module.__name__.partition(".")[0] in ("msam", "msam_bench"):
        return None
    file = Path(path).resolve()
    return file if file.is_file() and not str(file).startswith(_INSTALLED) else None


def _reachable(modules: list[ModuleType]) -> Iterator[ModuleType]:
    """These modules and those they refer to, as far as they are written here."""
    seen: set[str] = set()
    while modules:
        module = modules.pop()
        if module.__name__ in seen or _file(module) is None:
            continue
        seen.add(module.__name__)
        yield module
        for value in list(vars(module).values()):
            other = value if isinstance(value, ModuleType) else sys.modules.get(str(getattr(value, "__module__", "")))
            if isinstance(other, ModuleType):
                modules.append(other)


def _content(value: Any, seen: set[int]) -> Iterator[str]:
    """Everything that decides what a function does, as far as it is written here."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, _PLAIN):
        yield repr(value)
    elif isinstance(value, type):
        for name, member in sorted(vars(value).items()):
            yield from ([name, *_content(member, seen)] if isinstance(member, (FunctionType, *_PLAIN)) else [name])
    elif isinstance(value, FunctionType):
        yield from _code(value.__code__)
        yield from (text for cell in value.__closure__ or () for text in _content(cell.cell_contents, seen))
        yield from (text for default in value.__defaults__ or () for text in _content(default, seen))
        for name in value.__code__.co_names:
            other = value.__globals__.get(name)
            if isinstance(other, (type, FunctionType, *_PLAIN)) and getattr(other, "__module__", "") in _LOOSE:
                yield from _content(other, seen)
    else:
        yield f"{type(value).__module__}.{type(value).__qualname__}"


_LOOSE = ("__main__", "")
"""Modules whose functions may have no file, and what has no module."""


def _code(code: CodeType) -> Iterator[str]:
    yield code.co_code.hex()
    yield from code.co_names
    for constant in code.co_consts:
        yield from (_code(constant) if isinstance(constant, CodeType) else [repr(constant)])


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()

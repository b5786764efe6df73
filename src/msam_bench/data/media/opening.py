"""What goes wrong before a file is decoded: it is not there, it is a pointer, or the package that reads it is missing.

av = needed("av")              # the module, or a sentence that names the extra
present(path)                  # the path, if there is a file with content of its own
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

_POINTER = b"version https://git-lfs"


def needed(module: str) -> ModuleType:
    """A module of the extra `msam[media]`.

    Raises:
        ValueError: It is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ValueError(
            f"Expected the package '{error.name}' to read this kind of file, found it missing: "
            "pip install 'msam[media]'."
        ) from None


def present(path: Path) -> Path:
    """The path of a file that is there and is no Git-LFS pointer.

    Raises:
        ValueError: There is no such file, or only a pointer to it.
    """
    if not path.is_file():
        raise ValueError(f"Expected the file {path}, found none: fetch it, or leave its sample out.")
    with path.open("rb") as stream:
        if stream.read(len(_POINTER)) == _POINTER:
            raise ValueError(f"Expected {path} itself, found a Git-LFS pointer to it: run 'git lfs pull' there.")
    return path


def has_stream(path: Path, kind: str) -> bool:
    """Whether a clip has pictures ("video") or sound ("audio"), as its head says.

    Raises:
        ValueError: No such file, a pointer to it, or one that cannot be opened.
    """
    av = needed("av")
    try:
        with av.open(str(present(path))) as container:
            return any(stream.type == kind for stream in container.streams)
    except (av.FFmpegError, OSError) as error:
        raise ValueError(f"Expected a clip in {path}, found: {brief(error, path)}; fetch the file again.") from None


def brief(error: Exception, path: Path) -> str:
    """The first line of what a decoder says of a file, without the file's path and without a full stop."""
    text = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    return str(text).replace(repr(str(path)), "it").rstrip(".")

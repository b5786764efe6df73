"""One folder a run: `run.json`, `metrics.csv`, `last.ckpt`, `best.ckpt`; found again by what it was asked to do.

folder = folder_of(Path("runs"), config)
records(Path("runs"))                      # every finished run below a folder
"""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from msam_bench.config.resolve import label_of
from msam_bench.config.run import RunConfig, validated
from msam_bench.files import append, write_whole
from msam_bench.names import stem
from msam_bench.training.divergence import Diverged

__all__ = ["Diverged"]

VERSION = 1
"""Version of the layout of a run folder."""
FILES = ("run.json", "metrics.csv", "last.ckpt", "best.ckpt")
"""What a run writes."""


@dataclass(frozen=True)
class Record:
    """One run as its folder holds it.

    Args:
        folder: where it lies.
        label: the method as the user wrote it.
        status: `running`, `finished` or `failed`.
        config: the resolved configuration as plain values.
        data: name, fingerprint, modalities, classes, sizes and fold of the data.
        environment: versions and machine.
        summary: the measurements of a finished run; the same however often the run was interrupted.
        timing: seconds.
        metrics: one row an epoch.
        warnings: failure signatures that were seen in training, in words.
    """

    folder: Path
    label: str
    status: str
    config: dict[str, Any]
    data: dict[str, Any]
    environment: dict[str, Any]
    summary: dict[str, Any]
    timing: dict[str, Any]
    metrics: list[dict[str, float]] = field(repr=False)
    warnings: dict[str, str] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """The seed, which pairs runs of different methods."""
        return int(self.config["seed"])


def folder_of(root: Path, config: RunConfig) -> Path:
    """Where the run of a configuration lies; equal configurations, equal folders."""
    label = re.sub(r"[^\w.+=-]+", "-", label_of(config))[:60]
    return root / f"{stem(config.data)}-{config.fusion}-{label}-s{config.seed}-{config.identity}"


@contextmanager
def locked(folder: Path, waiting: Callable[[str], None] = lambda words: None) -> Iterator[None]:
    """Holds a run folder for one process; the operating system lets go if the process dies.

    Args:
        folder: of the run; made if it is not there.
        waiting: hears in a sentence that another process holds it, before this one waits.

    Raises:
        OSError: the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting(f"Another process is training {folder.name}; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_run(folder: Path, config: RunConfig, **parts: Any) -> None:
    """Writes `run.json` in one move."""
    content = {"version": VERSION, "label": label_of(config), "config": config.model_dump(mode="json"), **parts}
    write_whole(folder / "run.json", json.dumps(content, indent=1) + "\n")


def read(folder: Path) -> Record:
    """The record of a run folder.

    Raises:
        ValueError: if the folder holds no run, one of another version, or a damaged one.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise ValueError(f"Expected a run in {folder}, found no run.json there; name the folder of a run.")
    try:
        content = json.loads(path.read_text())
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']}, this is version {VERSION}")
        known = _checked({"warnings": {}, **content})
        return Record(folder=folder, metrics=read_metrics(folder), **{key: known[key] for key in _KEYS})
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ValueError(f"Expected a run in {folder}, found: {reason}; delete the folder to run it again.") from None


_KEYS = {
    "label": str,
    "status": str,
    "config": dict,
    "data": dict,
    "environment": dict,
    "summary": dict,
    "timing": dict,
    "warnings": dict,
}
_DATA = {"name": str, "fingerprint": str, "modalities": list, "classes": list, "sizes": dict}
_SUMMARY: dict[str, type] = {"test_accuracy": float, "valid_accuracy": float, "train_accuracy": float, "tau": float}
_SUMMARY |= {"epoch": int, "coalitions": dict, "contributions": dict}


def _checked(known: dict[str, Any]) -> dict[str, Any]:
    """A record as a run writes it, with settings of today that an older release did not have.

    Raises:
        ValueError, KeyError: if it is something else.
    """
    _check_kinds("", known, _KEYS)
    _check_kinds("data.", known["data"], _DATA)
    _check_numbers("timing", known["timing"])
    _check_numbers("summary", known["summary"])
    _check_kinds("warnings.", known["warnings"], dict.fromkeys(known["warnings"], str))
    if known["status"] not in ("running", "finished", "failed"):
        raise ValueError(f"the status {known['status']!r}")
    if known["status"] == "finished":
        _check_kinds("summary.", known["summary"], _SUMMARY)
        for name in known["data"]["modalities"]:
            _check_kinds("summary.coalitions.", known["summary"]["coalitions"], {name: float})
            _check_kinds("summary.contributions.", known["summary"]["contributions"], {name: float})
    return {**known, "config": validated(known["config"]).model_dump(mode="json")}


def _check_numbers(where: str, found: dict[str, Any]) -> None:
    """Raises a ValueError if there is anything but numbers, and dicts of them by coalition or modality."""
    for name, inner in found.items():
        if name in ("coalitions", "contributions") and isinstance(inner, dict):
            _check_numbers(f"{where}.{name}", inner)
        elif not isinstance(inner, (int, float, type(None))):
            raise ValueError(f"{where}.{name} {inner!r}")


def _check_kinds(where: str, found: dict[str, Any], kinds: Mapping[str, type]) -> None:
    for name, kind in kinds.items():
        if not isinstance(found[name], (float, int) if kind is float else kind):
            raise ValueError(f"{where}{name} {found[name]!r}")


def records(places: Iterable[Path], *, status: str = "finished") -> list[Record]:
    """The runs in these folders or below them, each once, in the order of their names.

    Raises:
        ValueError: if a place does not exist or a run is damaged.
    """
    folders: dict[Path, Path] = {}
    for place in places:
        if not place.is_dir():
            raise ValueError(f"Expected a folder of runs at {place}, found none; name one that a comparison made.")
        for path in sorted(place.glob("**/run.json")):
            folders.setdefault(path.parent.resolve(), path.parent)
    found = [read(folder) for folder in folders.values()]
    return [record for record in found if record.status == status or not status]


def append_metrics(folder: Path, rows: list[dict[str, float]]) -> None:
    """Adds the last of all rows to `metrics.csv`; writes the file anew where that row brings a column of its own."""
    names = _columns(rows)
    if len(rows) == 1 or names != _columns(rows[:-1]):
        keep_metrics(folder, rows)
        return
    line = io.StringIO()
    csv.DictWriter(line, names).writerow(rows[-1])
    append(folder / "metrics.csv", line.getvalue())


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The rows of `metrics.csv`; a last line that was cut off by a kill is left out.

    Raises:
        ValueError: if the file is damaged.
    """
    path = folder / "metrics.csv"
    if not path.is_file():
        return []
    text = path.read_text()
    try:
        rows = list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])))
    except csv.Error as error:
        raise ValueError(f"{path.name} with {error}") from None
    if any(None in row for row in rows):
        raise ValueError(f"{path.name} with more values than columns")
    return [{key: _number(value) for key, value in row.items() if value} for row in rows]


def _number(text: str) -> float:
    """As it was written, so that rows read and written again are the same bytes."""
    return int(text) if text.isdecimal() else float(text)


def keep_metrics(folder: Path, rows: list[dict[str, float]]) -> None:
    """Puts exactly these rows into `metrics.csv`."""
    stream = io.StringIO()
    if rows:
        writer = csv.DictWriter(stream, _columns(rows))
        writer.writeheader()
        writer.writerows(rows)
    write_whole(folder / "metrics.csv", stream.getvalue())


def _columns(rows: list[dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


@cache
def environment() -> dict[str, Any]:
    """Versions and machine, for the record."""
    packages = ("msam", "torch", "numpy", "scipy", "safetensors")
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "revision": _revision(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _revision() -> str | None:
    """The git revision of the software, if it runs from a checkout of its own."""
    here = Path(__file__).parent
    try:
        asked = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return asked.stdout.strip() or None

"""Run folders: `run.json`, `metrics.csv`, checkpoints and predictions of one run, found again by its configuration.

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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from msam_bench.config.resolve import label_of
from msam_bench.config.run import RunConfig, validated
from msam_bench.files import append, write_whole
from msam_bench.names import stem
from msam_bench.training.divergence import Diverged as Diverged

Number = int | float | None

VERSION = 1
"""Version of the layout of a run folder."""
FILES = ("run.json", "metrics.csv", "last.ckpt", "best.ckpt", "predictions.safetensors")
"""What a run writes."""


class DataFile(TypedDict):
    """The data of a run, as `run.json` has them."""

    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # type: ignore[misc]

    name: str
    fingerprint: str
    modalities: list[str]
    classes: list[str]
    sizes: dict[str, int]


class RunFile(BaseModel):
    """The content of `run.json`; settings that an older release did not have are filled in later."""

    model_config = ConfigDict(strict=True)

    label: str
    status: Literal["running", "finished", "failed"]
    config: dict[str, Any]
    data: DataFile
    environment: dict[str, Any]
    summary: dict[str, Number | dict[str, Number]]
    timing: dict[str, Number]
    warnings: dict[str, str] = {}

    @model_validator(mode="after")
    def _check_summary(self) -> RunFile:
        """A finished run has its measurements, those of every modality among them."""
        if self.status == "finished":
            Finished.model_validate({"summary": self.summary})
            for part in ("coalitions", "contributions"):
                for name in self.data["modalities"]:
                    if not isinstance((values := self.summary[part]), dict) or values.get(name) is None:
                        raise ValueError(f"no 'summary.{part}.{name}'")
        return self


class Measurements(BaseModel):
    """The measurements that every finished run has."""

    model_config = ConfigDict(strict=True)

    epoch: int
    train_accuracy: float
    valid_accuracy: float
    test_accuracy: float
    tau: float
    coalitions: dict[str, Number]
    contributions: dict[str, Number]


class Finished(BaseModel):
    """The part of `run.json` that only a finished run has."""

    summary: Measurements


@dataclass(frozen=True)
class RunRecord:
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
    """The folder of a configuration's run; equal configurations have equal folders."""
    label = re.sub(r"[^\w.+=-]+", "-", label_of(config))[:60]
    return root / f"{stem(config.data)}-{config.fusion}-{label}-s{config.seed}-{config.identity}"


@contextmanager
def locked(folder: Path, waiting: Callable[[str], None] = lambda words: None) -> Iterator[None]:
    """Holds a run folder for one process; the operating system lets go if the process dies.

    Args:
        folder: of the run; made if it is not there.
        waiting: called with a sentence when another process holds it, before this one waits.

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


def read(folder: Path) -> RunRecord:
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
        fields = dict(RunFile.model_validate(content))
        config = validated(fields.pop("config")).model_dump(mode="json")
        return RunRecord(folder=folder, metrics=read_metrics(folder), config=config, **fields)
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"Expected a run in {folder}, found: {_reason(error)}; delete the folder to run it again."
        ) from None


def _reason(error: Exception) -> str:
    """The first fault of a record, in a few words."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        if first["type"] == "value_error":
            return _reason(first["ctx"]["error"])
        where = ".".join(map(str, first["loc"]))
        return f"no '{where}'" if first["type"] == "missing" else f"{where} {first['input']!r}"
    return f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())


def records(places: Iterable[Path], *, status: str = "finished") -> list[RunRecord]:
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
    everything = [read(folder) for folder in folders.values()]
    return [record for record in everything if record.status == status or not status]


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
    """The number as it was written, so that rows read and written again are the same bytes."""
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
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return answer.stdout.strip() or None

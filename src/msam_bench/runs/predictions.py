"""What a run predicts for every sample of valid and test: `predictions.safetensors` in its folder.

    write(folder, Predictions("classes", prior, {"test": split, "valid": other}))
    read(folder)                                          # None for a run of a release that kept none
    read(folder).splits["test"].outputs                   # log-probabilities [samples, classes], float64

From them metrics, ensembles and intervals over samples are computed without training again. Log-probabilities are kept
in half precision, which rounds each by at most 1 part in 2048 and is kept from changing which class is the largest, so
that accuracy is the run's own, exactly. Values to regress are kept in single precision.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from msam_bench.files import write_whole
from msam_bench.metrics.probabilities import log_probabilities

NAME = "predictions.safetensors"
VERSION = 1
Kind = Literal["classes", "values"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LEAST = float(np.finfo(np.float16).min)
"""Log-probabilities below this are kept as this."""


@dataclass(frozen=True, eq=False)
class SplitPredictions:
    """The predictions for one split.

    Args:
        outputs: Logits or log-probabilities `[samples, classes]`, or values `[samples, outputs]`.
        targets: Class indices `[samples]`, or values `[samples]` or `[samples, outputs]`.
        samples: A stable id for each sample, the same whichever seed draws the split, `[samples]`.
        groups: A stable id for the group of each sample, `[samples]`; None where samples have no groups.
        alone: Modality -> outputs of the model with that modality alone, of the same shape as `outputs`.
        contributions: Modality -> Shapley value of each sample's score, 0 the worth of no modality, `[samples]`.

    Raises:
        ValueError: Arrays of different numbers of samples.
    """

    outputs: NDArray[np.float64]
    targets: NDArray[Any]
    samples: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None
    alone: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    contributions: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        groups = [] if self.groups is None else [self.groups]
        arrays = (self.outputs, self.targets, self.samples, *groups, *self.alone.values(), *self.contributions.values())
        if len({len(array) for array in arrays}) > 1:
            raise ValueError(f"Predictions need one row a sample, found {[len(array) for array in arrays]} rows.")


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of one run at its selected epoch.

    Args:
        kind: Whether outputs are of classes or of values.
        prior: Number of training samples of each class, or the mean of the training values, `[outputs]`.
        splits: "test", and "valid".
    """

    kind: Kind
    prior: NDArray[np.float64]
    splits: Mapping[str, SplitPredictions]


def write(folder: Path, predictions: Predictions) -> None:
    """Writes the predictions of a run, whole or not at all."""
    arrays = {"prior": np.asarray(predictions.prior, np.float64)}
    for name, split in predictions.splits.items():
        arrays |= {f"{name}/{key}": array for key, array in _arrays(split, predictions.kind).items()}
    header = {"version": str(VERSION), "kind": predictions.kind, "splits": json.dumps([*predictions.splits])}
    write_whole(folder / NAME, save({key: np.ascontiguousarray(each) for key, each in arrays.items()}, header))


def read(folder: Path) -> Predictions | None:
    """The predictions of a run; None where it kept none.

    Raises:
        ValueError: A file that is damaged, or of another version.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if header.get("version") != str(VERSION) or header.get("kind") not in KINDS:
            raise ValueError(f"version {header.get('version')} of kind {header.get('kind')}, not version {VERSION}")
        kind: Kind = "classes" if header["kind"] == "classes" else "values"
        splits = {name: _split(name, arrays) for name in json.loads(header["splits"])}
        return Predictions(kind, arrays["prior"], splits)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ValueError(
            f"Expected the predictions of a run in {path}, found: {reason}; delete the run's folder to run it again."
        ) from None


def halved(logits: NDArray[Any]) -> NDArray[np.float16]:
    """Log-probabilities `[..., classes]` in half precision, with the same largest class, the first of equals."""
    exact = log_probabilities(np.asarray(logits, np.float64))
    half = np.clip(exact, LEAST, 0).astype(np.float16)
    largest = np.take_along_axis(half, logits.argmax(-1)[..., None], -1)
    first = np.arange(half.shape[-1]) < logits.argmax(-1)[..., None]
    below = np.nextafter(largest, np.float16(-np.inf))
    return np.asarray(np.where(first & (half >= largest), below, half))


def _arrays(split: SplitPredictions, kind: Kind) -> dict[str, NDArray[Any]]:
    kept = halved if kind == "classes" else _single
    arrays: dict[str, NDArray[Any]] = {"outputs": kept(split.outputs), "sample": np.asarray(split.samples, np.int64)}
    arrays["target"] = np.asarray(split.targets, np.int64 if kind == "classes" else np.float32)
    if split.groups is not None:
        arrays["group"] = np.asarray(split.groups, np.int64)
    arrays |= {f"alone/{name}": kept(outputs) for name, outputs in split.alone.items()}
    return arrays | {f"contribution/{name}": _single(values) for name, values in split.contributions.items()}


def _single(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


def _split(name: str, arrays: Mapping[str, NDArray[Any]]) -> SplitPredictions:
    def named(part: str) -> dict[str, NDArray[np.float64]]:
        start = f"{name}/{part}/"
        return {key.removeprefix(start): _double(each) for key, each in arrays.items() if key.startswith(start)}

    return SplitPredictions(
        _double(arrays[f"{name}/outputs"]),
        arrays[f"{name}/target"],
        arrays[f"{name}/sample"],
        arrays.get(f"{name}/group"),
        named("alone"),
        named("contribution"),
    )


def _double(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(values, np.float64)

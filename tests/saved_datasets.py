"""Folders as `save_to_disk` of Hugging Face's `datasets` (5.2) writes them, made with pyarrow alone."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile
from PIL import Image

from clips import tone

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
FEATURES: dict[str, Any] = {
    "image": {"_type": "Image"},
    "audio": {"sampling_rate": 8000, "_type": "Audio"},
    "text": {"dtype": "string", "_type": "Value"},
    "label": {"names": ["cat", "dog", "owl"], "_type": "ClassLabel"},
    "vector": {"feature": {"dtype": "float32", "_type": "Value"}, "length": 4, "_type": "List"},
    "array": {"shape": [3, 5], "dtype": "float32", "_type": "Array2D"},
    "flag": {"dtype": "bool", "_type": "Value"},
}
MEDIA = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
TYPES = {
    "image": MEDIA,
    "audio": MEDIA,
    "text": pa.string(),
    "label": pa.int64(),
    "vector": pa.list_(pa.float32(), 4),
    "array": pa.list_(pa.list_(pa.float32())),
    "flag": pa.bool_(),
}


def rows(count: int, first: int = 0) -> dict[str, list[Any]]:
    """Samples whose class is told by a colour, a pitch, a word and a number."""
    numbers = range(first, first + count)
    return {
        "image": [{"bytes": _png(COLOURS[n % 3], (20 + n, 30)), "path": None} for n in numbers],
        "audio": [{"bytes": _wav(300.0 * (1 + n % 3), 0.3 + 0.01 * n), "path": f"{n}.wav"} for n in numbers],
        "text": [f"it is {('red', 'green', 'blue')[n % 3]}" for n in numbers],
        "label": [n % 3 for n in numbers],
        "vector": [[float(n), 1.0, 2.0, 3.0] for n in numbers],
        "array": [np.full((3, 5), n % 3, "f4").tolist() for n in numbers],
        "flag": [n % 2 == 0 for n in numbers],
    }


def write_split(
    folder: Path,
    columns: Mapping[str, list[Any]],
    features: Mapping[str, Any] | None = None,
    shards: int = 1,
    state: Mapping[str, Any] | None = None,
) -> Path:
    """One split: arrow streams, dataset_info.json and state.json."""
    folder.mkdir(parents=True)
    table = pa.table({name: pa.array(values, TYPES.get(name)) for name, values in columns.items()})
    names = [f"data-{number:05}-of-{shards:05}.arrow" for number in range(shards)]
    bounds = np.linspace(0, len(table), shards + 1).astype(int)
    for name, start, end in zip(names, bounds, bounds[1:], strict=False):
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table.slice(start, end - start))
    told = {name: FEATURES[name] for name in columns if name in FEATURES} | dict(features or {})
    info = {"citation": "", "description": "", "features": told, "homepage": "", "license": ""}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    files = [{"filename": name} for name in names]
    (folder / "state.json").write_text(json.dumps({"_data_files": files, "_split": None, **(state or {})}))
    return folder


def write_splits(folder: Path, parts: Mapping[str, Mapping[str, list[Any]]]) -> Path:
    """Several splits and dataset_dict.json."""
    for name, columns in parts.items():
        write_split(folder / name, columns)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(parts)}))
    return folder


def _png(colour: tuple[int, int, int], size: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


def _wav(hertz: float, seconds: float) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, tone(hertz, seconds, 8000), 8000, format="WAV")
    return stream.getvalue()

"""CMU-MOSI, CMU-MOSEI and MUStARD in the layouts of MultiBench and MMSA, tiny."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

WIDTHS = {"vision": 7, "audio": 5, "text": 6}
SCORES = (-3.0, -1.4, -0.2, 0.0, 0.4, 1.6, 2.8)
SIZES = {"train": 14, "valid": 7, "test": 7}


def multibench(folder: Path, name: str, *, times: tuple[int, int, int] = (20, 20, 20)) -> Path:
    """One pickle of arrays padded in front: words of sample r are the last 3 + r; labels [n, 1, 1]; ids as bytes.

    Sample 2 of train has no text, sample 3 has an audio number that is not finite.
    """
    draw, content = np.random.default_rng(0), {}
    for part, count in SIZES.items():
        arrays: dict[str, Any] = {}
        for (modality, width), length in zip(WIDTHS.items(), times, strict=True):
            values = draw.standard_normal((count, length, width)).astype("f4")
            for row in range(count):
                values[row, : length - 3 - row] = 0
            arrays[modality] = values
        scores = np.array([SCORES[row % 7] for row in range(count)])
        arrays["labels"] = scores.reshape(-1, 1, 1)
        arrays["id"] = np.array([[b"video", b"0", str(row).encode()] for row in range(count)])
        content[part] = arrays
    content["train"]["text"][2] = 0
    content["train"]["audio"][3, -1, 1] = -np.inf
    return _written(folder, name, content)


def mmsa(folder: Path, name: str = "aligned_50.pkl") -> Path:
    """MMSA's pickle: words at the front, their places in the mask of text_bert, numbers where the text has ended."""
    draw, content = np.random.default_rng(1), {}
    for part, count in SIZES.items():
        arrays: dict[str, Any] = {m: draw.standard_normal((count, 20, w)).astype("f4") for m, w in WIDTHS.items()}
        bert = np.zeros((count, 3, 20))
        for row in range(count):
            bert[row, 1, : 4 + row] = 1
        arrays["text_bert"] = bert
        arrays["regression_labels"] = np.array([SCORES[row % 7] for row in range(count)])
        arrays["classification_labels"] = np.zeros(count)
        arrays["raw_text"] = np.array(["so it is"] * count, dtype=object)
        arrays["id"] = [f"video$_${row}" for row in range(count)]
        content[part] = arrays
    return _written(folder, name, content)


def _written(folder: Path, name: str, content: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(content))
    return folder

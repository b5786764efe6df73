"""Finished runs as their folders hold them, made up: for what reads runs and trains none."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msam_bench.config.resolve import label_of
from msam_bench.config.run import RunConfig
from msam_bench.data import source


@dataclass(frozen=True)
class Fake:
    """A finished run as its folder holds it."""

    folder: Path
    label: str
    seed: int
    config: dict[str, Any]
    data: dict[str, Any]
    environment: dict[str, Any]
    summary: dict[str, Any]
    timing: dict[str, Any]
    metrics: list[dict[str, float]] = field(repr=False)


def fake(config: RunConfig, gain: float = 0.0, **notes: float) -> Fake:
    """A plausible run of a configuration, `gain` better than its seed's other runs."""
    draw = random.Random(f"{label_of(config)}{config.seed}{config.data}{config.fusion}")
    accuracy = 0.9 + 0.01 * math.sin(7 * config.seed) + gain + draw.gauss(0, 1e-4)
    found = source(config.data)
    return Fake(
        Path("runs") / config.identity,
        label_of(config),
        config.seed,
        config.model_dump(mode="json"),
        {"name": config.data, "fingerprint": config.data, "modalities": list(found.modalities), "fold": None},
        {"torch": "2.13.0"},
        {
            "test_accuracy": accuracy,
            "valid_accuracy": accuracy,
            "train_accuracy": accuracy,
            "tau": 0.05,
            "switching": 0.4,
            "coalitions": dict.fromkeys(found.modalities, 0.5),
            "contributions": dict.fromkeys(found.modalities, accuracy / len(found.modalities)),
            "gradients": 100,
            "epoch": 3,
        },
        {"seconds": 1.0},
        [{"epoch": e + 1.0, "tau": 0.05, "train_accuracy": 0.9, "valid_accuracy": 0.9, **notes} for e in range(3)],
    )

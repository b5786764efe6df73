"""One number for the flatness of a finished run, cheap enough for a grid of hundreds."""

from __future__ import annotations

from typing import Any

SAMPLES = 512


def sharpness(record: Any, rho: float) -> float:
    """One-step sharpness of the training loss in a ball of radius `rho`, in evaluation mode, on fixed samples."""
    from msam.sharpness import Landscape, ball_sharpness
    from msam_bench.analysis.flatness.measurement import batches

    objective, data = batches(record, SAMPLES, seed=0)
    return float(ball_sharpness(Landscape(objective, data), rho).value)

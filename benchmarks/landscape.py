"""What sharpness measurements of a ResNet-18 take: CPU seconds, gradient evaluations, memory.

    python benchmarks/landscape.py [--samples 64] [--side 64] [--batch 16] [--threads 2] [--memory]

An image encoder (ResNet-18, 11.2 million parameters) beside a small one for audio, trained for a few steps on made-up
data, so that running statistics and curvature are not those of initial weights.
"""

from __future__ import annotations

import argparse
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from models import CLASSES
from torch import Tensor, nn

from msam import FusionModel, LateFusion, Objective
from msam.sharpness import (
    Landscape,
    average_sharpness,
    ball_sharpness,
    density,
    random_plane,
    surface,
    top_eigenvalues,
    trace,
)
from msam_bench.encoders.resnet import ResNet18

BLOCKS = ("image", "audio", "fusion")


@dataclass(frozen=True)
class Sizes:
    """Samples in all, pixels a side, samples a batch."""

    samples: int
    side: int
    batch: int


def build(sizes: Sizes) -> tuple[Objective, list[tuple[dict[str, Tensor], Tensor]]]:
    """A fresh model and its batches."""
    torch.manual_seed(0)
    audio = nn.Sequential(nn.Linear(40, 64), nn.ReLU())
    model = FusionModel({"image": ResNet18(), "audio": audio}, LateFusion({"image": 512, "audio": 64}, CLASSES))
    count, shape = sizes.samples, (3, sizes.side, sizes.side)
    target = torch.arange(count) % CLASSES
    image = torch.randn(count, *shape) + 0.3 * torch.randn(CLASSES, *shape)[target]
    inputs = {"image": image, "audio": torch.randn(count, 40)}
    rows = [slice(start, start + sizes.batch) for start in range(0, count, sizes.batch)]
    return Objective(model, F.cross_entropy), [({m: x[r] for m, x in inputs.items()}, target[r]) for r in rows]


def train(objective: Objective, batches: list[tuple[dict[str, Tensor], Tensor]], epochs: int = 5) -> None:
    """A few epochs of plain training."""
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.01, momentum=0.9)
    for _ in range(epochs):
        for inputs, target in batches:
            optimizer.zero_grad()
            objective.accumulate_gradient(inputs, target)
            optimizer.step()
    optimizer.zero_grad()


def seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of some work, all threads together: what it takes on a machine that others use too."""
    start = time.process_time()
    work()
    return time.process_time() - start


def show(name: str, unit: float, measure: Callable[[], Any], words: Callable[[Any], str]) -> None:
    """Makes one measurement and prints what it took and found."""
    found: list[Any] = []
    took = seconds(lambda: found.append(measure()))
    cost = f"{took:7.1f} s = {took / unit:6.1f} gradients (counted {found[0].cost.total:.1f})"
    print(f"{name:32}{cost:52}{words(found[0])}", flush=True)


def bar(done: int, total: int) -> None:
    """Progress on the terminal."""
    sys.stderr.write(f"\r{done} / {total}" + ("\r" if done == total else ""))


def measure(sizes: Sizes) -> None:
    """All measurements of one model."""
    objective, batches = build(sizes)
    train(objective, batches)
    whole = Landscape(objective, batches)
    print(f"{whole.size / 1e6:.1f} million parameters, {sizes}, {torch.get_num_threads()} threads, {whole.base():.3f}")
    whole.gradient()
    unit = min(seconds(whole.gradient) for _ in range(3))
    product = seconds(lambda: whole.curvature(whole.noise(whole.generator())))
    print(f"gradient {unit:.2f} s; product {product / unit:.2f}, loss {seconds(whole.loss) / unit:.2f} of it")
    for site in (whole, *(Landscape(objective, batches, block=block) for block in BLOCKS)):
        show(f"top eigenvalue, {site.site.block}", unit, lambda it=site: top_eigenvalues(it, progress=bar), _eigenvalue)
    for estimator in ("hutchinson", "hutch++"):
        work = lambda kind=estimator: trace(whole, 30, estimator=kind, progress=bar)  # noqa: E731
        show(f"trace, 30 products, {estimator}", unit, work, lambda it: f"{it.value:.5g} +- {it.error:.2g}")
    show("density, 2 x 15", unit, lambda: density(whole, 2, 15, progress=bar), lambda it: f"mass {it.mass:.8f}")
    show("one-step sharpness", unit, lambda: ball_sharpness(whole), lambda it: f"{it.value:.5g}")
    show("10-step sharpness", unit, lambda: ball_sharpness(whole, steps=10), lambda it: f"{it.value:.5g}")
    show(
        "average, 10 pairs", unit, lambda: average_sharpness(whole, 0.001), lambda it: f"{it.value:.5g} {it.error:.2g}"
    )
    plane = random_plane(whole)
    show("surface 25 x 25", unit, lambda: surface(whole, plane, progress=bar), lambda it: f"{it.holes} holes")


def _eigenvalue(found: Any) -> str:
    return f"{found.values[0]:.6g} +- {found.residuals[0]:.1g}, {found.steps} steps, converged {found.converged}"


def peak(what: str, sizes: Sizes) -> None:
    """Prints by how many MiB the process grows over model and data, for one measurement in a fresh process."""
    landscape = Landscape(*build(sizes))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    PEAKS[what](landscape)
    print(f"{(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024:.0f}")


PEAKS: dict[str, Callable[[Landscape], Any]] = {
    "loss": lambda it: it.loss(),
    "gradient": lambda it: it.gradient(),
    "product": lambda it: it.curvature(it.noise(it.generator())),
    "ascent": lambda it: ball_sharpness(it, steps=3),
    "eigenvalue": lambda it: top_eigenvalues(it, steps=12, tolerance=1e-12),
    "trace": lambda it: trace(it, 20),
    "hutch++": lambda it: trace(it, 20, estimator="hutch++"),
    "density": lambda it: density(it, 2, 10),
    "surface": lambda it: surface(it, random_plane(it), points=3),
}
"""What memory is measured of: enough of each measurement to reach its peak."""


def memory(repeats: int = 3) -> None:
    """Prints the median growth over fresh processes of each measurement, and its ratio to that of a gradient."""
    found = {}
    for what in PEAKS:
        command = [sys.executable, *sys.argv, "--peak", what]
        ran = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(repeats))
        found[what] = statistics.median(float(one.stdout) for one in ran)
        ratio = found[what] / found.get("gradient", math.nan)
        print(f"{what:12}{found[what]:6.0f} MiB = {ratio:.2f} gradients", flush=True)


def main() -> None:
    """Measures time, or memory in processes of their own."""
    parser = argparse.ArgumentParser()
    for name, default in (("samples", 64), ("side", 64), ("batch", 16), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peak")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sizes = Sizes(options.samples, options.side, options.batch)
    if options.peak:
        peak(options.peak, sizes)
    elif options.memory:
        memory()
    else:
        measure(sizes)


if __name__ == "__main__":
    main()

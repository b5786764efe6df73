"""What only a GPU can show, in a few minutes: every method on it, precision, synchronisation, ratios of steps.

    python scripts/gpu_check.py --device cuda --output gpu.json      # about 8 minutes at most
    python scripts/gpu_check.py --device cpu --steps 2 --small       # a rehearsal

Each check is one line on the screen and one row of the output; a check that fails is named and the others go on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam import FusionModel, LateFusion, Method
from msam_bench.config.run import MethodConfig
from msam_bench.data.modality import Modality
from msam_bench.encoders import encoder
from msam_bench.registry import build, rivals

RANDOM = ("ogm-ge", "dropout", "modality-dropout", "esam", "feature-dropout")
"""Methods whose draws are those of the device and its precision: their gradients are not compared."""
WIDTHS, CLASSES = {"a": 16, "b": 16}, 5


@dataclass(frozen=True)
class Row:
    """One check.

    Args:
        check: its name.
        subject: the method, or what else is checked.
        value: the number.
        passed: whether it is as it should be.
        detail: what went wrong.
    """

    check: str
    subject: str
    value: float
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class Place:
    """Where and how large.

    Args:
        device: of the check.
        steps: timed steps.
        small: whether models are small.
    """

    device: torch.device
    steps: int
    small: bool


def toy(device: torch.device, dtype: torch.dtype) -> tuple[nn.Module, dict[str, Tensor], Tensor]:
    """A small model and batch, equal on every device."""
    draw = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    encoders = {name: nn.Sequential(nn.Linear(12, 16), nn.Tanh()) for name in WIDTHS}
    model = FusionModel(encoders, LateFusion(WIDTHS, CLASSES)).to(device, dtype)
    inputs = {name: torch.randn(32, 12, generator=draw, dtype=torch.float64).to(device, dtype) for name in WIDTHS}
    return model, inputs, torch.randint(CLASSES, (32,), generator=draw).to(device)


def made(name: str) -> Method:
    """A method with its random draws seeded."""
    torch.manual_seed(1)
    return build(MethodConfig(name=name), WIDTHS, CLASSES)


def gradient(name: str, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The gradient of one batch, on the CPU in double precision."""
    model, inputs, target = toy(device, dtype)
    method = made(name)
    backward = method.on(model, F.cross_entropy)
    torch.manual_seed(2)
    backward(inputs, target)
    parts = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
    return torch.cat(parts).double().cpu()


def against_cpu(place: Place) -> Iterator[Row]:
    """Every method in single precision there, against the CPU in double precision."""
    for name in rivals():
        with caught("against cpu float64", name) as rows:
            exact, there = (
                gradient(name, torch.device("cpu"), torch.float64),
                gradient(name, place.device, torch.float32),
            )
            error = float((exact - there).norm() / exact.norm().clamp_min(1e-12))
            note = "draws differ by device" if name in RANDOM else ""
            rows.append(Row("against cpu float64", name, error, error < 1e-3 or name in RANDOM, note))
        yield rows[0]


def precisions(place: Place) -> Iterator[Row]:
    """Every method under autocast, with a gradient scaler in half precision: gradients are finite."""
    for half in (torch.bfloat16, torch.float16):
        for name in rivals():
            check = str(half).removeprefix("torch.")
            with caught(check, name) as rows:
                rows.append(Row(check, name, norm := under_autocast(name, place.device, half), norm > 0))
            yield rows[0]


def under_autocast(name: str, device: torch.device, half: torch.dtype) -> float:
    """The norm of the unscaled gradient of one batch."""
    model, inputs, target = toy(device, torch.float32)
    scaler = torch.amp.GradScaler(device.type, init_scale=1024.0, enabled=half == torch.float16)
    scaled = lambda loss: scaler.scale(loss).backward()  # noqa: E731
    context = partial(torch.autocast, device.type, half)
    backward = made(name).on(model, F.cross_entropy, backward=scaled, context=context)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    backward(inputs, target)
    scaler.unscale_(optimizer) if scaler.is_enabled() else None
    norm = float(nn.utils.get_total_norm([w.grad for w in model.parameters() if w.grad is not None]))
    return norm if torch.isfinite(torch.tensor(norm)) else -1.0


def synchronisation(place: Place) -> Iterator[Row]:
    """No step waits for the device; on a CPU there is nothing to wait for."""
    for name in rivals():
        with caught("no synchronisation", name) as rows:
            model, inputs, target = toy(place.device, torch.float32)
            backward = made(name).on(model, F.cross_entropy)
            backward(inputs, target)
            with waiting_raises(place.device):
                backward(inputs, target)
            rows.append(Row("no synchronisation", name, 0.0, True))
        yield rows[0]


@contextmanager
def waiting_raises(device: torch.device) -> Iterator[None]:
    """Inside, a step that waits for a CUDA device raises."""
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")


def towers(small: bool) -> tuple[nn.Module, dict[str, Tensor], Tensor]:
    """Two ResNet-18 with late fusion, or two narrow ones."""
    side, width, batch = (32, 16, 4) if small else (224, 512, 64)
    specs = {"image": Modality("image", (3, side, side)), "sound": Modality("spectrogram", (1, side, side))}
    model = FusionModel(
        {name: encoder(spec, width, name="resnet18") for name, spec in specs.items()},
        LateFusion(dict.fromkeys(specs, width), 6),
    )
    inputs = {name: torch.randn(batch, *spec.shape) for name, spec in specs.items()}
    return model, inputs, torch.randint(6, (batch,))


def transformers(small: bool) -> tuple[nn.Module, dict[str, Tensor], Tensor]:
    """A ViT-B and a text encoder as large as BERT with random weights, or tiny ones."""
    width, layers, batch = (32, 1, 4) if small else (768, 12, 16)
    specs = {"image": Modality("sequence", (197, 768)), "text": Modality("tokens", (128,), vocabulary=30522)}
    heads = {"heads": 4 if small else 12, "layers": layers}
    encoders = {name: encoder(spec, width, name="transformer", **heads) for name, spec in specs.items()}
    inputs = {"image": torch.randn(batch, 197, 768), "text": torch.randint(1, 30522, (batch, 128))}
    return FusionModel(encoders, LateFusion(dict.fromkeys(specs, width), 6)), inputs, torch.randint(6, (batch,))


def ratios(place: Place) -> Iterator[Row]:
    """The time of a step and its peak memory, over those of joint training."""
    for what, make in (("two ResNet-18", towers), ("ViT-B and BERT", transformers)):
        base: tuple[float, float] | None = None
        for name in ("joint", "sam", "msam", "msam-encoder"):
            with caught(f"step, {what}", name) as rows:
                seconds, memory = step(name, make, place)
                base = base or (seconds, memory)
                rows.append(Row(f"step, {what}", name, seconds / base[0], True, f"{1000 * seconds:.1f} ms"))
                rows.append(Row(f"memory, {what}", name, memory / max(base[1], 1), True, f"{memory / 2**20:.0f} MiB"))
            yield from rows


def step(name: str, make: Callable[[bool], Any], place: Place) -> tuple[float, float]:
    """Seconds of a step and peak bytes."""
    torch.manual_seed(0)
    model, inputs, target = make(place.small)
    model, target = model.to(place.device), target.to(place.device)
    inputs = {key: value.to(place.device) for key, value in inputs.items()}
    backward = build(MethodConfig(name=name), dict.fromkeys(inputs, 16), 6).on(model, F.cross_entropy)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    cuda = place.device.type == "cuda"
    for number in range(place.steps + 2):
        if number == 2:
            wait(place.device)
            torch.cuda.reset_peak_memory_stats() if cuda else None
            started = time.perf_counter()
        backward(inputs, target)
        optimizer.step()
        optimizer.zero_grad()
    wait(place.device)
    return (time.perf_counter() - started) / place.steps, torch.cuda.max_memory_allocated() if cuda else 0


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def bench(place: Place) -> Iterator[Row]:
    """A run of the bench on the device, in each precision, with its score beside that of the CPU."""
    from msam_bench.config.resolve import resolve
    from msam_bench.runs.fit import run

    epochs = 2 if place.small else 20
    with tempfile.TemporaryDirectory() as folder:
        for device, precision in (("cpu", "32"), *((place.device.type, each) for each in ("32", "bf16", "16"))):
            subject = f"digits6 msam, {device}, {precision}"
            with caught("bench", subject) as rows:
                config = resolve("digits6", "late", "msam", epochs=epochs, device=device, precision=precision)
                record = run(config, Path(folder) / device)
                score = record.summary["test_accuracy"]
                rows.append(Row("bench", subject, score, score > 0.5, record.environment["device"]))
            yield rows[0]


def compiled(place: Place) -> Iterator[Row]:
    """`torch.compile` of the model, against the plain model."""
    for name in ("joint", "msam"):
        with caught("torch.compile", name) as rows:
            model, inputs, target = toy(place.device, torch.float32)
            plain = gradient(name, place.device, torch.float32)
            backward = made(name).on(torch.compile(model), F.cross_entropy)
            torch.manual_seed(2)
            backward(inputs, target)
            there = torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None]).double().cpu()
            error = float((plain - there).norm() / plain.norm())
            rows.append(Row("torch.compile", name, error, error < 1e-4))
        yield rows[0]


@contextmanager
def caught(check: str, subject: str) -> Iterator[list[Row]]:
    """Rows of a check; one that says what went wrong where it raised."""
    rows: list[Row] = []
    try:
        yield rows
    except (RuntimeError, ValueError, TypeError, NotImplementedError, KeyError) as error:
        rows[:] = [Row(check, subject, float("nan"), False, " ".join(str(error).split())[:200])]


CHECKS = (against_cpu, precisions, synchronisation, bench, compiled, ratios)


def main() -> None:
    """Runs all checks and writes their rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--small", action="store_true", help="small models and few epochs, for a rehearsal")
    parser.add_argument("--only", default="", help="one check by its name")
    parser.add_argument("--output", type=Path, default=Path("gpu_check.json"))
    given = parser.parse_args()
    place = Place(torch.device(given.device), given.steps, given.small)
    rows: list[Row] = []
    for check in CHECKS:
        if given.only in ("", check.__name__):
            for row in check(place):
                rows.append(row)
                mark = "ok  " if row.passed else "FAIL"
                print(f"{mark} {row.check:22} {row.subject:28} {row.value:.4g} {row.detail}", flush=True)
            given.output.write_text(json.dumps([asdict(each) for each in rows], indent=1) + "\n")
    print(f"{sum(row.passed for row in rows)} of {len(rows)} passed")


if __name__ == "__main__":
    main()

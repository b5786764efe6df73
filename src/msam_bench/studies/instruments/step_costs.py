"""What a training step costs: several steps timed in turn in one process, and the memory that each needs.

    steps = {name: training_step(method, model, optimizer, batch) for name, method in methods.items()}
    costs = measure(steps, rounds=15)                 # name -> StepCost, in units of the first step

Seconds are those of this process on all its threads, so that what else runs on the machine counts as little as can be.
Each round makes every step once, in an order of its own; a ratio is taken within a round, and its median over the
rounds stands with its quartiles. The same step under two names shows the noise.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from statistics import median, quantiles
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from msam import Method
from msam.types import Criterion, Inputs

Step = Callable[[], object]
"""One training step on a batch that it holds."""


@dataclass(frozen=True)
class StepCost:
    """What one training step takes.

    Args:
        seconds: of the process, median over rounds.
        wall: seconds on the clock, median over rounds.
        ratio: seconds over those of the reference in the same round, median over rounds.
        low: first quartile of the ratio.
        high: third quartile of the ratio.
        memory: bytes at the peak of a step, beyond those held before it.
    """

    seconds: float
    wall: float
    ratio: float
    low: float
    high: float
    memory: int


def training_step(
    method: Method,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: tuple[Inputs, Tensor],
    criterion: Criterion = F.cross_entropy,
    **options: Any,
) -> Step:
    """A method's step on one batch: gradient, optimizer, no gradient; `options` are those of `Method.on`."""
    backward, (inputs, target) = method.on(model, criterion, **options), batch

    def step() -> None:
        backward(inputs, target)
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(steps: Mapping[str, Step], rounds: int = 15, *, memory: bool = True) -> dict[str, StepCost]:
    """Costs of steps, in units of the first of them.

    Args:
        steps: name -> step.
        rounds: how often each is timed, at least 2.
        memory: measure peaks too, one more step each.

    Raises:
        ValueError: if there are fewer than two rounds, or no step.
    """
    if rounds < 2 or not steps:
        raise ValueError(f"Expected at least one step and two rounds, found {list(steps)} and {rounds}; name more.")
    for step in steps.values():
        step()
    peaks = {name: peak(step) if memory else 0 for name, step in steps.items()}
    taken = timed(steps, rounds)
    reference = [seconds for seconds, _ in next(iter(taken.values()))]
    return {name: _cost(pairs, reference, peaks[name]) for name, pairs in taken.items()}


def timed(steps: Mapping[str, Step], rounds: int, seed: int = 0) -> dict[str, list[tuple[float, float]]]:
    """Seconds of the process and on the clock, for each step and round."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    stream = random.Random(seed)
    for _ in range(rounds):
        for name in stream.sample(list(steps), len(steps)):
            begun, wall = time.process_time(), time.perf_counter()
            steps[name]()
            taken[name].append((time.process_time() - begun, time.perf_counter() - wall))
    return taken


def peak(step: Step) -> int:
    """Most bytes of the CPU's allocator that a step holds at a time, beyond those held before it.

    Found from the allocator's own record, so it does not depend on the machine, on rounds, or on earlier steps.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step()
    events: list[Any] = record.profiler.kineto_results.events() if record.profiler is not None else []
    changes = sorted((event for event in events if event.name() == "[memory]"), key=lambda event: event.start_ns())
    held: Iterable[int] = accumulate((event.nbytes() for event in changes), initial=0)
    return max(held)


def _cost(pairs: Iterable[tuple[float, float]], reference: Iterable[float], memory: int) -> StepCost:
    seconds, wall = zip(*pairs, strict=True)
    ratios = [taken / other for taken, other in zip(seconds, reference, strict=True)]
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    return StepCost(median(seconds), median(wall), middle, low, high, memory)

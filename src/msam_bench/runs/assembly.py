"""The parts of a run, made from its configuration: data, model, method, optimizer, loop and evaluation.

    run = assemble(resolve("digits6", "late", "msam"))
    for epoch in run.loop.epochs(run.budget.over):
        print(run.evaluator.evaluate("valid"))

Nothing is written; `msam_bench.runs.fit` is the folder around it.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from msam import Method
from msam.batches import moved
from msam_bench import data
from msam_bench.config.run import OptimizerConfig, RunConfig
from msam_bench.data.problems.building import make_optimizer as make_users_optimizer
from msam_bench.data.problems.problem import Problem
from msam_bench.data.problems.source import problem_of
from msam_bench.registry import build
from msam_bench.runs.machine import Machine
from msam_bench.runs.restore import load_weights, model_of
from msam_bench.runs.samples import Samples
from msam_bench.training.budget import Budget
from msam_bench.training.distributed import ProcessGroup
from msam_bench.training.evaluation import Evaluator
from msam_bench.training.loop import Loop
from msam_bench.training.metrics import Score, scoring
from msam_bench.training.passes import PassCount
from msam_bench.training.updates import Update


@dataclass(frozen=True)
class Assembly:
    """One run before its first step.

    Args:
        config: decides all the others.
        dataset: with the split of the seed.
        score: how outputs are scored.
        model: with its initial weights, in no wrapper.
        method: bound to it in the loop.
        budget: ends the loop.
        loop: trains.
        evaluator: of the splits.
        machine: device and precision.
        metrics: names of metrics that are measured beside the score; the first one selects the epoch.
    """

    config: RunConfig
    dataset: data.Dataset
    score: Score
    model: nn.Module
    method: Method
    budget: Budget
    loop: Loop
    evaluator: Evaluator
    machine: Machine
    metrics: tuple[str, ...] = ()


def assemble(config: RunConfig, processes: ProcessGroup | None = None) -> Assembly:
    """Makes the parts of a run; seeds torch's stream, which the initial weights and dropout are drawn from.

    Args:
        config: of the run.
        processes: that train it together; those of torchrun if None.

    Raises:
        ValueError: an impossible configuration, or data or weights that are missing or damaged.
    """
    processes = processes or ProcessGroup()
    problem, machine = problem_of(config), Machine.of(config)
    dataset = data.source(config.data).load(config.seed)
    samples = Samples(config, dataset, pinned=machine.device.type == "cuda")
    train = samples.training(processes)
    torch.manual_seed(config.seed)
    score, model = machine.score(scoring(dataset)), model_of(config, dataset)
    load_weights(model, config)
    method = build(config.method, config.widths(dataset.modalities), dataset.outputs, score.value)
    model.to(machine.device)
    if problem and callable(problem.optimizer):
        optimizer = make_users_optimizer(problem, model, method, config.optimizer.lr)
    else:
        optimizer = make_optimizer(config.optimizer, [*model.parameters(), *method.parameters()])
    backward = method.on(processes.wrap(model), scoring(dataset).criterion, **machine.options())
    passes = PassCount(backward.objective)
    budget = Budget(config.budget, config.epochs, train.batches, passes)
    loop = Loop(
        model,
        backward,
        optimizer,
        train.shuffled,
        sets={name: samples.ordered(name) for name in ("train", "valid")},
        scheduler=_scheduler(config, problem, budget, optimizer),
        update=Update(config.accumulate, config.clip, machine.scaler),
        stop=lambda: budget.spent,
        progress=budget.done,
        passes=passes,
        processes=processes,
    )
    if processes.rank:
        torch.manual_seed(config.seed + 1_000_003 * processes.rank)  # dropout masks of its own
    evaluator = Evaluator(backward, score, samples.evaluated(), dataset.modalities, processes)
    metrics = config.experiment.metrics if config.experiment else ()
    return Assembly(config, dataset, score, model, method, budget, loop, evaluator, machine, metrics)


def _scheduler(
    config: RunConfig, problem: Problem | None, budget: Budget, optimizer: torch.optim.Optimizer
) -> LRScheduler:
    """The schedule of the learning rate, by its name or as a problem makes it."""
    if problem and callable(problem.schedule):
        made: LRScheduler = problem.schedule(optimizer)
        return made
    return budget.scheduler(config.optimizer.schedule, optimizer, config.optimizer.step_epochs)


def seconds_of(config: RunConfig, steps: int = 4) -> float:
    """About how long the run of a configuration takes here, by the time of a few steps, in seconds."""
    parts = assemble(config)
    batches = parts.loop.batches(0)
    times = [time.perf_counter()]
    for inputs, target in itertools.islice(moved(parts.loop.backward.objective, batches), steps):
        parts.loop.backward(inputs, target)
        parts.loop.optimizer.step()
        parts.loop.optimizer.zero_grad()
        times.append(time.perf_counter())
    step = (times[-1] - times[1]) / (len(times) - 2) if len(times) > 2 else times[-1] - times[0]
    return step * config.epochs * -(-len(parts.dataset.splits["train"]) // config.batch_size)


def make_optimizer(config: OptimizerConfig, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The base optimizer of a configuration."""
    if config.name == "sgd":
        return torch.optim.SGD(parameters, config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(parameters, config.lr, weight_decay=config.weight_decay)

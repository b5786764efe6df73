"""What the bench adds to training: `fit.run` beside a bare loop of the same steps, and that loop with the same looks.

    python benchmarks/harness.py [--methods joint msam] [--rounds 3] [--epochs 20]

All in one process on one thread, in turn, in CPU seconds. The loop makes every step that `fit.run` makes, on the same
batches; `looks` adds what the protocol asks for: the scores of two splits after each epoch, and those of the test
split, of its coalitions, and their Shapley values at the end. What is left is the harness: configuration, folder,
locks, checkpoints, notes, rows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from msam.batches import moved
from msam_bench.config.resolve import resolve
from msam_bench.config.run import RunConfig
from msam_bench.runs import fit
from msam_bench.runs.assembly import assemble


def bare(config: RunConfig, folder: Path, looks: bool) -> None:
    """The steps of a run in a loop without more, on the parts that `fit.run` makes."""
    run = assemble(config)
    loop, evaluator = run.loop, run.evaluator
    for epoch in range(config.epochs):
        run.model.train()
        for inputs, target in moved(loop.backward.objective, loop.batches(epoch)):
            loop.backward(inputs, target)
            loop.optimizer.step()
            loop.optimizer.zero_grad()
        if loop.scheduler:
            loop.scheduler.step()
        if looks:
            evaluator.evaluate("train")
            evaluator.evaluate("valid")
    if looks:
        evaluator.evaluate("test")
        evaluator.coalitions("test")
        evaluator.contributions("test")


def seconds(work: Callable[[Path], object]) -> float:
    """CPU seconds of some work in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        work(Path(folder))
        return time.process_time() - begun


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--methods", nargs="+", default=["joint", "msam"])
    parser.add_argument("--data", default="digits6")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{options.data}, {options.epochs} epochs\n{'':12}{'loop s':>9}{'looks s':>9}{'fit s':>9}{'fit / looks':>13}")
    for method in options.methods:
        config = resolve(options.data, "late", method, epochs=options.epochs)
        kinds: dict[str, Callable[[Path], object]] = {
            "loop": lambda folder, config=config: bare(config, folder, False),  # type: ignore[misc]
            "looks": lambda folder, config=config: bare(config, folder, True),  # type: ignore[misc]
            "fit": lambda folder, config=config: fit.run(config, folder),  # type: ignore[misc]
        }
        seconds(kinds["loop"])
        taken = [{name: seconds(work) for name, work in kinds.items()} for _ in range(options.rounds)]
        ratio = median(each["fit"] / each["looks"] for each in taken)
        loop, looks, whole = (median(each[name] for each in taken) for name in kinds)
        print(f"{method:12}{loop:9.2f}{looks:9.2f}{whole:9.2f}{ratio:13.3f}", flush=True)


if __name__ == "__main__":
    main()

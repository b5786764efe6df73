"""The resumable run: a folder around the training loop; nobody else trains the bench's runs.

    record = run(config, Path("runs"))         # trains, continues or finds the run of this configuration

A run can be killed at any moment. What it has on disk is always whole: a checkpoint holds everything that decides the
rest of the run, so a resumed run ends in the same bytes as one that was never interrupted.

Started by torchrun, its processes train one run together: each takes its part of every batch, the first one writes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

from msam.metrics import overfitting_gap
from msam_bench import data
from msam_bench.config.run import RunConfig
from msam_bench.files import discard_parts
from msam_bench.runs import predictions, snapshots
from msam_bench.runs import record as runs
from msam_bench.runs.assembly import assemble
from msam_bench.runs.inference import predictions_of
from msam_bench.runs.lookup import find_finished, unimodal_scores
from msam_bench.runs.measuring import measure, merit_of
from msam_bench.training import checkpoint
from msam_bench.training.distributed import ProcessGroup
from msam_bench.training.divergence import Diverged
from msam_bench.training.loop import TrainedEpoch
from msam_bench.training.monitor import Watch
from msam_bench.training.selection import Selection

CHECKPOINT_SECONDS = 5.0
"""A run writes a checkpoint this often at most, and one at its end."""


def run(
    config: RunConfig,
    root: Path,
    progress: Callable[[int], None] = lambda epoch: None,
    warn: Callable[[str], None] = lambda text: None,
    every: float = CHECKPOINT_SECONDS,
) -> runs.RunRecord:
    """Trains the run of a configuration, or continues it, or finds it finished.

    Args:
        config: what to train.
        root: the folder of all runs.
        progress: called with the number of epochs done, after each.
        warn: called with each failure signature, in words, when it is first seen.
        every: seconds between checkpoints.

    Raises:
        ValueError: an impossible configuration, a run folder that is damaged or of other data, or an infinite loss.
    """
    folder, processes = runs.folder_of(root, config), ProcessGroup()
    finished = partial(find_finished, folder, config, data.source(config.data).fingerprint)
    record = processes.broadcast(finished)  # before the lock too: a folder of finished runs may be read-only
    if record:
        return record
    with runs.locked(folder, _print) if processes.first else nullcontext():
        return processes.broadcast(finished) or ResumableRun(config, folder, every, processes).train(progress, warn)


def _print(sentence: str) -> None:
    """Tells the user something that is no error."""
    print(f"msam: {sentence}", file=sys.stderr)


class ResumableRun:
    """One run in its folder.

    Args:
        config: of the run.
        folder: of the run; locked by its caller.
        every: seconds between checkpoints.
        processes: that train it together.
    """

    def __init__(self, config: RunConfig, folder: Path, every: float, processes: ProcessGroup) -> None:
        self.config, self.folder, self.every, self.processes = config, folder, every, processes
        self.last, self.previous = folder / "last.ckpt", folder / "previous.ckpt"
        self.parts = assemble(config, processes)
        self.loop, self.evaluator = self.parts.loop, self.parts.evaluator
        self.loop.name = folder.name
        self.selection = Selection(config.select)
        self.rows: list[dict[str, float]] = []
        alone = unimodal_scores(folder.parent, config, self.parts.dataset)
        self.watch = Watch(self.parts.dataset.modalities, alone, getattr(self.parts.method, "rho", None) == 0)

    def train(self, progress: Callable[[int], None], warn: Callable[[str], None]) -> runs.RunRecord:
        """Trains all epochs that the budget has left, then tests.

        Raises:
            Diverged: a training loss that is not finite; the folder says so too.
        """
        self._resume()
        self._write("running")
        saved = time.monotonic()
        self._snapshot()
        try:
            for epoch in self.loop.epochs(self._over):
                self._keep_row(epoch)
                if self.processes.broadcast(lambda saved=saved: time.monotonic() - saved > self.every):  # type: ignore[misc]
                    self._save()
                    saved = time.monotonic()
                for text in self.watch.check(self.rows):
                    warn(text)
                progress(self.parts.budget.epochs_done(epoch.number))
        except Diverged as error:
            self._write("failed", error=str(error))
            raise
        self._snapshot(over=True)
        self._save()
        self._finish()
        return self.processes.broadcast(lambda: runs.read(self.folder))

    def _over(self, epoch: int) -> bool:
        """Whether training ends after so many epochs: the budget is spent, or validation has long not been better."""
        patience = self.config.early_stopping
        return self.parts.budget.over(epoch) or (patience is not None and epoch - self.selection.epoch >= patience)

    def _keep_row(self, epoch: TrainedEpoch) -> None:
        """Evaluates after an epoch; the row goes to `metrics.csv`, the weights to a snapshot where one is due."""
        self.rows.append(self._row(epoch))
        self._snapshot()
        if self.processes.first:
            runs.append_metrics(self.folder, self.rows)

    def _row(self, epoch: TrainedEpoch) -> dict[str, float]:
        train, valid = self.evaluator.evaluate("train"), self.evaluator.evaluate("valid")
        measured = measure(self.evaluator, "valid", self.parts.metrics)
        merit = merit_of(measured) if measured else valid[0]
        self.selection.consider(epoch.number, merit, valid[1], self.parts.model, self.parts.method)
        return {
            "epoch": epoch.number,
            "lr": epoch.rate,
            "train_loss": epoch.loss,
            "train_accuracy": train[0],
            "valid_loss": valid[1],
            "valid_accuracy": valid[0],
            "tau": overfitting_gap(train[0], valid[0]),
            **{f"valid_{name}": value for name, value in measured.items()},
            **epoch.notes,
            **(self.evaluator.alone("valid") if self.watch.alone else {}),
            "seconds": epoch.seconds,
        }

    def _finish(self) -> None:
        """Tests the last weights, then the selected ones; the test split is opened here and nowhere else."""
        cost, test = self.loop.passes.totals(), self.evaluator.evaluate("test")
        last, selected = test[0], self.rows[self.selection.epoch - 1]
        self.selection.restore(self.parts.model, self.parts.method)
        if self.selection.epoch < self.loop.epoch:
            test = self.evaluator.evaluate("test")
        test_attribution = self.evaluator.attribution("test")
        summary = {
            **{name: selected[name] for name in ("epoch", "train_accuracy", "valid_accuracy", "valid_loss")},
            "test_accuracy": test[0],
            "test_loss": test[1],
            "last_test_accuracy": last,
            "tau": overfitting_gap(selected["train_accuracy"], test[0]),
            "coalitions": self.evaluator.coalitions("test"),
            "contributions": test_attribution.means,
            "switching": self.loop.switching,
            **self._measured(),
            **cost,
        }
        self._keep(self.folder / "best.ckpt", self.selection.weights)
        if self.processes.first:
            predictions.write(self.folder, predictions_of(self.parts.dataset, self.evaluator, test_attribution))
        self._write("finished", summary=summary)
        if self.processes.first:
            self.previous.unlink(missing_ok=True)

    def _measured(self) -> dict[str, dict[str, float]]:
        """The metrics of an experiment, on validation and test."""
        names = self.parts.metrics
        return {f"{split}_metrics": measure(self.evaluator, split, names) for split in ("valid", "test") if names}

    # ---- state ----------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        random = self.processes.gather(torch.get_rng_state())
        device = {} if (drawn := self.parts.machine.random()) is None else {"device_random": drawn}
        state = {**self.loop.state_dict(), "random": random, **device, "best": self.selection.state}
        self._keep(self.last, state, self.previous)

    def _keep(self, path: Path, state: dict[str, Any], previous: Path | None = None) -> None:
        if self.processes.first:
            checkpoint.save(path, state, previous)

    def _snapshot(self, *, over: bool = False) -> None:
        if self.processes.first:
            snapshots.keep(self.folder, self.config, self.loop.epoch, self.parts.model, over=over)

    def _resume(self) -> None:
        """Continues from the last checkpoint, if there is one; epochs after it are forgotten and trained again."""
        state, rows = self.processes.broadcast(self._read_state)
        if state:
            self._restore(state, rows)
        if self.processes.first:
            runs.keep_metrics(self.folder, self.rows)

    def _read_state(self) -> tuple[dict[str, Any], list[dict[str, float]]]:
        """The last checkpoint that is whole, empty if there is none or snapshots are missing, and the metrics."""
        for name in runs.FILES:
            discard_parts(self.folder / name)
        state = checkpoint.newest(self.last, self.previous, warn=_print) or {}
        usable = state and snapshots.complete(self.folder, self.config, state.get("epoch", 0))
        return (state if usable else {}), runs.read_metrics(self.folder)

    def _restore(self, state: dict[str, Any], rows: list[dict[str, float]]) -> None:
        """Everything as it was; a process that the checkpoint does not know draws from a fresh stream of its own."""
        try:
            self.loop.load_state_dict(state)
            if self.processes.rank < len(state["random"]):
                torch.set_rng_state(state["random"][self.processes.rank].clone())  # torch reads a view from its start
            self.parts.machine.draw_from(state.get("device_random"))
            self.selection.state = state["best"]
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(self._refusal(f"in {self.last.name}", str(error).partition("\n")[0])) from None
        self.rows = rows[: self.loop.epoch]
        if len(self.rows) < self.loop.epoch:
            raise ValueError(self._refusal("in metrics.csv", f"{len(rows)} of {self.loop.epoch} epochs"))
        self.loop.seconds = self.rows[-1]["seconds"] if self.rows else 0.0
        self.watch.replay(self.rows)

    def _refusal(self, where: str, finding: str) -> str:
        return f"Expected this run {where} of {self.folder}, found: {finding}; delete the folder to train it again."

    def _write(self, status: str, **more: Any) -> None:
        if not self.processes.first:
            return
        parts_of_run = {
            "summary": {},
            "timing": {"seconds": self.loop.seconds},
            "warnings": self.watch.warnings,
            "status": status,
            "data": self._data(),
            "environment": runs.environment() | {"ranks": self.processes.count} | self.parts.machine.record(),
        }
        runs.write_run(self.folder, self.config, **{**parts_of_run, **more})

    def _data(self) -> dict[str, Any]:
        """The data as the record describes them."""
        dataset, source = self.parts.dataset, data.source(self.config.data)
        return {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "modalities": list(dataset.modalities),
            "classes": list(dataset.classes),
            "score": self.parts.score.name,
            "sizes": {name: len(split) for name, split in dataset.splits.items()},
            "fold": source.fold(self.config.seed),
            "group": source.group,
        }

"""The training loop; nobody else trains.

    record = run(config, Path("runs"))         # trains, continues or finds the run of this configuration

A run can be killed at any moment. What it has on disk is always whole: a checkpoint holds everything that decides the
rest of the run, so a resumed run ends in the same bytes as one that was never interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from msam import shapley
from msam.coalition import lattice
from msam.metrics import CoalitionAccuracy, overfitting_gap
from msam.sets import moved
from msam.types import Inputs

from . import checkpoint, data, runs
from .catalogue import build
from .config import RunConfig
from .epoch import Epoch
from .restore import model_of

if TYPE_CHECKING:
    from msam.methods.base import Backward

CHECKPOINT_SECONDS = 5.0
"""A run writes a checkpoint this often at most, and one at its end."""
_CHUNK = 2048
"""Samples that are measured on at a time; fewer where they hold more than `_CHUNK_VALUES` numbers."""
_CHUNK_VALUES = 2**24
_EXACT = 6
"""Up to this many modalities every coalition is tested; above, each alone, all but each, and all."""


def run(
    config: RunConfig,
    root: Path,
    progress: Callable[[int], None] = lambda epoch: None,
    every: float = CHECKPOINT_SECONDS,
) -> runs.Record:
    """Trains the run of a configuration, or continues it, or finds it finished.

    Args:
        config: what to train.
        root: the folder of all runs.
        progress: called with the number of epochs done, after each.
        every: seconds between checkpoints.

    Raises:
        ValueError: an impossible configuration, a damaged run folder, or a loss that is not finite.
    """
    folder = runs.folder_of(root, config)
    with runs.locked(folder):
        if (folder / "run.json").is_file():
            found = runs.read(folder)
            if found.status == "finished":
                return found
        return _Run(config, folder, every).train(progress)


class _Run:
    """The parts of one run: data, model, method, optimizer; and the state that moves."""

    def __init__(self, config: RunConfig, folder: Path, every: float) -> None:
        self.config, self.folder, self.every = config, folder, every
        self.dataset = data.source(config.data).load(config.seed)
        self.fabric = Fabric(accelerator="cpu", devices=1)
        torch.manual_seed(config.seed)
        widths, classes = dict.fromkeys(self.dataset.modalities, config.features), len(self.dataset.classes)
        model = model_of(config, self.dataset)
        method = build(config.method, widths, classes)
        parameters = [*model.parameters(), *method.parameters()]
        self.model, self.optimizer = self.fabric.setup(model, _optimizer(config, parameters))
        self.scheduler = _scheduler(config, self.optimizer)
        self.method = method
        self.backward: Backward = method.on(
            self.model, F.cross_entropy, backward=self.fabric.backward, context=self.fabric.autocast
        )
        self.epoch, self.seconds = 0, 0.0
        self.best: dict[str, Any] = {"score": (-math.inf, -math.inf), "epoch": 0, "model": {}, "method": {}}
        self.dominance: dict[str, Any] = {"last": None, "switches": 0, "pairs": 0}
        self.cost = {"gradients": 0, "forwards": 0}
        self.rows: list[dict[str, float]] = []

    # ---- the loop -------------------------------------------------------------------------------------------------

    def train(self, progress: Callable[[int], None]) -> runs.Record:
        """All epochs that are left, then the test."""
        self._resume()
        self._write("running")
        saved = time.monotonic()
        while self.epoch < self.config.epochs:
            row = self._train_epoch()
            self.rows.append(row)
            runs.append_metrics(self.folder, self.rows)
            if time.monotonic() - saved > self.every:
                self._save()
                saved = time.monotonic()
            progress(self.epoch)
        self._save()
        self._finish()
        return runs.read(self.folder)

    def _train_epoch(self) -> dict[str, float]:
        """One pass over the training split, and a look at both splits in evaluation mode."""
        started = time.monotonic()
        self.model.train()
        seen, counts = Epoch(self.dominance), self.backward.objective.counts
        forwards, backwards = counts.forwards, counts.backwards
        for inputs, target in self._shuffled("train"):
            outcome = self.backward(inputs, target)
            self.optimizer.step()
            self.optimizer.zero_grad()
            seen.add(outcome, len(target))
        self.backward.next_epoch(*(_Again(self._whole, split) for split in ("train", "valid")))
        rate = float(self.scheduler.get_last_lr()[0])
        self.scheduler.step()
        self.epoch += 1
        self.cost["gradients"] += counts.backwards - backwards
        self.cost["forwards"] += counts.forwards - forwards
        self._check_finite(seen.loss)
        self.seconds += time.monotonic() - started
        return self._row(seen, rate)

    def _row(self, seen: Epoch, rate: float) -> dict[str, float]:
        train, valid = self._evaluate("train"), self._evaluate("valid")
        self._keep_best(valid)
        return {
            "epoch": self.epoch,
            "lr": rate,
            "train_loss": seen.loss,
            "train_accuracy": train[0],
            "valid_loss": valid[1],
            "valid_accuracy": valid[0],
            "tau": overfitting_gap(train[0], valid[0]),
            **seen.notes(),
            "seconds": self.seconds,
        }

    def _keep_best(self, valid: tuple[float, float]) -> None:
        score = (valid[0], -valid[1]) if self.config.select == "best" else (float(self.epoch), 0.0)
        if score > tuple(self.best["score"]):
            weights = deepcopy({"model": self.model.state_dict(), "method": self.method.state_dict()})
            self.best = {"score": score, "epoch": self.epoch, **weights}

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            message = f"The training loss became {loss} in epoch {self.epoch} of {self.folder.name}; lower lr or rho."
            self._write("failed", error=message)
            raise ValueError(message)

    # ---- data -----------------------------------------------------------------------------------------------------

    def _shuffled(self, split: str) -> Iterator[tuple[Inputs, Tensor]]:
        """Shuffled by the seed and the epoch alone; a last batch of a single sample joins the one before."""
        part, size = self.dataset.splits[split], self.config.batch_size
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(part), generator=generator)
        chunks = list(torch.split(order, size))
        if len(chunks) > 1 and len(chunks[-1]) == 1:
            chunks[-2:] = [torch.cat(chunks[-2:])]
        return self._taken(part, chunks)

    def _whole(self, split: str) -> Iterator[tuple[Inputs, Tensor]]:
        part = self.dataset.splits[split]
        size = max(1, min(_CHUNK, _CHUNK_VALUES // sum(map(math.prod, part.shapes.values()))))
        return self._taken(part, [slice(start, start + size) for start in range(0, len(part), size)])

    def _taken(self, part: data.Split, chunks: Sequence[Tensor | slice]) -> Iterator[tuple[Inputs, Tensor]]:
        return moved(self.backward.objective, map(part.take, chunks))

    # ---- measuring ------------------------------------------------------------------------------------------------

    def _evaluate(self, split: str) -> tuple[float, float]:
        """Accuracy and loss of a split, in evaluation mode, each sample counted once."""
        hits, loss, samples = 0, 0.0, 0
        for inputs, target in self._whole(split):
            logits = self.backward.predict(inputs)
            hits += int((logits.argmax(-1) == target).sum())
            loss += float(F.cross_entropy(logits, target)) * len(target)
            samples += len(target)
        return hits / samples, loss / samples

    def _coalitions(self, split: str) -> dict[str, float]:
        names = self.dataset.modalities
        masks = lattice(len(names))
        if len(names) > _EXACT:
            size = masks.sum(1)
            masks = masks[(size == 1) | (size >= len(names) - 1)]
        counter = CoalitionAccuracy(names, masks)
        for inputs, target in self._whole(split):
            counter.update(self.backward.objective.coalition_logits(inputs, masks, "zero-input"), target)
        return counter.compute()

    def _contributions(self, split: str) -> dict[str, float]:
        """Shapley values of the split's accuracy, averaged over samples."""
        total: dict[str, float] = {}
        for inputs, target in self._whole(split):
            values = shapley(self.backward.objective, inputs, target).values
            for name, value in values.items():
                total[name] = total.get(name, 0.0) + value * len(target) / len(self.dataset.splits[split])
        return total

    def _finish(self) -> None:
        """Tests the last weights, then the selected ones; the test split is opened here and nowhere else."""
        last = self._evaluate("test")[0]
        self.model.load_state_dict(self.best["model"])
        self.method.load_state_dict(self.best["method"])
        train, valid, test = (self._evaluate(split) for split in data.SPLITS)
        summary = {
            "epoch": self.best["epoch"],
            "train_accuracy": train[0],
            "valid_accuracy": valid[0],
            "valid_loss": valid[1],
            "test_accuracy": test[0],
            "test_loss": test[1],
            "last_test_accuracy": last,
            "tau": overfitting_gap(train[0], test[0]),
            "coalitions": self._coalitions("test"),
            "contributions": self._contributions("test"),
            "switching": self.dominance["switches"] / self.dominance["pairs"] if self.dominance["pairs"] else None,
            **self.cost,
        }
        checkpoint.save(self.folder / "best.ckpt", {"model": self.best["model"], "method": self.best["method"]})
        self._write("finished", summary=summary)

    # ---- state ----------------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "random": torch.get_rng_state(),
            "best": self.best,
            "dominance": self.dominance,
            "cost": self.cost,
        }

    def _save(self) -> None:
        checkpoint.save(self.folder / "last.ckpt", self._state())

    def _resume(self) -> None:
        """Continues from the last checkpoint, if there is one; epochs after it are forgotten and trained again."""
        path = self.folder / "last.ckpt"
        self.rows = []
        if path.is_file():
            state = checkpoint.load(path)
            for name in ("model", "method", "optimizer", "scheduler"):
                getattr(self, name).load_state_dict(state[name])
            torch.set_rng_state(state["random"])
            self.epoch, self.best, self.dominance = state["epoch"], state["best"], state["dominance"]
            self.cost = state["cost"]
            self.rows = runs.read_metrics(self.folder)[: self.epoch]
            self.seconds = self.rows[-1]["seconds"] if self.rows else 0.0
        runs.keep_metrics(self.folder, self.rows)

    def _write(self, status: str, **more: Any) -> None:
        parts = self.dataset.splits
        described = {
            "name": self.dataset.name,
            "fingerprint": self.dataset.fingerprint,
            "modalities": list(self.dataset.modalities),
            "classes": list(self.dataset.classes),
            "sizes": {name: len(split) for name, split in parts.items()},
            "fold": data.source(self.config.data).fold(self.config.seed),
        }
        about = {"status": status, "data": described, "environment": runs.environment()}
        parts_of_run = {"summary": {}, "timing": {"seconds": self.seconds}, **about, **more}
        runs.write_run(self.folder, self.config, **parts_of_run)


class _Again:
    """A set of batches that can be gone through again and again."""

    def __init__(self, batches: Callable[[str], Iterator[tuple[Inputs, Tensor]]], split: str) -> None:
        self.batches, self.split = batches, split

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        return self.batches(self.split)


def _optimizer(config: RunConfig, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    asked = config.optimizer
    if asked.name == "sgd":
        return torch.optim.SGD(parameters, asked.lr, momentum=asked.momentum, weight_decay=asked.weight_decay)
    kind = torch.optim.Adam if asked.name == "adam" else torch.optim.AdamW
    return kind(parameters, asked.lr, weight_decay=asked.weight_decay)


def _scheduler(config: RunConfig, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    asked = config.optimizer
    if asked.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs)
    if asked.schedule == "step":
        return torch.optim.lr_scheduler.StepLR(optimizer, asked.step_epochs)
    return torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)

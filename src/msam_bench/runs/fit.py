"""The training loop; nobody else trains.

    record = run(config, Path("runs"))         # trains, continues or finds the run of this configuration

A run can be killed at any moment. What it has on disk is always whole: a checkpoint holds everything that decides the
rest of the run, so a resumed run ends in the same bytes as one that was never interrupted.

Started by torchrun, its processes train one run together: each takes its part of every batch, the first one writes.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext, suppress
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from msam.batches import moved
from msam.metrics import overfitting_gap
from msam.types import Inputs
from msam_bench import data
from msam_bench.config.run import MethodConfig, RunConfig
from msam_bench.files import discard_parts
from msam_bench.registry import build
from msam_bench.runs import record as runs
from msam_bench.runs import snapshots
from msam_bench.runs.restore import load_weights, model_of
from msam_bench.training import checkpoint
from msam_bench.training.budget import Budget, Cost
from msam_bench.training.distributed import Distributed
from msam_bench.training.epoch import Epoch
from msam_bench.training.evaluation import Measures
from msam_bench.training.metrics import scoring
from msam_bench.training.monitor import Watch

if TYPE_CHECKING:
    from msam.methods.base import Backward

CHECKPOINT_SECONDS = 5.0
"""A run writes a checkpoint this often at most, and one at its end."""


def run(
    config: RunConfig,
    root: Path,
    progress: Callable[[int], None] = lambda epoch: None,
    warn: Callable[[str], None] = lambda text: None,
    every: float = CHECKPOINT_SECONDS,
) -> runs.Record:
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
    folder, ranks = runs.folder_of(root, config), Distributed()
    kept = partial(_finished, folder, config, data.source(config.data).fingerprint)
    found = ranks.told(kept)  # asked before the lock too: a folder of finished runs may be read-only
    if found:
        return found
    with runs.locked(folder, _say) if ranks.first else nullcontext():
        return ranks.told(kept) or _Run(config, folder, every, ranks).train(progress, warn)


def _say(words: str) -> None:
    """Tells the user something that is no error."""
    print(f"msam: {words}", file=sys.stderr)


def _finished(folder: Path, config: RunConfig, fingerprint: str) -> runs.Record | None:
    """The finished run of a folder, if it is there with all its snapshots; a run of other data is refused."""
    if not (folder / "run.json").is_file():
        return None
    found = runs.read(folder)
    if found.data["fingerprint"] != fingerprint:
        raise ValueError(
            f"Expected a run on data {fingerprint[:12]} in {folder}, found {found.data['fingerprint'][:12]}: the data "
            "have changed since; delete the folder, or name another one for the runs."
        )
    whole = found.status == "finished" and snapshots.complete(folder, config, len(found.metrics), over=True)
    return found if whole else None


class _Run:
    """The parts of one run: data, model, method, optimizer; and the state that moves."""

    def __init__(self, config: RunConfig, folder: Path, every: float, ranks: Distributed) -> None:
        self.config, self.folder, self.every, self.ranks = config, folder, every, ranks
        self.last, self.previous = folder / "last.ckpt", folder / "previous.ckpt"
        self.dataset = data.source(config.data).load(config.seed)
        self._check_batches()
        torch.manual_seed(config.seed)
        self.score = scoring(self.dataset)
        self.model = model_of(config, self.dataset)
        load_weights(self.model, config)
        method = build(config.method, config.widths(self.dataset.modalities), self.dataset.outputs, self.score.value)
        self.optimizer = _optimizer(config, [*self.model.parameters(), *method.parameters()])
        self.method = method
        self.backward: Backward = method.on(ranks.shared(self.model), self.score.criterion)
        self.measures = Measures(self.dataset, self.backward, self.score, ranks)
        self.cost = Cost(self.backward.objective)
        batches = len(self._chunks(torch.arange(len(self.dataset.splits["train"]))))
        self.budget = Budget(config, batches, self.cost)
        self.scheduler = self.budget.scheduler(self.optimizer)
        if ranks.rank:
            torch.manual_seed(config.seed + 1_000_003 * ranks.rank)  # dropout masks of its own
        self.epoch, self.seconds = 0, 0.0
        self.best: dict[str, Any] = {"score": (-math.inf, -math.inf), "epoch": 0, "model": {}, "method": {}}
        self.dominance: dict[str, Any] = {"last": None, "switches": 0, "pairs": 0}
        self.rows: list[dict[str, float]] = []
        self.watch = Watch(self.dataset.modalities, self._apart(), getattr(method, "rho", None) == 0)

    # ---- the loop -------------------------------------------------------------------------------------------------

    def train(self, progress: Callable[[int], None], warn: Callable[[str], None]) -> runs.Record:
        """All epochs that the budget has left, then the test."""
        self._resume()
        self._write("running")
        saved = time.monotonic()
        self._snapshot()
        while not self.budget.over(self.epoch):
            row = self._train_epoch()
            self.rows.append(row)
            self._snapshot()
            if self.ranks.first:
                runs.append_metrics(self.folder, self.rows)
            if self.ranks.told(partial(self._due, saved)):
                self._save()
                saved = time.monotonic()
            for text in self.watch.look(self.rows):
                warn(text)
            progress(self.budget.epochs(self.epoch))
        self._snapshot(over=True)
        self._save()
        self._finish()
        return self.ranks.told(lambda: runs.read(self.folder))

    def _train_epoch(self) -> dict[str, float]:
        """One pass over the training split, if the budget lasts, and a look at both splits in evaluation mode."""
        started = time.monotonic()
        self.model.train()
        seen = Epoch(self.dominance)
        for inputs, target in self._shuffled("train"):
            outcome = self.backward(inputs, target)
            self.optimizer.step()
            self.optimizer.zero_grad()
            seen.add(outcome, len(target))
            if self.budget.spent:
                break
        self.ranks.share_buffers(self.model)
        self.backward.next_epoch(*(_Again(self._batches, split) for split in ("train", "valid")))
        rate = float(self.scheduler.get_last_lr()[0])
        self.scheduler.step()
        self.epoch += 1
        shown = self.ranks.average_over({"train_loss": seen.loss, **seen.notes()}, seen.samples)
        self._check_finite(shown["train_loss"])
        self.seconds += time.monotonic() - started
        return self._row(shown, rate)

    def _row(self, shown: dict[str, float], rate: float) -> dict[str, float]:
        train, valid = self.measures.evaluate("train"), self.measures.evaluate("valid")
        self._keep_best(valid)
        return {
            "epoch": self.epoch,
            "lr": rate,
            "train_loss": shown.pop("train_loss"),
            "train_accuracy": train[0],
            "valid_loss": valid[1],
            "valid_accuracy": valid[0],
            "tau": overfitting_gap(train[0], valid[0]),
            **shown,
            **(self.measures.alone("valid") if self.watch.alone else {}),
            "seconds": self.seconds,
        }

    def _keep_best(self, valid: tuple[float, float]) -> None:
        score = (valid[0], -valid[1]) if self.config.select == "best" else (float(self.epoch), 0.0)
        if score > tuple(self.best["score"]):
            parts = {"model": self.model, "method": self.method}
            self.best = {"score": score, "epoch": self.epoch, **{name: _copied(it) for name, it in parts.items()}}

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            message = f"The training loss became {loss} in epoch {self.epoch} of {self.folder.name}; lower lr or rho."
            self._write("failed", error=message)
            raise runs.Diverged(message)

    # ---- data -----------------------------------------------------------------------------------------------------

    def _check_batches(self) -> None:
        smallest = min(self.config.batch_size, len(self.dataset.splits["train"]))
        if smallest < self.ranks.count:
            raise ValueError(
                f"Expected at least one sample for each of {self.ranks.count} processes in a batch, found batches of "
                f"{smallest}; raise batch_size or start fewer processes."
            )

    def _shuffled(self, split: str) -> Iterator[tuple[Inputs, Tensor]]:
        """This rank's part of batches shuffled by the seed and the epoch alone."""
        part = self.dataset.splits[split]
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.epoch)
        chunks = self._chunks(torch.randperm(len(part), generator=generator))
        return self._taken(part, map(self.ranks.part, chunks))

    def _chunks(self, order: Tensor) -> list[Tensor]:
        """Batches of samples; a last one of a single sample (a rank) joins the one before."""
        chunks = list(torch.split(order, self.config.batch_size))
        if len(chunks) > 1 and len(chunks[-1]) < 2 * self.ranks.count:
            chunks[-2:] = [torch.cat(chunks[-2:])]
        return chunks

    def _batches(self, split: str) -> Iterator[tuple[Inputs, Tensor]]:
        """A split in order, in batches of the size that is trained on, so that a pass counts alike."""
        part, size = self.dataset.splits[split], self.config.batch_size
        return self._taken(part, (slice(start, start + size) for start in range(0, len(part), size)))

    def _taken(self, part: data.Split, chunks: Iterable[Tensor | slice]) -> Iterator[tuple[Inputs, Tensor]]:
        return moved(self.backward.objective, map(part.take, chunks))

    def _apart(self) -> dict[str, float]:
        """Validation scores of the same encoders trained apart, by the finished unimodal runs of this configuration."""
        found: dict[str, float] = {}
        for name in self.dataset.modalities if self.config.method.name != "unimodal" else ():
            method = MethodConfig(name="unimodal", params={"modality": name})
            own = self.config.model_copy(update={"method": method, "snapshots": 0})
            with suppress(ValueError):  # of other data, or damaged: no reference
                record = _finished(runs.folder_of(self.folder.parent, own), own, self.dataset.fingerprint)
                found |= {name: float(record.summary["valid_accuracy"])} if record else {}
        return found

    def _finish(self) -> None:
        """Tests the last weights, then the selected ones; the test split is opened here and nowhere else."""
        cost, test = self.cost.shown(), self.measures.evaluate("test")
        last, selected = test[0], self.rows[self.best["epoch"] - 1]
        self.model.load_state_dict(self.best["model"])
        self.method.load_state_dict(self.best["method"])
        if self.best["epoch"] < self.epoch:
            test = self.measures.evaluate("test")
        summary = {
            **{name: selected[name] for name in ("epoch", "train_accuracy", "valid_accuracy", "valid_loss")},
            "test_accuracy": test[0],
            "test_loss": test[1],
            "last_test_accuracy": last,
            "tau": overfitting_gap(selected["train_accuracy"], test[0]),
            "coalitions": self.measures.coalitions("test"),
            "contributions": self.measures.contributions("test"),
            "switching": self.dominance["switches"] / self.dominance["pairs"] if self.dominance["pairs"] else None,
            **cost,
        }
        self._keep(self.folder / "best.ckpt", {"model": self.best["model"], "method": self.best["method"]})
        self._write("finished", summary=summary)
        if self.ranks.first:
            self.previous.unlink(missing_ok=True)

    # ---- state ----------------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "random": self.ranks.gathered(torch.get_rng_state()),
            "best": self.best,
            "dominance": self.dominance,
            "cost": self.cost.state(),
        }

    def _due(self, saved: float) -> bool:
        return time.monotonic() - saved > self.every

    def _save(self) -> None:
        self._keep(self.last, self._state(), self.previous)

    def _keep(self, path: Path, state: dict[str, Any], previous: Path | None = None) -> None:
        if self.ranks.first:
            checkpoint.save(path, state, previous)

    def _snapshot(self, *, over: bool = False) -> None:
        if self.ranks.first:
            snapshots.keep(self.folder, self.config, self.epoch, self.model, over=over)

    def _resume(self) -> None:
        """Continues from the last checkpoint, if there is one; epochs after it are forgotten and trained again."""
        state, rows = self.ranks.told(self._kept)
        if state:
            self._restore(state, rows)
        if self.ranks.first:
            runs.keep_metrics(self.folder, self.rows)

    def _kept(self) -> tuple[dict[str, Any], list[dict[str, float]]]:
        """The last checkpoint that is whole, empty if there is none or snapshots are missing, and the metrics."""
        for name in runs.FILES:
            discard_parts(self.folder / name)
        state = checkpoint.newest(self.last, self.previous, told=_say) or {}
        kept = state and snapshots.complete(self.folder, self.config, state.get("epoch", 0))
        return (state if kept else {}), runs.read_metrics(self.folder)

    def _restore(self, state: dict[str, Any], rows: list[dict[str, float]]) -> None:
        """Everything as it was; a rank that the checkpoint does not know draws from its own fresh stream."""
        try:
            for name in ("model", "method", "optimizer", "scheduler"):
                getattr(self, name).load_state_dict(state[name])
            if self.ranks.rank < len(state["random"]):
                torch.set_rng_state(state["random"][self.ranks.rank].clone())  # torch reads a view from its start
            self.epoch, self.best, self.dominance = state["epoch"], state["best"], state["dominance"]
            self.cost.resume(state["cost"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(self._refusal(f"in {self.last.name}", str(error).partition("\n")[0])) from None
        self.rows = rows[: self.epoch]
        if len(self.rows) < self.epoch:
            raise ValueError(self._refusal("in metrics.csv", f"{len(rows)} of {self.epoch} epochs"))
        self.seconds = self.rows[-1]["seconds"] if self.rows else 0.0
        self.watch.replay(self.rows)

    def _refusal(self, where: str, found: str) -> str:
        return f"Expected this run {where} of {self.folder}, found: {found}; delete the folder to train it again."

    def _write(self, status: str, **more: Any) -> None:
        if not self.ranks.first:
            return
        parts = self.dataset.splits
        described = {
            "name": self.dataset.name,
            "fingerprint": self.dataset.fingerprint,
            "modalities": list(self.dataset.modalities),
            "classes": list(self.dataset.classes),
            "score": self.score.name,
            "sizes": {name: len(split) for name, split in parts.items()},
            "fold": data.source(self.config.data).fold(self.config.seed),
        }
        about = {"status": status, "data": described, "environment": runs.environment() | {"ranks": self.ranks.count}}
        parts_of_run = {
            "summary": {},
            "timing": {"seconds": self.seconds},
            "warnings": self.watch.said,
            **about,
            **more,
        }
        runs.write_run(self.folder, self.config, **parts_of_run)


class _Again:
    """A set of batches that can be gone through again and again."""

    def __init__(self, batches: Callable[[str], Iterator[tuple[Inputs, Tensor]]], split: str) -> None:
        self.batches, self.split = batches, split

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        return self.batches(self.split)


def _copied(module: nn.Module) -> dict[str, Any]:
    """A module's state as it is now; tensors cloned one by one, for which deepcopy takes eight times as long."""
    state = module.state_dict().items()
    return {name: value.clone() if isinstance(value, Tensor) else deepcopy(value) for name, value in state}


def _optimizer(config: RunConfig, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    asked = config.optimizer
    if asked.name == "sgd":
        return torch.optim.SGD(parameters, asked.lr, momentum=asked.momentum, weight_decay=asked.weight_decay)
    kind = torch.optim.Adam if asked.name == "adam" else torch.optim.AdamW
    return kind(parameters, asked.lr, weight_decay=asked.weight_decay)

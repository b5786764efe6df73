"""What each process does in the tests of the bench under torchrun; starting them is slow, so one pair does everything.

torchrun --nproc-per-node 2 tests/ddp/bench_ranks.py FOLDER       # writes FOLDER/rank0.json and rank1.json
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from msam import Outcome
from msam_bench.cli import main as command
from msam_bench.config.resolve import resolve
from msam_bench.config.run import RunConfig
from msam_bench.runs import fit
from msam_bench.training.epoch import Epoch
from msam_bench.training.loop import TrainedEpoch

METHODS = ("joint", "msam", "msam-encoder", "mmpareto")
CASES = [(method, "late") for method in METHODS] + [("joint", "early"), ("msam", "early")]
RESUMED = [("joint", "late"), ("msam", "early")]
EPOCHS, STOP = 2, 1


def config(method: str, fusion: str) -> RunConfig:
    return resolve("digits6", fusion, method, epochs=EPOCHS, batch_size=64)


class Stop(Exception):
    """Ends a run between two epochs, after its checkpoint."""


def stopping(epoch: int) -> None:
    if epoch == STOP:
        raise Stop


class Spy:
    """Watches one rank: reductions by size, dominant modality of each batch, hashes after each epoch, files written."""

    def __init__(self, root: Path) -> None:
        self.root, self.written = str(root), list[str]()
        self.reductions, self.dominants, self.epochs = list[int](), list[object](), list[object]()
        self._count_reductions()
        self._note_dominants()
        self._hash_epochs()
        sys.addaudithook(self._note_writing)

    def _count_reductions(self) -> None:
        original, wrap = torch.distributed.all_reduce, DistributedDataParallel.__init__

        def counting(tensor: torch.Tensor, *arguments: Any, **options: Any) -> Any:
            self.reductions.append(tensor.numel())
            return original(tensor, *arguments, **options)

        def wrapping(wrapper: DistributedDataParallel, *arguments: Any, **options: Any) -> None:
            wrap(wrapper, *arguments, **options)
            wrapper.register_comm_hook(None, allreduce_hook)  # through `torch.distributed.all_reduce`

        torch.distributed.all_reduce = counting
        DistributedDataParallel.__init__ = wrapping  # type: ignore[method-assign]

    def _note_dominants(self) -> None:
        original = Epoch.add

        def noting(epoch: Epoch, outcome: Outcome, samples: int) -> None:
            self.dominants.append([outcome.notes.get("dominant"), outcome.notes.get("share"), float(outcome.loss)])
            original(epoch, outcome, samples)

        Epoch.add = noting  # type: ignore[method-assign]

    def _hash_epochs(self) -> None:
        original = fit.ResumableRun._row

        def hashing(run: fit.ResumableRun, epoch: TrainedEpoch) -> dict[str, float]:
            row = original(run, epoch)
            state = [*run.parts.model.state_dict().values(), *run.parts.method.parameters()]
            content = b"".join(tensor.detach().numpy().tobytes() for tensor in state)
            self.epochs.append([hashlib.sha256(content).hexdigest(), {**row, "seconds": 0}])
            return row

        fit.ResumableRun._row = hashing  # type: ignore[method-assign]

    def _note_writing(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(self.root) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            self.written.append(str(arguments[0]))

    def taken(self) -> dict[str, Any]:
        seen = {"reductions": [*self.reductions], "dominants": [*self.dominants], "epochs": [*self.epochs]}
        for noted in (self.reductions, self.dominants, self.epochs):
            noted.clear()
        return seen


def told(*arguments: str) -> list[object]:
    """Exit code and output of the command."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            command(arguments)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
    return [code, out.getvalue(), err.getvalue()]


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    spy, found = Spy(folder / "runs"), dict[str, object]()
    for method, fusion in CASES:
        record = fit.run(config(method, fusion), folder / "runs/two", every=0)
        found[f"{method}/{fusion}"] = {**spy.taken(), "summary": record.summary, "ranks": record.environment["ranks"]}
    for method, fusion in RESUMED:
        for place in ("stopped", "two-then-one"):
            with suppress(Stop):
                fit.run(config(method, fusion), folder / "runs" / place, stopping, every=0)
        spy.taken()
        for place in ("stopped", "one-then-two"):
            fit.run(config(method, fusion), folder / "runs" / place, every=0)
            found[f"{place}/{method}/{fusion}"] = spy.taken()
    runs = str(folder / "runs/command")
    commands = {
        "train": told("train", "--epochs", "1", "--runs", runs),
        "compare": told("compare", "--epochs", "1", "--runs", runs),
        "small": told("train", "--batch-size", "1", "--runs", runs),
    }
    seen = {"found": found, "written": spy.written, "commands": commands}
    (folder / f"rank{os.environ['RANK']}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

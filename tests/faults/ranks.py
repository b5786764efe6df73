"""What each process of torchrun does in the test that kills them.

torchrun --nproc-per-node 2 tests/faults/ranks.py FOLDER       # trains a run there; each process leaves its number
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from msam_bench.config.resolve import resolve
from msam_bench.config.run import RunConfig
from msam_bench.runs import fit


def config() -> RunConfig:
    """A run with all that a resumed one must know: counters, running values, dropout masks of each rank, statistics."""
    method = "msam:every=2:attribution.momentum=0.5"
    return resolve("digits6", "early", method, epochs=30, batch_size=100, features=4, hidden=4)


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    (folder / f"{os.environ['RANK']}.pid").write_text(str(os.getpid()))
    fit.run(config(), folder / "runs", every=0)

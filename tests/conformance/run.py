"""Trains every case by every engine in one process (or, under torchrun, in each of several) and says how far it is off.

python run.py FOLDER [full]                         # writes FOLDER/1-0.json: engine -> case -> what was found
torchrun --nproc-per-node 2 run.py FOLDER [full]    # writes FOLDER/2-0.json and 2-1.json
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed

import rounding
from conformance.cases import CASES, LITERAL, Case, covering, network
from conformance.engines import ENGINES, Engine, Weights, casting, reference


def distance(one: Weights, other: Weights, rank: int) -> float:
    """Largest difference of a weight; of a running statistic too on the first rank, whose they are."""
    buffers = {name for name in one if "running" in name or "tracked" in name}
    names = one.keys() if rank == 0 else one.keys() - buffers
    assert one.keys() == other.keys()
    return max((one[name].double() - other[name].double()).abs().max().item() for name in names)


def found(engine: Engine, case: Case, wanted: Weights, rank: int, ranks: int) -> dict[str, Any]:
    """How far an engine is off, and a digest of its weights; or in which words it refuses."""
    started = time.process_time()
    try:
        weights = engine(case, rank, ranks)
    except ValueError as error:
        return {"refusal": str(error)}
    parameters = [weights[name] for name, _ in network(case).named_parameters()]
    digest = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in parameters)).hexdigest()
    seconds = time.process_time() - started
    return {"difference": distance(weights, wanted, rank), "digest": digest, "seconds": seconds}


def main(folder: Path, full: bool) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    rounding.simulate()
    rank, ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if ranks > 1:
        torch.distributed.init_process_group("gloo")
    seen: dict[str, dict[str, Any]] = {name: {} for name in ["start", *ENGINES]}
    for case in CASES if full else covering(ranks):
        moved = distance(dict(network(case).state_dict()), reference("cached", case, rank, ranks), rank)
        seen["start"][case.name] = {"moved": moved}
        for name, engine in ENGINES.items():
            if name != "torch" or case.method in LITERAL:  # else it is the reference itself
                wanted = reference(casting(name, case), case, rank, ranks)
                seen[name][case.name] = found(engine, case, wanted, rank, ranks)
    (folder / f"{ranks}-{rank}.json").write_text(json.dumps(seen, indent=1))
    if ranks > 1:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] == ["full"])

"""What each of two processes does in the data-parallel tests; starting them is slow, so one pair does everything.

work(rank, folder)            # writes folder/rank.pt: results by case
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from msam import ASAM, GNP, MSAM, SAM, Joint, Method, Objective, Shapley, Unimodal, shapley
from zoo import batch, gradients, model

METHODS: dict[str, Callable[[], Method]] = {
    "joint": Joint,
    "sam": lambda: SAM(0.3),
    "asam": lambda: ASAM(0.5),
    "gnp": lambda: GNP(0.4, 0.3),
    "loss": lambda: MSAM(0.3),
    "encoder": lambda: MSAM(0.3, scope="encoder"),
    "encoder+head": lambda: MSAM(0.3, scope="encoder+head"),
    "shapley": lambda: MSAM(0.3, scope="shapley"),
    "unimodal": lambda: Unimodal("image"),
}
MSAMS = ("loss", "encoder", "encoder+head", "shapley")
CASES = [
    (name, fusion) for name in METHODS for fusion in ("late", "early") if (name, fusion) != ("encoder+head", "early")
]
SYNCHRONISED: dict[str, Callable[[], Method]] = {
    "sam": lambda: SAM(0.3, sync_perturbation=True),
    "asam": lambda: ASAM(0.5, sync_perturbation=True),
    "gnp": lambda: GNP(0.4, 0.3, sync_perturbation=True),
    "loss": lambda: MSAM(0.3, sync_perturbation=True),
    "encoder": lambda: MSAM(0.3, scope="encoder", sync_perturbation=True),
    "shapley": lambda: MSAM(0.3, scope="shapley", sync_perturbation=True),
}
SIZES = (12, 9)
"""Ranks have batches of different sizes, so that a mean of ranks is told from a mean of samples."""
MICRO = 4


def data(rank: int, step: int = 0) -> tuple[dict[str, Tensor], Tensor]:
    return batch(2, size=SIZES[rank], seed=10 * step + rank)


def seeded(rank: int, step: int = 0) -> None:
    """Ranks draw different dropout masks."""
    torch.manual_seed(100 + 10 * step + rank)


@contextmanager
def reductions() -> Iterator[list[int]]:
    """Numbers of elements of the all-reductions inside, the data-parallel wrapper's among them."""
    seen: list[int] = []
    original = torch.distributed.all_reduce

    def counting(tensor: Tensor, *arguments: Any, **options: Any) -> Any:
        seen.append(tensor.numel())
        return original(tensor, *arguments, **options)

    torch.distributed.all_reduce = counting
    try:
        yield seen
    finally:
        torch.distributed.all_reduce = original


def parallel(net: nn.Module, **options: Any) -> DistributedDataParallel:
    wrapped = DistributedDataParallel(net, **options)
    wrapped.register_comm_hook(None, allreduce_hook)  # through `torch.distributed.all_reduce`, where it is counted
    return wrapped


def step(rank: int, make: Callable[[], Method], fusion: str) -> dict[str, Any]:
    """Two batches, the second with new data; gradients and reductions of each, buffers after both."""
    net = model(2, fusion)
    backward = make().on(parallel(net), F.cross_entropy)
    found: dict[str, Any] = {"gradients": [], "notes": [], "reductions": []}
    for number in range(2):
        seeded(rank, number)
        with reductions() as seen:
            outcome = backward(*data(rank, number))
        found["gradients"].append(gradients(net))
        found["notes"].append(outcome.notes)
        found["reductions"].append(seen)
        net.zero_grad()
    return found | {"buffers": dict(net.named_buffers()), "random": torch.get_rng_state()}


def accumulated(rank: int, make: Callable[[], Method], fusion: str) -> dict[str, Any]:
    """Four micro-batches, three of them under `no_sync`."""
    net = model(2, fusion)
    wrapped = parallel(net)
    backward = make().on(wrapped, lambda logits, target: F.cross_entropy(logits, target) / MICRO)
    notes = []
    with reductions() as seen:
        for number in range(MICRO):
            seeded(rank, number)
            with wrapped.no_sync() if number < MICRO - 1 else nullcontext():
                notes.append(backward(*data(rank, number)).notes)
    return {"gradients": gradients(net), "notes": notes, "reductions": seen}


def after_an_error(rank: int, name: str, fusion: str) -> dict[str, Any]:
    """A step whose criterion raises in the first or second pass, then one or two good ones; the last is kept."""
    found = []
    for failing in (1, 2):
        net, calls = model(2, fusion), 0

        def criterion(logits: Tensor, target: Tensor, failing: int = failing) -> Tensor:
            nonlocal calls
            calls += 1
            if calls == failing:
                raise KeyError("stop")
            return F.cross_entropy(logits, target)

        backward = METHODS[name]().on(parallel(net), criterion)
        before = copy.deepcopy(net.state_dict())
        try:
            backward(*data(rank))
        except KeyError:
            assert not gradients(net)
        notes, calls = {}, 10
        for _ in range(failing):
            net.zero_grad()
            net.load_state_dict(before)
            seeded(rank)
            notes = METHODS[name]().on(backward.objective.model, F.cross_entropy)(*data(rank)).notes
        found.append({"gradients": gradients(net), "notes": notes})
    return {"found": found}


def wrapped_with(rank: int, name: str, **options: Any) -> dict[str, Any]:
    """The same step with other settings of the wrapper, onto gradients that are there already."""
    net = model(2)
    backward = METHODS[name]().on(parallel(net, **options), F.cross_entropy)
    seeded(rank)
    backward(*data(rank))
    first = gradients(net)
    net.zero_grad(set_to_none=False)
    for weight in net.parameters():
        assert weight.grad is not None
        weight.grad.fill_(0.25)
    seeded(rank, 1)
    backward(*data(rank, 1))
    return {"first": first, "second": gradients(net)}


def attributed(rank: int) -> dict[str, Any]:
    """Contributions on their own, by every value function."""
    found = {}
    for value in ("accuracy", "probability", "loss"):
        objective = Objective(parallel(model(2)), F.cross_entropy)
        found[value] = shapley(objective, *data(rank), value=value).values  # type: ignore[arg-type]
    attribution = Shapley(every=2, momentum=0.5)
    objective = Objective(parallel(model(2)), F.cross_entropy)
    found["remembered"] = [attribution(objective, *data(rank, number)).values for number in range(4)]
    return found


def results(rank: int) -> dict[str, Any]:
    found: dict[str, Any] = {f"step/{name}/{fusion}": step(rank, METHODS[name], fusion) for name, fusion in CASES}
    found |= {f"accumulated/{name}/{fusion}": accumulated(rank, METHODS[name], fusion) for name, fusion in CASES}
    found |= {f"synchronised/{name}": step(rank, make, "late") for name, make in SYNCHRONISED.items()}
    found |= {"synchronised/accumulated": accumulated(rank, SYNCHRONISED["loss"], "late")}
    found |= {f"error/{name}": after_an_error(rank, name, "late") for name in ("sam", "loss", "encoder", "shapley")}
    for option in ("gradient_as_bucket_view", "find_unused_parameters"):
        found |= {
            f"{option}/{name}": wrapped_with(rank, name, **{option: True}) for name in ("joint", "loss", "encoder")
        }
    return found | {"attributed": attributed(rank)}


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    torch.save(results(rank), Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()

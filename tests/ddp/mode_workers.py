"""What each of two processes does in the tests of the data-parallel wrapper's modes.

work(rank, folder)            # writes folder/rank.pt: mode -> method -> weights after three steps, or a refusal
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import msam
from msam import Method
from zoo import CLASSES, batch, model

NAMES = {"audio": 6, "image": 6}
METHODS: dict[str, Callable[[], Method]] = {
    "joint": msam.Joint,
    "sam": lambda: msam.SAM(0.3),
    "msam": lambda: msam.MSAM(0.3),
    "encoder": lambda: msam.MSAM(0.3, scope="encoder"),
    "shapley": lambda: msam.MSAM(0.3, scope="shapley"),
    "ogm": msam.OGM,
    "agm": msam.AGM,
    "looksam": lambda: msam.LookSAM(0.3),
    "esam": lambda: msam.ESAM(0.3, beta=1.0),
    "reconboost": msam.ReconBoost,
    "mmpareto": lambda: msam.MMPareto(NAMES, CLASSES),
}
MODES: dict[str, dict[str, Any]] = {
    "plain": {},
    "static": {"static_graph": True},
    "static views": {"static_graph": True, "gradient_as_bucket_view": True},
    "views": {"gradient_as_bucket_view": True},
    "unused": {"find_unused_parameters": True},
}


class Checkpointed(nn.Module):
    """A reentrant checkpoint, as an encoder's part."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, tensor: Tensor) -> Tensor:
        made: Tensor = checkpoint(self.body, tensor.detach().requires_grad_(), use_reentrant=True)
        return made


def trained(rank: int, make: Callable[[], Method], options: dict[str, Any], *, joining: bool = False) -> Any:
    """Weights and buffers after three steps, the second of them two micro-batches; or what the method says."""
    torch.manual_seed(rank)
    net = model(2)
    wrapped = DistributedDataParallel(net, **options)
    method = make()
    backward = method.on(wrapped, F.cross_entropy)
    optimizer = torch.optim.SGD([*net.parameters(), *method.parameters()], lr=0.1)
    try:
        with wrapped.join() if joining else nullcontext():
            for number in range(3):
                optimizer.zero_grad()
                if number == 1 and not joining:
                    with wrapped.no_sync():
                        backward(*batch(2, size=12, seed=100 + rank))
                backward(*batch(2, size=12, seed=10 * number + rank))
                optimizer.step()
    except ValueError as error:
        return str(error)
    return {key: value.clone() for key, value in net.state_dict().items()}


def hidden(rank: int, make: Callable[[], Method]) -> Any:
    """One step of a model whose encoders are reentrant checkpoints."""
    net = model(2, noisy=False)
    for name in list(net.encoders):
        net.encoders[name] = Checkpointed(net.encoders[name])
    try:
        make().on(DistributedDataParallel(net), F.cross_entropy)(*batch(2, size=12, seed=rank))
    except ValueError as error:
        return str(error)
    return {key: weight.grad.clone() for key, weight in net.named_parameters()}


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    options: dict[str, Any] = {"store": store, "rank": rank, "world_size": 2, "timeout": timedelta(seconds=60)}
    torch.distributed.init_process_group("gloo", **options)
    made: dict[str, Any] = {
        mode: {name: trained(rank, make, options) for name, make in METHODS.items()} for mode, options in MODES.items()
    }
    made["join"] = {name: trained(rank, METHODS[name], {}, joining=True) for name in ("joint", "sam", "msam", "ogm")}
    made["hidden"] = {name: hidden(rank, METHODS[name]) for name in ("joint", "sam", "msam", "ogm", "agm")}
    torch.save(made, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()

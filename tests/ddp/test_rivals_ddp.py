"""Two processes that share gradients: equal on both, and with equal batches those of one process.

One pair of processes takes every method in turn, because starting it is the slow part.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from msam import AESAM, AGM, CGGM, CML, ESAM, FSAM, LFM, MASAM, MBSD, OGM, OGMGE, OPM, Joint, LookSAM, Method, MMPareto
from zoo import CLASSES, NAMES, batch, gradients, model

pytestmark = pytest.mark.ddp
SIZES: dict[str, Any] = {"widths": dict.fromkeys(NAMES[:2], 6), "classes": CLASSES}
CASES: list[tuple[Any, dict[str, Any], str]] = [
    (Joint, {}, "late"),
    (OGM, {}, "late"),
    (OGMGE, {}, "late"),
    (AGM, {"alpha": 1.5}, "late"),
    (AGM, {"alpha": 1.5}, "early"),
    (AGM, {"alpha": 1.5, "faithful": "paper"}, "late"),
    (AGM, {"alpha": 1.5, "faithful": "paper"}, "early"),
    (MMPareto, SIZES, "late"),
    (MMPareto, {**SIZES, "faithful": "paper"}, "early"),
    (CGGM, SIZES, "early"),
    (CGGM, {**SIZES, "faithful": "code"}, "late"),
    (MASAM, SIZES, "late"),
    (MASAM, SIZES, "early"),
    (ESAM, {"rho": 0.2}, "late"),
    (LookSAM, {"rho": 0.2, "every": 2}, "early"),
    (AESAM, {"rho": 0.2, "first": 0.0}, "late"),
    (FSAM, {"rho": 0.2}, "early"),
    (OPM, {"start": 0, "execute": 1.0}, "late"),
    (CML, {"weight": 2.0, "faithful": "code"}, "early"),
    (LFM, SIZES, "early"),
    (MBSD, SIZES, "late"),
]


def trained(make: Any, options: dict[str, Any], fusion: str, seeds: list[int], parallel: bool) -> dict[str, Tensor]:
    """Gradients of model and method after one shared step and one accumulated over two batches; dropout is off."""
    net = model(2, fusion)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    wrapped = DistributedDataParallel(net) if parallel else net
    method: Method = make(**options)
    backward = method.on(wrapped, F.cross_entropy)
    optimizer = torch.optim.SGD([*net.parameters(), *method.parameters()], lr=0.1)
    backward(*batch(2, seed=seeds[0]))
    optimizer.step()
    optimizer.zero_grad()
    if isinstance(wrapped, DistributedDataParallel):
        with wrapped.no_sync():
            backward(*batch(2, seed=seeds[1]))
    else:
        backward(*batch(2, seed=seeds[1]))
    backward(*batch(2, seed=seeds[2]))
    found = gradients(net) | {f"method.{key}": gradient for key, gradient in gradients(method).items()}
    return found | {f"weight.{key}": weight.detach().clone() for key, weight in net.named_parameters()}


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = []
    for make, options, fusion in CASES:
        different = trained(make, options, fusion, [10 * rank, 10 * rank + 1, 10 * rank + 2], True)
        equal = trained(make, options, fusion, [0, 1, 2], True)
        found.append((different, equal))
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("ddp")
    torch.multiprocessing.spawn(work, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda i: f"{CASES[i][0].__name__}-{i}")
def test_ranks_agree(case: int, ranks: list[Any]) -> None:
    (left, _), (right, _) = ranks[0][case], ranks[1][case]
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda i: f"{CASES[i][0].__name__}-{i}")
def test_equal_batches_give_the_gradient_of_one_process(case: int, ranks: list[Any]) -> None:
    make, options, fusion = CASES[case]
    alone, shared = trained(make, options, fusion, [0, 1, 2], False), ranks[0][case][1]
    size = max(1.0, *(value.abs().max().item() for value in alone.values()))
    assert alone.keys() == shared.keys()
    assert all(torch.allclose(alone[key], shared[key], rtol=0, atol=1e-12 * size) for key in alone)

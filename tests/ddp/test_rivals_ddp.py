"""Two processes that share gradients: equal on both, and with equal batches those of one process.

One pair of processes takes every method in turn, because starting it is the slow part.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from msam import (
    AESAM,
    AGM,
    CGGM,
    CML,
    ESAM,
    FSAM,
    LFM,
    MASAM,
    MBSD,
    MLA,
    MSAM,
    MSES,
    MSLR,
    OGM,
    OGMGE,
    OPM,
    PMR,
    SAM,
    UMT,
    Auxiliary,
    GBlending,
    Joint,
    LookSAM,
    Method,
    MMCosine,
    MMPareto,
    ReconBoost,
)
from zoo import CLASSES, NAMES, batch, gradients, model, teachers

pytestmark = pytest.mark.ddp
WIDTHS = dict.fromkeys(NAMES[:2], 6)
CASES: dict[str, tuple[Callable[[], Method], str]] = {
    "joint": (Joint, "late"),
    "ogm": (OGM, "late"),
    "ogm-ge": (OGMGE, "late"),
    "agm": (lambda: AGM(1.5), "late"),
    "agm-early": (lambda: AGM(1.5), "early"),
    "agm-code": (lambda: AGM(1.5, "code"), "late"),
    "agm-code-early": (lambda: AGM(1.5, "code"), "early"),
    "mmpareto": (lambda: MMPareto(WIDTHS, CLASSES), "late"),
    "mmpareto-code": (lambda: MMPareto(WIDTHS, CLASSES, faithful="code"), "early"),
    "cggm": (lambda: CGGM(WIDTHS, CLASSES), "early"),
    "cggm-code": (lambda: CGGM(WIDTHS, CLASSES, faithful="code"), "late"),
    "masam": (lambda: MASAM(WIDTHS, CLASSES), "late"),
    "masam-early": (lambda: MASAM(WIDTHS, CLASSES), "early"),
    "pmr": (lambda: PMR(part=1.0, entropy=0.1), "early"),
    "mslr": (lambda: MSLR({"audio": 0.5}, window=1), "late"),
    "mses": (lambda: MSES(patience=1), "late"),
    "g-blending": (lambda: GBlending(WIDTHS, CLASSES, every=1), "early"),
    "mmcosine": (MMCosine, "late"),
    "mla": (lambda: MLA(WIDTHS, CLASSES), "late"),
    "reconboost": (lambda: ReconBoost(boost=1, rectify=1), "late"),
    "reconboost-code": (lambda: ReconBoost(boost=1, rectify=0, faithful="code"), "late"),
    "umt": (lambda: UMT(WIDTHS, CLASSES, teaching=1), "early"),
    "umt-given": (lambda: UMT(teachers=teachers(NAMES[:2])), "late"),
    "esam": (lambda: ESAM(0.2), "late"),
    "looksam": (lambda: LookSAM(0.2, every=2), "early"),
    "ae-sam": (lambda: AESAM(0.2, first=0.0), "late"),
    "f-sam": (lambda: FSAM(0.2), "early"),
    "opm": (lambda: OPM(start=0, execute=1.0), "late"),
    "cml": (lambda: CML(2.0, "code"), "early"),
    "lfm": (lambda: LFM(WIDTHS, CLASSES), "early"),
    "mbsd": (lambda: MBSD(WIDTHS, CLASSES), "late"),
    "auxiliary": (lambda: Auxiliary(WIDTHS, CLASSES, classifiers="fusion"), "early"),
    "sam-of-agm": (lambda: SAM(0.2, of=AGM(1.5)), "late"),
    "sam-of-mbsd": (lambda: SAM(0.2, sync_perturbation=True, of=MBSD(WIDTHS, CLASSES)), "early"),
    "modalities-of-mmpareto": (lambda: MSAM(0.2, scope="modalities", of=MMPareto(WIDTHS, CLASSES)), "late"),
    "encoder-of-cml": (lambda: MSAM(0.2, scope="encoder", of=CML(2.0)), "late"),
    "encoder-of-mmcosine": (lambda: MSAM(0.2, scope="encoder", of=MMCosine()), "late"),
    "fused-gap": (
        lambda: MSAM(0.2, scope="modalities", radius="gap", of=MBSD(WIDTHS, CLASSES), of_part="fused"),
        "late",
    ),
    "own-part": (
        lambda: MSAM(
            0.2, scope="encoder", dominant="overfit", sync_perturbation=True, of=MBSD(WIDTHS, CLASSES), of_part="own"
        ),
        "early",
    ),
}


def trained(name: str, seeds: list[int], parallel: bool) -> dict[str, Tensor]:
    """Gradients and weights after a shared step, the end of an epoch, and two batches accumulated; dropout is off."""
    make, fusion = CASES[name]
    net = model(2, fusion)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    wrapped = DistributedDataParallel(net) if parallel else net
    method = make()
    backward = method.on(wrapped, F.cross_entropy)
    optimizer = torch.optim.SGD([*net.parameters(), *method.parameters()], lr=0.1)
    backward(*batch(2, seed=seeds[0]))
    optimizer.step()
    optimizer.zero_grad()
    backward.next_epoch([batch(2, 20, seed=seeds[1])], [batch(2, 20, seed=seeds[2])])
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
    found = {}
    for name in CASES:
        different = trained(name, [10 * rank, 10 * rank + 1, 10 * rank + 2], True)
        found[name] = different, trained(name, [0, 1, 2], True)
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("ddp")
    torch.multiprocessing.spawn(work, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("name", CASES)
def test_ranks_agree(name: str, ranks: list[Any]) -> None:
    (left, _), (right, _) = ranks[0][name], ranks[1][name]
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("name", CASES)
def test_equal_batches_give_the_gradient_of_one_process(name: str, ranks: list[Any]) -> None:
    alone, shared = trained(name, [0, 1, 2], False), ranks[0][name][1]
    size = max(1.0, *(value.abs().max().item() for value in alone.values()))
    assert alone.keys() == shared.keys()
    assert all(torch.allclose(alone[key], shared[key], rtol=0, atol=1e-12 * size) for key in alone)

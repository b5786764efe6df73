"""Weights of other kinds, shared by two processes: sparse gradients of an embedding, and complex numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from contract.test_methods import make
from faults.test_inputs import JOINING, Spectral, other
from msam import MSAM, SAM, Method
from zoo import batch, gradients, model

pytestmark = pytest.mark.ddp

TOGETHER: dict[str, Callable[[], Method]] = {
    "sam": lambda: SAM(0.2, sync_perturbation=True),
    "msam": lambda: MSAM(0.2, sync_perturbation=True),
    "msam-encoder": lambda: MSAM(0.2, scope="encoder", sync_perturbation=True),
    "msam-shapley": lambda: MSAM(0.2, scope="shapley", sync_perturbation=True),
}
CASES = [*JOINING, *(f"{name} together" for name in TOGETHER)]
KINDS = ("sparse", "complex")


def odd(kind: str, seed: int) -> tuple[nn.Module, dict[str, Tensor], Tensor]:
    if kind == "sparse":
        return other(kind, seed)
    net = model(2, noisy=False)
    net.encoders["audio"] = Spectral(complex_weight=True)
    return net, *batch(2, seed=seed)


def real(gradient: Tensor) -> Tensor:
    dense = gradient.to_dense() if gradient.is_sparse else gradient
    return torch.view_as_real(dense) if dense.is_complex() else dense


def stepped(name: str, kind: str, seeds: list[int], parallel: bool) -> dict[str, Tensor]:
    """Gradients that two batches add up to."""
    net, _, _ = odd(kind, 0)
    method = TOGETHER[name.split()[0]]() if "together" in name else make(name)
    backward = method.on(DistributedDataParallel(net) if parallel else net, F.cross_entropy)
    for seed in seeds:
        _, inputs, target = odd(kind, seed)
        torch.manual_seed(seed)
        backward(inputs, target)
    assert all(g.is_sparse == (kind == "sparse" and "table" in key) for key, g in gradients(net).items())
    return {key: real(gradient) for key, gradient in gradients(net).items()}


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    cases = [(name, kind) for name in CASES for kind in KINDS]
    different = {case: stepped(*case, [10 * rank, 10 * rank + 1], True) for case in cases}
    torch.save((different, {case: stepped(*case, [0, 1], True) for case in cases}), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[dict[tuple[str, str], dict[str, Tensor]], ...]]:
    folder = tmp_path_factory.mktemp("odd")
    torch.multiprocessing.spawn(work, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_ranks_agree_and_equal_batches_give_the_gradient_of_one_process(
    name: str, kind: str, ranks: list[tuple[dict[tuple[str, str], dict[str, Tensor]], ...]]
) -> None:
    left, right = (different[name, kind] for different, _ in ranks)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)
    alone, shared = stepped(name, kind, [0, 1], False), ranks[0][1][name, kind]
    assert alone.keys() == shared.keys()
    assert all(torch.allclose(alone[key], shared[key], rtol=0, atol=1e-12) for key in alone)

"""The data-parallel wrapper's stricter modes: the same weights on both ranks as in its plain mode, or a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
import torch.nn.functional as F
from torch import nn

from ddp import mode_workers
from ddp.mode_workers import METHODS, MODES
from msam import Joint
from zoo import model

pytestmark = pytest.mark.ddp


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("modes")
    torch.multiprocessing.spawn(mode_workers.work, (str(folder),), nprocs=2)
    return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", METHODS)
def test_ranks_stay_together_in_every_mode_as_in_the_plain_one(
    ranks: list[dict[str, Any]], name: str, mode: str
) -> None:
    """Weights to 1e-10 in double precision: gradients may be summed in another order."""
    first, second = (rank[mode][name] for rank in ranks)
    weights = [key for key in first if "running" not in key and "tracked" not in key]
    assert weights
    assert all(torch.equal(first[key], second[key]) for key in weights)
    assert all(torch.allclose(first[key], ranks[0]["plain"][name][key], rtol=0, atol=1e-10) for key in weights)


def test_join_is_right_where_passes_are_the_wrappers_own_and_refused_elsewhere(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        assert isinstance(rank["join"]["joint"], dict)
        assert isinstance(rank["join"]["sam"], dict)
        for name in ("msam", "ogm"):
            assert "Within join() a rank may have no batch left" in rank["join"][name]


def test_a_reentrant_checkpoint_is_right_or_refused_between_ranks(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        for name, made in rank["hidden"].items():
            if isinstance(made, str):
                assert name in {"ogm", "agm"}
                assert "hides weights from gradients that a method takes apart in data-parallel training" in made
            else:
                assert all(torch.equal(made[key], ranks[0]["hidden"][name][key]) for key in made)
                assert any(value.any() for key, value in made.items() if "encoders" in key)


def test_a_model_in_parts_is_refused_when_it_is_bound() -> None:
    class FullyShardedDataParallel(nn.Module):
        """Stands for torch's, which needs a process group: it is known by its name."""

        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

    with pytest.raises(ValueError, match="found a model that FullyShardedDataParallel keeps in parts"):
        Joint().on(FullyShardedDataParallel(model(2)), F.cross_entropy)

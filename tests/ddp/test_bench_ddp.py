"""`torchrun --nproc-per-node 2 -m msam_bench train`: one run of two processes, which share every batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ddp.bench_ranks import CASES, EPOCHS, RESUMED, STOP, Stop, config, stopping
from msam_bench.runs import fit
from msam_bench.runs import record as runs

pytestmark = pytest.mark.ddp

BATCHES = 4
"""An epoch of digits6: 200 samples in batches of at most 64."""
ROUNDING = 1e-5
"""float32; a batch's mean is summed in another order, and 12 steps of momentum 0.9 at lr 0.05 carry it on."""

EACH = pytest.mark.parametrize(("method", "fusion"), CASES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs begun by one process, then everything that two processes do."""
    folder = tmp_path_factory.mktemp("bench")
    for method, fusion in RESUMED:
        with suppress(Stop):
            fit.run(config(method, fusion), folder / "runs/one-then-two", stopping, every=0)
    script, tests = Path(__file__).with_name("bench_ranks.py"), str(Path(__file__).parents[1])
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    paths = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = subprocess.run(
        [*launch, str(script), str(folder)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]


@EACH
def test_ranks_are_equal_after_every_epoch(ranks: list[dict[str, Any]], method: str, fusion: str) -> None:
    left, right = (rank["found"][f"{method}/{fusion}"] for rank in ranks)
    assert len(left["epochs"]) == EPOCHS
    assert left["epochs"] == right["epochs"]
    assert left["summary"] == right["summary"]
    assert left["ranks"] == 2


@EACH
def test_gradients_are_reduced_once_a_batch(ranks: list[dict[str, Any]], method: str, fusion: str) -> None:
    """Numbers about contributions are a second, tiny reduction; parameters of a method's own a third."""
    for rank in ranks:
        reductions = rank["found"][f"{method}/{fusion}"]["reductions"]
        assert reductions.count(max(reductions)) == BATCHES * EPOCHS
        if method == "joint":
            assert len(reductions) == BATCHES * EPOCHS
        if method.startswith("msam"):
            assert sorted(set(reductions)) == [2 * 63 + 1, max(reductions)]
            assert len(reductions) == 2 * BATCHES * EPOCHS


@pytest.mark.parametrize(("method", "fusion"), [case for case in CASES if case[0].startswith("msam")])
def test_every_rank_names_the_same_modality_with_the_same_share(
    ranks: list[dict[str, Any]], method: str, fusion: str
) -> None:
    left, right = (rank["found"][f"{method}/{fusion}"]["dominants"] for rank in ranks)
    assert [batch[:2] for batch in left] == [batch[:2] for batch in right]
    assert all(name is not None for name, _, _ in left)
    assert [loss for _, _, loss in left] != [loss for _, _, loss in right]  # each of its own samples


def test_two_processes_train_joint_as_one_does(ranks: list[dict[str, Any]], tmp_path: Path) -> None:
    record = fit.run(config("joint", "late"), tmp_path)
    both = [row for _, row in ranks[0]["found"]["joint/late"]["epochs"]]
    for one, two in zip(record.metrics, both, strict=True):
        assert {**one, "seconds": 0} == pytest.approx(two, abs=ROUNDING)


@pytest.mark.parametrize(("method", "fusion"), RESUMED)
def test_a_run_of_two_resumes_to_the_same_weights(ranks: list[dict[str, Any]], method: str, fusion: str) -> None:
    for rank in ranks:
        whole, resumed = (rank["found"][f"{place}{method}/{fusion}"]["epochs"] for place in ("", "stopped/"))
        assert resumed == whole[STOP:]


@pytest.mark.parametrize("place", ["one-then-two", "two-then-one"])
def test_a_run_changes_its_number_of_processes(folder: Path, place: str, tmp_path: Path) -> None:
    resumed = [fit.run(config(method, fusion), folder / "runs" / place) for method, fusion in RESUMED]
    assert [len(record.metrics) for record in resumed] == [EPOCHS, EPOCHS]
    alone = fit.run(config("joint", "late"), tmp_path)
    for one, other in zip(alone.metrics, resumed[0].metrics, strict=True):
        assert {**one, "seconds": 0} == pytest.approx({**other, "seconds": 0}, abs=ROUNDING)


def test_only_the_first_rank_writes(folder: Path, ranks: list[dict[str, Any]]) -> None:
    assert ranks[0]["written"]
    assert ranks[1]["written"] == []
    assert {record.status for record in runs.records([folder / "runs"], status="")} == {"finished"}


def test_the_command_speaks_once(ranks: list[dict[str, Any]]) -> None:
    (code, out, err), silent = (rank["commands"]["train"] for rank in ranks)
    assert (code, out.count("test accuracy"), err) == (0, 1, "")
    assert silent == [0, "", ""]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("compare", "msam: The processes of torchrun train one run together: use `msam train`, or leave torchrun out."),
        ("small", "msam: Expected at least one sample for each of 2 processes in a batch, found batches of 1; "),
    ],
)
def test_what_cannot_be_shared_is_refused(ranks: list[dict[str, Any]], case: str, message: str) -> None:
    for rank in ranks:
        code, _, err = rank["commands"][case]
        assert (code, err.count("\n")) == (2, 1)
        assert err.startswith(message)

"""Every engine trains what raw torch trains, within a stated tolerance, or refuses in the documented sentence.

One process takes all cases of one rank, one launch of torchrun all cases of two; what they found is compared here.
`run.py FOLDER full` takes all 120 cases, by hand.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from conformance.cases import CASES, LITERAL, covering
from conformance.engines import ENGINES
from conformance.table import EXACT, NAMES, REFUSALS, expected, read, table, written

pytestmark = [pytest.mark.slow, pytest.mark.ddp, pytest.mark.timeout(900)]

if not all(map(find_spec, ("lightning", "accelerate", "transformers"))):
    pytest.skip("needs the extras lightning, accelerate and transformers", allow_module_level=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conformance")
    script, tests = Path(__file__).with_name("run.py"), str(Path(__file__).parents[1])
    paths = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "TOKENIZERS_PARALLELISM": "false"}
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    for launcher in ([], launch):
        command = [sys.executable, *launcher, str(script), str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[tuple[int, int], dict[str, Any]]:
    """(ranks, rank) -> engine -> case -> what was found."""
    places = [(1, 0), (2, 0), (2, 1)]
    return {(n, rank): json.loads((folder / f"{n}-{rank}.json").read_text()) for n, rank in places}


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_meets_the_reference_or_refuses(
    found: dict[tuple[int, int], dict[str, Any]], engine: str, ranks: int
) -> None:
    wanted = [case for case in covering(ranks) if engine != "torch" or case.method in LITERAL]
    for rank in range(ranks):
        results = found[ranks, rank][engine]
        assert set(results) == {case.name for case in wanted}
        for case in wanted:
            refusal = REFUSALS.get((engine, case.precision))
            assert results[case.name].get("refusal") == refusal, case.name
            if refusal is None:
                assert results[case.name]["difference"] <= EXACT, case.name


@pytest.mark.parametrize("engine", ENGINES)
def test_ranks_end_with_the_same_weights(found: dict[tuple[int, int], dict[str, Any]], engine: str) -> None:
    left, right = ({name: r.get("digest") for name, r in found[2, rank][engine].items()} for rank in range(2))
    assert left == right


def test_references_move_and_methods_differ(found: dict[tuple[int, int], dict[str, Any]]) -> None:
    """A tolerance of 1e-6 says something: weights move by more than a quarter, each method in its own way.

    Of late fusion, which has no counter of batches among its state.
    """
    moved = [result["moved"] for name, result in found[1, 0]["start"].items() if "/late/" in name]
    assert min(moved) > 0.25
    assert len(set(moved)) == len(moved) == 15


@pytest.mark.parametrize(("ranks", "count"), [(1, 30), (2, 15)])
def test_the_suite_covers_every_pair_of_factors(ranks: int, count: int) -> None:
    chosen = covering(ranks)
    assert len(set(chosen)) == count
    for one, other in combinations(("method", "fusion", "precision", "accumulate", "clip"), 2):
        pairs = {(getattr(case, one), getattr(case, other)) for case in CASES}
        assert {(getattr(case, one), getattr(case, other)) for case in chosen} == pairs, (one, other)


def test_the_table_of_the_documentation_is_of_all_cases_with_the_tolerances_and_refusals_of_today() -> None:
    assert without_differences(written()) == without_differences(table(expected()))
    assert set(NAMES) == set(ENGINES)
    assert "missed" not in written()


def without_differences(table: str) -> str:
    """What does not depend on the machine."""
    return re.sub(r" \([^)]*\)", "", table)


def test_a_case_that_is_off_is_told_in_the_table(folder: Path) -> None:
    found = read(folder)
    found[1]["fabric"][next(iter(found[1]["fabric"]))] = {"difference": 0.5}
    assert "**1 missed**" in table(found)

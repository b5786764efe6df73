"""A batch can be read: how many calls of the library it takes, in how many files (benchmarks/calls.py)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "calls.py"


@pytest.mark.parametrize(("name", "most", "files"), [("Joint", 20, 5), ("SAM", 64, 6), ("MSAM", 99, 8)])
def test_a_batch_takes_a_third_of_the_calls_that_it_took_when_objectives_were_stacked(
    name: str, most: int, files: int
) -> None:
    """60, 193 and 299 calls in 9, 13 and 16 files then."""
    spec = importlib.util.spec_from_file_location("calls", PATH)
    assert spec is not None
    assert spec.loader is not None
    calls = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(calls)
    seen = calls.calls(calls.METHODS[name]())
    assert len(seen) <= most
    assert len({file for file, _ in seen}) <= files

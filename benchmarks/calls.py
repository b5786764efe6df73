"""How many Python calls of the library one batch takes, in how many files, and how often the file changes.

    python benchmarks/calls.py                  # a table: method, calls, files, changes of file
    python benchmarks/calls.py --trace MSAM     # the calls themselves, in order

What a reader of a batch has to follow. Calls of torch and of the criterion are not counted; a generator counts each
time that it is entered. The model is two linear encoders and a late fusion, the batch one that a first one has warmed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import FrameType

import torch
import torch.nn.functional as F

import msam

METHODS: dict[str, Callable[[], msam.Method]] = {
    "Joint": msam.Joint,
    "SAM": msam.SAM,
    "GNP": msam.GNP,
    "MSAM": msam.MSAM,
    "MSAM-encoder": lambda: msam.MSAM(scope="encoder"),
    "MSAM-shapley": lambda: msam.MSAM(scope="shapley"),
}
_PACKAGE = str(Path(msam.__file__).parent)


def calls(method: msam.Method) -> list[tuple[str, str]]:
    """(file, function) of every call that the second batch makes within the library."""
    torch.manual_seed(0)
    encoders = {"audio": torch.nn.Linear(8, 4), "image": torch.nn.Linear(6, 4)}
    model = msam.FusionModel(encoders, msam.LateFusion({"audio": 4, "image": 4}, classes=3))
    batch = {"audio": torch.randn(8, 8), "image": torch.randn(8, 6)}, torch.arange(8) % 3
    backward = method.on(model, F.cross_entropy)
    backward(*batch)
    seen: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(_PACKAGE):
            seen.append((frame.f_code.co_filename.removeprefix(_PACKAGE + "/"), frame.f_code.co_qualname))

    sys.setprofile(note)
    try:
        backward(*batch)
    finally:
        sys.setprofile(None)
    return seen


def main() -> None:
    """Prints the table, or one method's calls."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trace", choices=METHODS, help="print the calls of this method")
    trace = parser.parse_args().trace
    if trace:
        print("\n".join(f"{file:32} {name}" for file, name in calls(METHODS[trace]())))
        return
    print(f"{'method':14} calls files changes")
    for name, make in METHODS.items():
        files = [file for file, _ in calls(make())]
        changes = sum(one != other for one, other in pairwise(files))
        print(f"{name:14} {len(files):5} {len(set(files)):5} {changes:7}")


if __name__ == "__main__":
    main()

"""What the scripts that build embedded data sets share: pinned sources, the card, byte-for-byte comparison.

    LEAVES = Recipe("leaves", (Pinned("100leaves.mat", "1e17...", "github.com/..."),), arrays, card)
    sys.exit(main(LEAVES))                  # python scripts/build_leaves.py --sources DIR [--check]

Every source is checked against its sha256 before a byte of it is read. Equal sources give equal files, byte for byte:
no clock and no path is written.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

EMBEDDED = Path(__file__).resolve().parents[1] / "src" / "msam_bench" / "data" / "sets" / "embedded"
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Pinned:
    """A source file: its name, its sha256, and where to get it."""

    file: str
    sha256: str
    where: str

    def read(self, folder: Path) -> bytes:
        """The content in `folder`, after its sha256 was compared (ValueError otherwise)."""
        path = folder / self.file
        if not path.is_file():
            raise ValueError(f"Expected {self.file} in {folder}, found none: get it from {self.where}.")
        content = path.read_bytes()
        actual = hashlib.sha256(content).hexdigest()
        if actual != self.sha256:
            raise ValueError(f"Expected {self.file} with sha256 {self.sha256}, found {actual}: get it again.")
        return content


@dataclass(frozen=True)
class Recipe:
    """How a data set is built.

    Args:
        name: Of the two files that are written, NAME.safetensors and NAME.md.
        sources: What it is built from.
        arrays: From the contents of the sources, by file name, to tensors by name.
        meaning: Tensor -> one line for the card.
        card: The page beside the tensors; `{table}`, `{sha256}` and `{sources}` are filled in, and what `facts` gives.
        facts: What the card says about the arrays, by name.
    """

    name: str
    sources: tuple[Pinned, ...]
    arrays: Callable[[Mapping[str, bytes]], Arrays]
    meaning: Mapping[str, str]
    card: str
    facts: Callable[[Mapping[str, bytes], Arrays], Mapping[str, object]] = lambda contents, arrays: {}

    def build(self, folder: Path) -> dict[str, bytes]:
        """The two files by name, from the sources in `folder`."""
        contents = {source.file: source.read(folder) for source in self.sources}
        arrays = {key: np.ascontiguousarray(array) for key, array in self.arrays(contents).items()}
        tensors = save(arrays)
        filled = {"table": self._table(arrays), "sha256": hashlib.sha256(tensors).hexdigest(), "sources": self._lines()}
        card = self.card.format(**filled, **self.facts(contents, arrays))
        return {f"{self.name}.safetensors": tensors, f"{self.name}.md": card.encode()}

    def _table(self, arrays: Arrays) -> str:
        rows = [f"| `{key}` | {a.dtype} {list(a.shape)} | {self.meaning[key]} |" for key, a in sorted(arrays.items())]
        return "\n".join(["| tensor | type and shape | meaning |", "| --- | --- | --- |", *rows])

    def _lines(self) -> str:
        return "\n".join(f"    {source.sha256}  {source.file}" for source in self.sources)


def differing(files: Mapping[str, bytes]) -> list[str]:
    """The names of those files that are not shipped byte for byte."""
    paths = {name: EMBEDDED / name for name in files}
    return [name for name, path in paths.items() if not path.is_file() or path.read_bytes() != files[name]]


def main(recipe: Recipe) -> int:
    """The command: 0 when the files are written or equal to what is shipped, 1 when they differ."""
    parser = argparse.ArgumentParser(description=f"Builds the embedded data set {recipe.name}.")
    parser.add_argument("--sources", type=Path, required=True, help="a folder with the source files")
    parser.add_argument("--check", action="store_true", help="write nothing, compare with what is shipped")
    options = parser.parse_args()
    files = recipe.build(options.sources)
    if options.check:
        wrong = differing(files)
        sys.stdout.write(f"{', '.join(wrong) or 'nothing'} differs from what is shipped\n")
        return bool(wrong)
    for name, content in files.items():
        (EMBEDDED / name).write_bytes(content)
        sys.stdout.write(f"{len(content):>9,} bytes  sha256 {hashlib.sha256(content).hexdigest()}  {name}\n")
    return 0

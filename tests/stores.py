"""Prepared stores that the tests share: some views of digits6, and a published set of two numbers a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from msam_bench.data import Modality, source
from msam_bench.data.sets.official import Official, Preparation
from msam_bench.data.store.building import Sample, build
from msam_bench.data.store.manifest import Header


def copied(folder: Path, views: tuple[str, ...] = ("fou", "mor"), dtype: str = "float32") -> Path:
    """Seed 0 of some views of digits6 as a prepared store."""
    splits = source("digits6").load(0).splits
    header = Header(
        name=folder.name,
        summary="Views of digits6.",
        modalities={view: Modality("vector", dtype=dtype) for view in views},
        classes=tuple("0123456789"),
        licence="CC BY 4.0",
        citation="digits6",
        origin="digits6, seed 0",
    )
    plan = {
        part: [Sample(f"{part}-{row}", (part, row), int(label)) for row, label in enumerate(split.target)]
        for part, split in splits.items()
    }
    build(folder, header, plan, lambda item: {view: splits[item[0]].inputs[view][item[1]] for view in views})
    return folder


def two_numbers(path: Path) -> dict[str, Tensor]:
    return {"digits": torch.tensor([float(number) for number in path.read_text().split()])}


@dataclass(frozen=True)
class Texts(Official):
    def preparation(self, source: Path, recipe: str, split: str) -> Preparation:
        header = Header(
            name=self.name,
            summary=self.summary,
            modalities={"digits": Modality("vector", scale=2.0 if recipe == "twice" else 1.0)},
            classes=self.classes,
            licence=self.licence,
            citation=self.citation,
            origin=self.origin,
            recipe={"name": recipe},
            split=split,
        )
        plan = {part: [Sample(part, source / f"{part}.txt", 0)] for part in ("train", "valid", "test")}
        return Preparation(header, plan, two_numbers)


TEXTS = Texts(
    name="texts",
    summary="Two numbers a file.",
    modalities=("digits",),
    classes=("only",),
    licence="CC0-1.0",
    citation="none",
    origin="a test",
    where="Ask the author.",
    recipes={"once": "as they are", "twice": "doubled"},
    protocols={"official": "as published"},
    expected={"train": 1, "valid": 1, "test": 1},
)


def values(folder: Path, outputs: int = 1, count: int = 120) -> Path:
    """Values to regress that two vectors explain, the first more than the second; the seed draws the split."""
    draw = torch.Generator().manual_seed(0)
    first, second = torch.randn(count, 3, generator=draw), torch.randn(count, 2, generator=draw)
    target = 100 + 3 * first[:, :outputs] + second[:, :outputs]
    header = Header(
        name=folder.name,
        summary="Sums.",
        modalities={"first": Modality("vector", standardise=True), "second": Modality("vector")},
        classes=(),
        licence="CC0-1.0",
        citation="none",
        origin="random numbers",
        split="drawn",
    )
    labels = [tuple(row) if outputs > 1 else row[0] for row in target.tolist()]
    plan = {"all": [Sample(str(row), row, label) for row, label in enumerate(labels)]}
    build(folder, header, plan, lambda row: {"first": first[row], "second": second[row]})
    return folder

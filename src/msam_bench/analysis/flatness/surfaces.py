"""Loss surfaces of several runs on shared directions: the same plane, the same data, one scale.

drawn = surfaces(records, Grid(points=25), executor)       # one a run
drawn[0].losses[i][j]                                      # None where the loss is not finite
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.analysis.flatness.measurement import batches
from msam_bench.files import csv_text
from msam_bench.runs.executor import in_order

if TYPE_CHECKING:
    from msam.sharpness import Landscape, Surface
    from msam_bench.runs.record import RunRecord

Points = list[list[float | None]]


@dataclass(frozen=True)
class LossSurface:
    """The loss of one run's model on a grid, or along a line, which is a grid with one place on its second axis.

    Args:
        label: the method.
        seed: of the run.
        axes: coordinates along both axes, `[points]` each.
        losses: `[points][points]`, rows along the first axis; None marks a hole.
        loss: at the weights as they are.
        labels: what the axes are.
        block: which weights move.
        coalition: the modalities that are present.
        samples: how many the loss is a mean of.
        unit: of the loss.
        about: where the directions come from, in a sentence.
        paths: method -> coordinates of its weights along training, `[epochs]`, if it is drawn.
    """

    label: str
    seed: int
    axes: tuple[list[float], list[float]]
    losses: Points
    loss: float
    labels: tuple[str, ...]
    block: str
    coalition: tuple[str, ...]
    samples: int
    unit: str
    about: str
    paths: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)

    @property
    def holes(self) -> int:
        """At how many points the loss is not finite."""
        return sum(value is None for row in self.losses for value in row)

    @property
    def values(self) -> list[float]:
        """The finite losses."""
        return [value for row in self.losses for value in row if value is not None]

    @property
    def title(self) -> str:
        """What stands above it."""
        return f"{f'last weights of {self.label}' if self.paths else self.label}: loss {self.loss:.3g}"

    @property
    def straight(self) -> bool:
        """Whether this is a line."""
        return len(self.axes[1]) == 1


def chosen(records: Sequence[RunRecord], seed: int | None = None, reference: str = "joint") -> list[RunRecord]:
    """One finished run of each method, all of one seed and of the same data; the reference first, where it is there.

    Args:
        records: runs to choose from.
        seed: which; the lowest that most methods have if None.
        reference: the method that gives the directions their lengths.

    Raises:
        ValueError: if there is no run (of that seed), two of one method, or runs are of different data or shapes.
    """
    counts: dict[int, int] = {}
    for record in records:
        counts[record.seed] = counts.get(record.seed, 0) + 1
    if not counts or (seed is not None and seed not in counts):
        raise ValueError(f"Expected a finished run{'' if seed is None else f' of seed {seed}'}, found none; train one.")
    wanted = min(counts, key=lambda it: (-counts[it], it)) if seed is None else seed
    alike = [record for record in records if record.seed == wanted]
    keys = ("data", "fusion", "features", "hidden", "encoders")
    kinds = {tuple(str(record.config[key]) for key in keys) for record in alike}
    if len(kinds) > 1:
        raise ValueError("These runs have different data or models, which share no directions; name runs of one kind.")
    by_label: dict[str, RunRecord] = {}
    for record in alike:
        if (other := by_label.setdefault(record.label, record)) is not record:
            both = f"{other.folder.name} and {record.folder.name}"
            raise ValueError(f"{record.label} has two runs of seed {wanted}, {both}; name the folders of one each.")
    return sorted(by_label.values(), key=lambda record: record.label != reference)


@dataclass(frozen=True)
class Grid:
    """What is drawn.

    Args:
        block: which weights move: all (None), a modality's encoder, or `fusion`.
        coalition: the modalities that are present, None for all.
        axes: 2 for a surface, 1 for a line.
        points: along each axis.
        span: coordinates go from -span to span; one unit is one length of each filter of the first run.
        samples: of the training split.
        seed: of directions and samples.
    """

    block: str | None = None
    coalition: tuple[str, ...] | None = None
    axes: int = 2
    points: int = 25
    span: float = 1.0
    samples: int = 512
    seed: int = 0


def surfaces(
    records: Sequence[RunRecord],
    grid: Grid,
    executor: Executor,
    watch: Callable[[int, int], None] = lambda done, total: None,
    epochs: Mapping[Path, int] | None = None,
) -> list[LossSurface]:
    """The surfaces of several runs, in literally the same directions, scaled to the filters of the first run.

    Args:
        records: finished runs of one seed, see `chosen`.
        grid: what is drawn.
        executor: draws one run a job.
        watch: called with (done, all surfaces).
        epochs: the weights after which epoch of each run, by folder; the selected ones if None.
    """
    sites = [(record, (epochs or {}).get(record.folder)) for record in records]
    return in_order([executor.submit(surface_of, *site, *sites[0], grid) for site in sites], executor, watch)


def surface_of(record: RunRecord, epoch: int | None, reference: RunRecord, then: int | None, grid: Grid) -> LossSurface:
    """The surface of one run after an epoch, in directions scaled to the filters of another."""
    from msam.sharpness import random_plane, surface

    plane = random_plane(landscape_of(reference, grid, then), grid.axes)
    measured = surface(landscape_of(record, grid, epoch), plane, points=grid.points, span=grid.span)
    about = f"Directions: seed {grid.seed}, filter norms of {reference.label}; one unit is one length of every filter."
    return as_values(measured, record, about)


def landscape_of(record: RunRecord, grid: Grid, epoch: int | None = None) -> Landscape:
    """The loss around the weights of a run after an epoch, or around the selected ones."""
    from msam.sharpness import Landscape

    objective, data = batches(record, grid.samples, grid.seed, epoch)
    return Landscape(objective, data, block=grid.block, coalition=grid.coalition, seed=grid.seed)


def as_values(
    surface: Surface, record: RunRecord, about: str, paths: Mapping[str, Sequence[tuple[float, float]]] | None = None
) -> LossSurface:
    """A surface as plain values."""
    first, second = [*(axis.tolist() for axis in surface.axes), [0.0]][:2]
    rows = surface.losses.reshape(len(first), len(second)).tolist()
    losses = [[None if value != value else value for value in row] for row in rows]  # NaN is a hole
    site = (surface.site.block, surface.site.coalition, surface.site.samples)
    where = (record.label, record.seed, (first, second), losses, surface.loss, surface.labels)
    unit = "nats" if record.data["classes"] else "squared error"
    return LossSurface(*where, *site, unit, about, paths or {})


def as_csv(surfaces: Sequence[LossSurface]) -> str:
    """Every point as CSV."""
    rows = [
        {"method": surface.label, "seed": surface.seed, "first": a, "second": b, "loss": value}
        for surface in surfaces
        for a, row in zip(surface.axes[0], surface.losses, strict=True)
        for b, value in zip(surface.axes[1], row, strict=True)
    ]
    return csv_text(rows)

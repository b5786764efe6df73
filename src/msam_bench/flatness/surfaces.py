"""Loss surfaces of several runs on shared directions: the same plane, the same data, one scale.

sheets = surfaces(records, points=25)      # one a run; sheets[0].losses[i][j], None where the loss is not finite
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .measuring import batches

if TYPE_CHECKING:
    from msam_bench.runs import Record

Points = list[list[float | None]]


@dataclass(frozen=True)
class Sheet:
    """The loss of one run's model on a grid.

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
        scale: the method whose weights gave the directions their lengths.
        directions: seed of the directions.
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
    scale: str
    directions: int

    @property
    def holes(self) -> int:
        """At how many points the loss is not finite."""
        return sum(value is None for row in self.losses for value in row)

    @property
    def values(self) -> list[float]:
        """The finite losses."""
        return [value for row in self.losses for value in row if value is not None]


def chosen(records: Sequence[Record], seed: int | None = None, reference: str = "joint") -> list[Record]:
    """One finished run of each method, all of one seed and of the same data; the reference first, where it is there.

    Args:
        records: runs to choose from.
        seed: which; the lowest that most methods have if None.
        reference: the method that gives the directions their lengths.

    Raises:
        ValueError: if there is no run (of that seed), or runs are of different data or shapes.
    """
    counts: dict[int, int] = {}
    for record in records:
        counts[record.seed] = counts.get(record.seed, 0) + 1
    if not counts or (seed is not None and seed not in counts):
        raise ValueError(f"Expected a finished run{'' if seed is None else f' of seed {seed}'}, found none; train one.")
    wanted = min(counts, key=lambda it: (-counts[it], it)) if seed is None else seed
    found = {record.label: record for record in records if record.seed == wanted}
    kinds = {tuple(str(one.config[key]) for key in ("data", "fusion", "features", "hidden")) for one in found.values()}
    if len(kinds) > 1:
        raise ValueError("These runs have different data or models, which share no directions; name runs of one kind.")
    return sorted(found.values(), key=lambda record: record.label != reference)


def surfaces(
    records: Sequence[Record],
    *,
    block: str | None = None,
    coalition: Sequence[str] | None = None,
    points: int = 25,
    span: float = 1.0,
    samples: int = 512,
    seed: int = 0,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> list[Sheet]:
    """The surfaces of several runs, in literally the same two directions, scaled to the filters of the first run.

    Args:
        records: finished runs of one seed, see `chosen`.
        block: which weights move: all, a modality's encoder, or `fusion`.
        coalition: the modalities that are present, None for all.
        points: along each axis.
        span: coordinates go from -span to span; one unit is one length of each filter of the first run.
        samples: of the training split.
        seed: of directions and samples.
        watch: told how many points of all are done.
    """
    from msam.sharpness import Landscape, random_plane, surface

    found, plane, total = [], None, len(records) * points**2
    for number, record in enumerate(records):
        objective, data = batches(record, samples, seed)
        landscape = Landscape(objective, data, block=block, coalition=coalition, seed=seed)
        plane = plane or random_plane(landscape)
        grid = surface(landscape, plane, points=points, span=span, progress=_shifted(watch, number * points**2, total))
        first, second = (axis.tolist() for axis in grid.axes)
        losses = [[None if value != value else value for value in row] for row in grid.losses.tolist()]  # NaN is a hole
        site = (grid.site.block, grid.site.coalition, grid.site.samples)
        found.append(
            Sheet(
                record.label,
                record.seed,
                (first, second),
                losses,
                grid.loss,
                grid.labels,
                *site,
                records[0].label,
                seed,
            )
        )
    return found


def _shifted(watch: Callable[[int, int], None], before: int, total: int) -> Callable[[int, int], None]:
    return lambda done, _: watch(before + done, total)


def table(sheets: Sequence[Sheet]) -> str:
    """Every point as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("method", "seed", "first", "second", "loss"))
    for sheet in sheets:
        for a, row in zip(sheet.axes[0], sheet.losses, strict=True):
            for b, value in zip(sheet.axes[1], row, strict=True):
                writer.writerow((sheet.label, sheet.seed, a, b, "" if value is None else value))
    return text.getvalue()

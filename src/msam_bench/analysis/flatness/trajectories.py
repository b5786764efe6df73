"""The paths that training took, in the plane that holds most of them: one surface, a line for each method.

drawn = trajectories(records, Grid())      # records of one seed that kept snapshots

Methods of a seed start at the same weights, so that one plane shows where their ways part. Paths are projected: the
loss of a method is not that of the surface below it, unless the plane holds all of its path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from msam_bench.analysis.flatness.surfaces import Grid, LossSurface, as_values, landscape_of

if TYPE_CHECKING:
    from torch import Tensor

    from msam_bench.runs.record import RunRecord

_MARGIN = 0.15


def trajectories(
    records: Sequence[RunRecord], grid: Grid, watch: Callable[[int, int], None] = lambda done, total: None
) -> LossSurface:
    """The loss of the first run's model in the plane through its last weights that is closest to all paths.

    Args:
        records: finished runs of one seed, each with at least three snapshots; see `chosen`.
        grid: what is drawn; its span and axes are those of the paths.
        watch: called with (done, all points).

    Raises:
        ValueError: if a run kept too few snapshots, or the paths span no plane.
    """
    from msam.sharpness import surface, trajectory_plane
    from msam_bench.runs import snapshots

    kept = [snapshots.epochs(record.folder) for record in records]
    for record, epochs in zip(records, kept, strict=True):
        if len(epochs) < 3:
            raise ValueError(f"A path needs 3 snapshots, {record.folder} has {len(epochs)}; train with --snapshots 1.")
    order = [*range(1, len(records)), 0]  # the plane goes through the last of all
    landscape = landscape_of(records[0], grid, kept[0][-1])
    states = [snapshots.load(records[index].folder, epoch) for index in order for epoch in kept[index]]
    plane = trajectory_plane(landscape, states)
    assert plane.path is not None
    assert plane.explained is not None
    measured = surface(landscape, plane, span=_around(plane.path), points=grid.points, progress=watch)
    ends = [0, *accumulate(len(kept[index]) for index in order)]
    parts = [[(a, b) for a, b in plane.path[slice(*pair)].tolist()] for pair in pairwise(ends)]
    paths = {records[index].label: part for index, part in zip(order, parts, strict=True)}
    about = (
        f"The plane through the last weights of {records[0].label} that is closest to all paths holds "
        f"{sum(plane.explained):.0%} of their squared distances; units are distances of weights."
    )
    return as_values(measured, records[0], about, {record.label: paths[record.label] for record in records})


def _around(path: Tensor) -> list[tuple[float, float]]:
    """A range for each axis that holds the path with room around it."""
    low, high = path.min(0).values, path.max(0).values
    room = _MARGIN * (high - low)
    return list(zip((low - room).tolist(), (high + room).tolist(), strict=True))

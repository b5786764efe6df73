"""Finished runs, found by their configuration: to be used again, and as the reference of others.

find_finished(folder_of(root, config), config, fingerprint)    # a record, or None
unimodal_scores(root, config, dataset)                         # {"audio": 0.61, ...} where these runs are finished
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msam_bench.config.run import MethodConfig, RunConfig
from msam_bench.runs import record as runs
from msam_bench.runs import snapshots

if TYPE_CHECKING:
    from msam_bench.data import Dataset


def find_finished(folder: Path, config: RunConfig, fingerprint: str) -> runs.RunRecord | None:
    """The finished run of a folder, if it is there with all its snapshots.

    Raises:
        ValueError: the folder holds a run of other data, or a damaged one.
    """
    if not (folder / "run.json").is_file():
        return None
    record = runs.read(folder)
    if record.data["fingerprint"] != fingerprint:
        raise ValueError(
            f"Expected a run on data {fingerprint[:12]} in {folder}, found {record.data['fingerprint'][:12]}: the data "
            "have changed since; delete the folder, or name another one for the runs."
        )
    whole = record.status == "finished" and snapshots.complete(folder, config, len(record.metrics), over=True)
    return record if whole else None


def unimodal_scores(root: Path, config: RunConfig, dataset: Dataset) -> dict[str, float]:
    """Validation scores of the encoders trained apart, by the finished unimodal runs of a configuration."""
    scores: dict[str, float] = {}
    for name in dataset.modalities if config.method.name != "unimodal" else ():
        method = MethodConfig(name="unimodal", params={"modality": name})
        alone = config.model_copy(update={"method": method, "snapshots": 0})
        with suppress(ValueError):  # of other data, or damaged: no reference
            record = find_finished(runs.folder_of(root, alone), alone, dataset.fingerprint)
            scores |= {name: float(record.summary["valid_accuracy"])} if record else {}
    return scores

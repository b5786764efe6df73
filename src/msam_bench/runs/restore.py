"""The model of a run: as it starts, and as it was selected when the run was finished.

objective, dataset = restored(record)
inputs, target = dataset.splits["test"].take(slice(None))
objective.logits(inputs)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from msam import EarlyFusion, FusionModel, LateFusion, Objective
from msam_bench import data
from msam_bench.config.run import RunConfig, validated
from msam_bench.data.problems.building import make_model
from msam_bench.data.problems.source import problem_of
from msam_bench.encoders import encoder, weights
from msam_bench.fusions import FUSIONS
from msam_bench.runs import snapshots
from msam_bench.training import checkpoint
from msam_bench.training.metrics import scoring

if TYPE_CHECKING:
    from torch import Tensor

    from msam_bench.runs.record import RunRecord


def model_of(config: RunConfig, dataset: data.Dataset) -> nn.Module:
    """A fresh model for a data set, as a configuration describes it; its weights come from the main random stream."""
    problem = problem_of(config)
    if problem and problem.model:
        return make_model(problem)
    widths, outputs = config.widths(dataset.modalities), dataset.outputs
    encoders = {
        name: encoder(spec, widths[name], config.hidden, config.encoder(name).name, **config.encoder(name).params)
        for name, spec in dataset.modality_specs.items()
    }
    return FusionModel(encoders, _fusion(config, widths, outputs))


def _fusion(config: RunConfig, widths: dict[str, int], outputs: int) -> nn.Module:
    """The fusion of a configuration."""
    if config.fusion == "late":
        return LateFusion(widths, outputs)
    if config.fusion == "early":
        return EarlyFusion(widths, outputs, config.trunk)
    return FUSIONS[config.fusion](widths, outputs, config.hidden)


def load_weights(model: nn.Module, config: RunConfig) -> None:
    """Puts the weights that a configuration names into the encoders.

    Raises:
        ValueError: a file that is missing, has changed since the run was resolved, or does not fit.
    """
    for name, settings in config.encoders.items():
        if settings.weights:
            encoders: Any = model.encoders
            weights.load(encoders[name], Path(settings.weights), settings.sha256)


def restored(record: RunRecord, epoch: int | None = None) -> tuple[Objective, data.Dataset]:
    """The model of a finished run, with the data it was trained on.

    Args:
        record: the run.
        epoch: its weights after this epoch, of which it kept a snapshot; the selected ones if None.

    Raises:
        ValueError: if the run is not finished, its checkpoint is missing or damaged, or the data have changed.
    """
    if record.status != "finished":
        raise ValueError(f"Expected a finished run in {record.folder}, found one that is {record.status}.")
    config = validated(record.config)
    dataset = data.source(config.data).load(config.seed)
    if dataset.fingerprint != record.data["fingerprint"]:
        raise ValueError(f"The data of {record.folder} have changed since it was trained; train it again.")
    model = model_of(config, dataset)
    try:
        model.load_state_dict(_weights(record, epoch))
    except (KeyError, RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"Expected this run's model in {record.folder}, found: {reason}; delete the folder to train it again."
        ) from None
    return Objective(model, scoring(dataset).criterion), dataset


def _weights(record: RunRecord, epoch: int | None) -> dict[str, Tensor]:
    if epoch is not None:
        return snapshots.load(record.folder, epoch)
    state: dict[str, Tensor] = checkpoint.load(record.folder / "best.ckpt")["model"]
    return state

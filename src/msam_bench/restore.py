"""The model of a run: as it starts, and as it was selected when the run was finished.

objective, dataset = restored(record)
inputs, target = dataset.splits["test"].take(slice(None))
objective.logits(inputs)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F

from msam import EarlyFusion, FusionModel, LateFusion, Objective

from . import checkpoint, data
from .backbones import encoder
from .config import RunConfig, validated

if TYPE_CHECKING:
    from .runs import Record


def model_of(config: RunConfig, dataset: data.Dataset) -> FusionModel:
    """A fresh model for a data set, as a configuration describes it; its weights come from the main random stream."""
    encoders = {name: encoder(shape, config.features, config.hidden) for name, shape in dataset.shapes.items()}
    widths, outputs = dict.fromkeys(dataset.modalities, config.features), dataset.outputs
    late = config.fusion == "late"
    return FusionModel(encoders, LateFusion(widths, outputs) if late else EarlyFusion(widths, outputs, config.trunk))


def restored(record: Record) -> tuple[Objective, data.Dataset]:
    """The selected model of a finished run, with the data it was trained on.

    Raises:
        ValueError: if the run is not finished, its checkpoint is damaged, or the data are other ones than then.
    """
    if record.status != "finished":
        raise ValueError(f"Expected a finished run in {record.folder}, found one that is {record.status}.")
    config = validated(record.config)
    dataset = data.source(config.data).load(config.seed)
    if dataset.fingerprint != record.data["fingerprint"]:
        raise ValueError(f"The data of {record.folder} have changed since it was trained; train it again.")
    model = model_of(config, dataset)
    model.load_state_dict(checkpoint.load(record.folder / "best.ckpt")["model"])
    return Objective(model, F.cross_entropy), dataset

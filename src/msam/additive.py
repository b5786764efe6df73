"""Logits that come from each modality alone, or additively, with their graph.

An example.

    live = objective.forward(inputs, target)
    parts = additive_parts(objective, live, inputs)                # [modalities, batch, classes], their sum: the logits
"""

from __future__ import annotations

import torch
from torch import Tensor

from msam.objective import Objective, Pass
from msam.types import Inputs


def additive_parts(objective: Objective, live: Pass, inputs: Inputs) -> Tensor:
    """`f_m` of an additive fusion, `[modalities, batch, classes]`: they sum to the logits of the pass.

    What the fusion makes of m alone has the constant part of all modalities in it; each keeps an equal share.
    """
    count = len(objective.encoders)
    masks = torch.cat([torch.eye(count, dtype=torch.bool), torch.zeros(1, count, dtype=torch.bool)])
    logits = objective.coalitions.training_logits(live, inputs, masks, "zero-feature")
    return logits[:-1] - (1 - 1 / count) * logits[-1]


def alone_logits(objective: Objective, live: Pass, inputs: Inputs) -> Tensor:
    """What the fusion makes of each modality alone, the other features being zeros, `[modalities, batch, classes]`."""
    masks = torch.eye(len(objective.encoders), dtype=torch.bool)
    return objective.coalitions.training_logits(live, inputs, masks, "zero-feature")

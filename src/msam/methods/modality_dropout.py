"""Modality dropout: in training, each sample lacks some of its modalities at random."""

from __future__ import annotations

import torch
from torch import Tensor

from msam.features import required
from msam.losses import Losses, LossMethod
from msam.method import in_range
from msam.objective import Objective, Pass
from msam.remembering import Remembering
from msam.types import Inputs


class ModalityDropout(Remembering, LossMethod):
    """Whole modalities are dropped sample by sample (ModDrop, Neverova et al. 2014, arXiv 1501.00102, Section 3.4).

        d_im ~ Bernoulli(1 - p),  at least one of a sample's modalities kept
        loss = l(fuse(d_i1 h_i1, ..., d_iM h_iM))

    The dropped feature is zero and the kept ones are not rescaled. A sample that would lose all modalities keeps one
    that is drawn evenly. The loss and logits of an outcome are those of the model with all modalities. Draws come from
    a stream of the method's own, made from `seed` and the number of the batch: the model's random stream is not
    advanced, and a resumed run draws the same. Ranks of data-parallel training draw alike, for samples of their own.

    Passes a batch: 1 forward, 1 backward, and 2 passes of the fusion.

    Limits: `rate=0`, or one modality, is joint training.

    Args:
        rate: probability p that a modality is dropped, in [0, 1]; with 1 each sample keeps exactly one.
        seed: of the draws.

    Raises:
        ValueError: if an argument is out of its range.
    """

    name, family = "modality-dropout", "balance"
    paper = "Neverova et al. 2014, arXiv 1501.00102"
    # rate: small to half in use
    search = {"rate": [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7]}

    needs = frozenset({"separate_encoders", "fuse"})

    remembers = ("batches",)

    def __init__(self, rate: float = 0.2, seed: int = 0) -> None:
        super().__init__()
        self.rate, self.seed, self._batches = in_range("rate", rate, 0, 1), seed, 0

    def losses(self, objective: Objective, live: Pass, inputs: Inputs, target: Tensor) -> Losses:
        """The loss with modalities dropped."""
        stream = torch.Generator().manual_seed(self.seed * 1_000_003 + self._batches)
        self._batches += 1
        if self.rate == 0 or len(objective.encoders) == 1:
            return Losses(live.loss)
        present = {name: required(live.features, name) for name in objective.encoders}
        objective.evaluation.assumptions.require_composition(inputs, f"{type(self).__name__} drops features")
        kept = kept_modalities(len(target), len(objective.encoders), self.rate, stream)
        features = {
            name: feature * rows.to(feature).view(-1, *[1] * (feature.dim() - 1))
            for (name, feature), rows in zip(present.items(), kept.T, strict=True)
        }
        loss = objective.loss(objective.coalitions.fused(live, features), target)
        return Losses(loss, record={"kept": kept.double().mean()})


def kept_modalities(samples: int, modalities: int, rate: float, stream: torch.Generator) -> Tensor:
    """Which modalities each sample keeps, booleans `[samples, modalities]`; at least one each."""
    kept = torch.rand(samples, modalities, generator=stream) >= rate
    spare = torch.randint(modalities, (samples,), generator=stream)
    return kept | (~kept.any(1, keepdim=True) & torch.nn.functional.one_hot(spare, modalities).bool())

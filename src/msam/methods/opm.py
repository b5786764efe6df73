"""OPM: the features of the modality that is ahead are dropped at random, so that the others have to answer."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from msam.attribution import probability
from msam.method import Method, class_indices, in_range, one_of
from msam.objective import Objective, Pass
from msam.remembering import Remembering
from msam.types import Batches, Features, Inputs, Outcome


class OPM(Remembering, Method):
    """On-the-fly Prediction Modulation (Wei et al. 2024, arXiv 2410.11582; TPAMI), as in the authors' code.

    With `z_m` modality m's part of the logits (`W_m h_m` and its share of the bias):

        s_m = mean of softmax(z_m)[y],   r_m = s_m / s_other
        q_m = clip(base (1 + strength tanh(r_m - 1)), 0, 1)   if r_m > 1, else 0
        h_m <- h_m / (1 - theta), or 0 with probability q_m for each sample,   theta = sum_m d_m q_m / sum_m d_m

    on a part `execute` of the batches, after the first epochs; `d_m` is the size of a feature. The loss is that of what
    the fusion makes of these features. The weakest modality is never dropped, so no sample is left without any.
    Defined for two modalities; `extension="pairwise-mean"` takes for `r_m` the mean over the others of `s_m / s_other`,
    which is the same for two.

    The loss and logits of an outcome are those of the model with all features. Draws come from a stream of the method's
    own, made from `seed` and the number of the batch: the model's random stream is not advanced, a resumed run draws
    the same, and so do all ranks, whose scores are averaged.

    Passes a batch: 1 forward, 1 backward, and 2 passes of the fusion.

    Limits: `base=0`, `execute=0` or an epoch outside the window is joint training.

    Args:
        base: least probability of dropping a modality that is ahead, in [0, 1]; 0.5 in the code.
        strength: how much a larger lead adds (lambda), at least 0; 0.5 in the code.
        execute: probability that a batch is modulated, in [0, 1]; 0.7 in the code.
        extension: how more than two modalities are compared; refused if None.
        start: first epoch with the modulation, counted from 0 by `next_epoch`; 6 in the code.
        end: last epoch with it; None for no end, as in the code.
        seed: of the draws.

    Raises:
        ValueError: if an argument is out of its range.
    """

    name, family = "opm", "balance"
    paper = "Wei et al. 2024, arXiv 2410.11582"
    # least probability of dropping: 0.5 in the authors' code, 0.4 in BalanceBenchmark; how much a lead adds: 0.5
    search = {"base": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.5], "strength": [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0]}
    variants = {"opm-pairwise": {"extension": "pairwise-mean"}}
    extended_by = "opm-pairwise"
    remedies = {"opm": "restraint"}

    remembers = ("epoch", "batches")

    needs = frozenset({"separate_encoders", "additive_fusion"})

    def __init__(
        self,
        base: float = 0.5,
        strength: float = 0.5,
        execute: float = 0.7,
        extension: Literal["pairwise-mean"] | None = None,
        start: int = 6,
        end: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.base, self.execute = in_range("base", base, 0, 1), in_range("execute", execute, 0, 1)
        self.strength, self.seed = in_range("strength", strength, 0), seed
        self.extension = one_of("extension", extension, (None, "pairwise-mean"))
        self.start, self.end = in_range("start", start, 0), end if end is None else in_range("end", end, 0)
        self._epoch = self._batches = 0

    def check(self, objective: Objective) -> None:
        """Refuses a model whose modalities cannot be compared."""
        super().check(objective)
        if len(objective.encoders) != 2 and self.extension is None:
            raise ValueError(
                f"OPM compares two modalities, found {len(objective.encoders)}; extension='pairwise-mean' takes any "
                "number."
            )

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient of the loss with features dropped."""
        stream = torch.Generator().manual_seed(self.seed * 1_000_003 + self._batches)
        self._batches += 1
        within = self.start <= self._epoch and (self.end is None or self._epoch <= self.end)
        if not within or self.base == 0 or float(torch.rand((), generator=stream)) >= self.execute:
            return objective.accumulate_gradient(inputs, target).outcome(
                **{f"drop/{m}": 0.0 for m in objective.encoders}
            )
        live = objective.forward(inputs, target)
        objective.evaluation.assumptions.require_composition(inputs, f"{type(self).__name__} drops features")
        rates = self.rates(self.scores(objective, live, target))
        logits = objective.coalitions.fused(live, dropped(live.features, rates, stream))
        objective.backpropagate(objective.loss(logits, target))
        return live.outcome(**{f"drop/{m}": rate for m, rate in zip(objective.encoders, rates, strict=True)})

    def scores(self, objective: Objective, live: Pass, target: Tensor) -> Tensor:
        """Mean probability of the true class by each modality's part of the logits, `[modalities]`."""
        class_indices(self, live.logits, target)
        return objective.average(probability(objective.evaluation.parts(live), target), len(target))

    def rates(self, scores: Tensor) -> Tensor:
        """`q_m` of the modalities' scores, `[modalities]`."""
        scores = scores.clamp(min=1e-12)
        ratios = (scores[:, None] / scores[None, :]).fill_diagonal_(0).sum(1) / max(len(scores) - 1, 1)
        rates = (self.base * (1 + self.strength * torch.tanh(ratios - 1))).clamp(0, 1)
        return torch.where(ratios > 1, rates, 0.0)

    def next_epoch(self, objective: Objective, train: Batches | None = None, valid: Batches | None = None) -> None:
        """Moves on in the window of epochs."""
        self._epoch += 1


def dropped(features: Features, rates: Tensor, stream: torch.Generator) -> dict[str, Tensor]:
    """Features of which each row is zero with its modality's rate, and all as much longer as is lost on average."""
    sizes = rates.new_tensor([feature[:1].numel() for feature in features.values()])
    scale = 1 / (1 - (sizes * rates).sum() / sizes.sum())
    scaled = {}
    for (name, feature), rate in zip(features.items(), rates, strict=True):
        draws = torch.rand(len(feature), generator=stream).to(rate)
        kept = (draws >= rate).to(feature) * scale.to(feature)
        scaled[name] = feature * kept.view(-1, *[1] * (feature.dim() - 1))
    return scaled

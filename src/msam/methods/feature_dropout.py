"""Feature dropout where it overfits: noise on the features of the modality that generalises worst, on no others."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from msam.balls import classifiers
from msam.coalition import Absent
from msam.features import required
from msam.gaps import Gaps
from msam.losses import Losses, LossMethod
from msam.method import Method, in_range
from msam.objective import Objective, Pass
from msam.remembering import Remembering
from msam.types import Batches, Features, Inputs


class FeatureDropout(Remembering, LossMethod):
    """Dropout on the encoder output of one modality: that with the largest generalisation gap.

        gap_m = held-out loss - training loss of m alone, after each epoch (`msam.gaps`)
        d     = argmax_m gap_m
        h_d  <- h_d k / (1 - rate),   k_i = 1 with probability 1 - rate, else 0, for each element of each sample

    and the loss is that of what the fusion, and the classifiers of the method `of`, make of these features. Nothing is
    dropped until the first epoch has ended. It regularises what overfits at the cost of a plain step, and is what a
    perturbation of that modality's weights (`MSAM(scope="encoder", dominant="overfit")`) has to beat.

    The loss and logits of an outcome are those of the model with all features. Draws come from a stream of the method's
    own, made from `seed` and the number of the batch: the model's random stream is not advanced, a resumed run draws
    the same, and so do all ranks.

    Passes a batch: 1 forward, 1 backward, and 1 pass of the fusion; one forward of both sets an epoch for the gaps.

    Limits: `rate=0` is joint training, or the method `of`.

    Args:
        rate: probability that an element is dropped, in [0, 1).
        where: `overfit`, or a control: `all` modalities, or the name of one.
        absent: what the other modalities look like where a gap is measured without a classifier.
        of: the method whose loss it is, such as `MBSD(...)`; the fused loss if None.
        seed: of the draws.

    Raises:
        ValueError: if an argument is out of its range, or the method `of` does not minimise a loss.
    """

    name, family = "feature-dropout", "balance"
    paper = ""
    # rate: the usual range of dropout
    search = {"rate": [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7]}
    variants = {"feature-dropout-all": {"where": "all"}}
    controls = frozenset({"feature-dropout-all"})
    needs = frozenset({"separate_encoders", "fuse"})
    remembers = ("batches",)

    def __init__(
        self,
        rate: float = 0.3,
        where: str = "overfit",
        absent: Absent = "zero-input",
        of: Method | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.rate, self.where, self.seed, self._batches = in_range("rate", rate, 0, 0.999), where, seed, 0
        if of is not None and not isinstance(of, LossMethod):
            raise ValueError(
                f"FeatureDropout drops features that a loss is made of, found of={type(of).__name__}, which is none; "
                "give a method that minimises a loss, such as MBSD or Auxiliary."
            )
        self.of, self.gaps = of, Gaps(absent) if where == "overfit" else None
        self.learns_from = frozenset() if self.gaps is None else frozenset({"train", "valid"})
        if of is not None:
            self.needs, self.learns_from = self.needs | of.needs, self.learns_from | of.learns_from
            self.stands_alone = of.stands_alone

    def check(self, objective: Objective) -> None:
        """Refuses a model without the modality that is named."""
        super().check(objective)
        if self.of is not None:
            self.of.check(objective)
        names = ["overfit", "all", *objective.encoders]
        if self.where not in names:
            raise ValueError(f"where must be one of {names} in FeatureDropout, found {self.where!r}.")

    def losses(self, objective: Objective, live: Pass, inputs: Inputs, target: Tensor) -> Losses:
        """The loss of features of which some are dropped."""
        stream = torch.Generator().manual_seed(self.seed * 1_000_003 + self._batches)
        self._batches += 1
        chosen = self._chosen(objective) if self.rate else []
        if chosen:
            features = {**live.features, **dropped(live.features, chosen, self.rate, stream)}
            logits = objective.coalitions.fused(live, features)
            live = replace(live, loss=objective.loss(logits, target), logits=logits, features=features)
        losses = Losses(live.loss) if self.of is None else self.of.losses(objective, live, inputs, target)
        return replace(losses, record={**losses.record, "dropped": "+".join(chosen) or "none"})

    def predict(self, objective: Objective, inputs: Inputs) -> Tensor:
        """Logits at test time, `[batch, classes]`, those of the method `of`; nothing is dropped."""
        return super().predict(objective, inputs) if self.of is None else self.of.predict(objective, inputs)

    def next_epoch(self, objective: Objective, train: Batches | None = None, valid: Batches | None = None) -> None:
        """Measures the gaps."""
        if self.of is not None:
            self.of.next_epoch(objective, train, valid)
        if self.gaps is not None:
            assert train is not None
            assert valid is not None
            self.gaps.measure(objective, train, valid, classifiers(self.of))

    def _chosen(self, objective: Objective) -> list[str]:
        """The modalities whose features are dropped."""
        if self.gaps is None:
            return list(objective.encoders) if self.where == "all" else [self.where]
        return [self.gaps.contributions(objective).dominant] if self.gaps.known else []


def dropped(features: Features, chosen: list[str], rate: float, stream: torch.Generator) -> dict[str, Tensor]:
    """The chosen features after dropout, in their order."""
    kept = {name: torch.rand(required(features, name).shape, generator=stream) >= rate for name in chosen}
    return {name: features[name] * mask.to(features[name]) / (1 - rate) for name, mask in kept.items()}

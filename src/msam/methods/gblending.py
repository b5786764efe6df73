"""Gradient blending: fused and unimodal losses, each weighted by how well what it learns holds on held-out data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from msam.batches import average_over
from msam.heads import Heads
from msam.losses import Losses, LossMethod
from msam.method import in_range
from msam.objective import Objective, Pass
from msam.remembering import Remembering
from msam.types import Batches, Inputs

FUSED = "fused"


class GBlending(Remembering, LossMethod):
    """Gradient-Blending (Wang, Tran and Feiszli 2020, arXiv 1905.12681).

    With `l_0` the fused loss and `l_m` that of a linear classifier on encoder m, one loss is trained:

        loss = sum_k w_k l_k,   w_k = (G_k / dO_k^2) / sum_j (G_j / dO_j^2)      k over fused and modalities
        G_k  = L_k^valid(t) - L_k^valid(t + N)                                   generalisation gained
        O_k  = L_k^valid - L_k^train,   dO_k = O_k(t + N) - O_k(t)               overfitting gained

    so that what overfits fast counts little. All losses are means over a whole set, in evaluation mode.

    The paper finds G and O by training, from the same weights, one copy of the model for N epochs on each loss alone,
    M + 1 runs that are thrown away. What stands in for `loss.backward()` sees one run; here G and O are measured along
    the run itself, over the last N epochs of the blend, every N epochs. The weights are equal for the first N epochs
    after the first. That costs no extra training, and measures each loss while the others pull on the same encoders.

    Guards: a loss that did not fall (`G <= 0`) has weight zero; if none fell, the weights stay. `|dO|` is at least a
    hundredth of the largest `|G|` or `|dO|`, so that no loss takes all for not overfitting by chance.

    Passes a batch: 1 forward, 1 backward; every N epochs, two forwards of the training and the held-out set.

    Limits: `weights={"fused": 1}` is joint training.

    Args:
        widths: modality -> size of its encoder's output, flattened.
        classes: number of logits.
        every: number N of epochs between measurements, at least 1; 10 is usual.
        weights: `fused` or a modality -> a weight that stays, 0 where not named (the paper's offline blending);
            measured if None.
        seed: of the classifiers' initial values.

    Raises:
        ValueError: if an argument is out of its range, or weights are given to what the model does not have.
    """

    name, family = "g-blending", "balance"
    paper = "Wang, Tran and Feiszli 2020, arXiv 1905.12681"
    # epochs between measurements: 5 to 10
    search = {"every": [1, 2, 3, 4, 5, 7, 10]}
    remedies = {"g-blending": "support"}

    remembers = ("weights", "epoch", "before")

    needs = frozenset({"separate_encoders"})

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        every: int = 10,
        weights: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.every, self.heads = int(in_range("every", every, 1)), Heads(widths, classes, seed)
        if FUSED in widths or not {FUSED, *widths} >= set(weights or {}):
            raise ValueError(
                f"Weights belong to {[FUSED, *widths]}, found {list(weights or {})}; rename or remove some."
            )
        self.measured = weights is None
        self.learns_from = frozenset({"train", "valid"}) if self.measured else frozenset()
        even = dict.fromkeys([FUSED, *widths], 1 / (1 + len(widths)))
        given = (
            even
            if weights is None
            else {name: in_range(f"weights[{name!r}]", weights.get(name, 0), 0) for name in even}
        )
        self._weights, self._epoch, self._before = list(given.values()), 0, torch.zeros(0)

    def losses(self, objective: Objective, live: Pass, inputs: Inputs, target: Tensor) -> Losses:
        """Each loss times its weight."""
        weights = dict(zip([FUSED, *objective.encoders], self._weights, strict=True))
        fused, own = weights[FUSED] * live.loss, {}
        if any(self._weights[1:]):
            alone = self.heads.losses(objective, live, target)
            own = {name: weights[name] * loss for name, loss in alone.items()}
        return Losses(fused, own, record={f"weight/{name}": weight for name, weight in weights.items()})

    def next_epoch(self, objective: Objective, train: Batches | None = None, valid: Batches | None = None) -> None:
        """Every N epochs, blends anew by what each loss has gained since the last time."""
        if self.measured and self._epoch % self.every == 0:
            assert train is not None
            assert valid is not None
            now = torch.stack(
                [average_over(objective, each, self._losses(objective)).cpu().double() for each in (train, valid)]
            )
            if len(self._before):
                self._weights = self.blended(self._before, now)
            self._before = now
        self._epoch += 1

    def blended(self, before: Tensor, now: Tensor) -> list[float]:
        """`w_k` from the losses of two times, `[(train, valid), losses]` each."""
        gained = before[1] - now[1]
        overfitted = ((now[1] - now[0]) - (before[1] - before[0])).abs()
        floor = torch.cat([gained.abs(), overfitted]).max() / 100
        worth = gained.clamp(min=0) / overfitted.clamp(min=floor.clamp(min=1e-30)).square()
        weights: list[float] = (worth / worth.sum()).tolist() if worth.sum() > 0 else self._weights
        return weights

    def _losses(self, objective: Objective) -> Any:
        """Measures of one batch: the fused loss and those of the classifiers, in evaluation mode."""

        def measure(inputs: Inputs, target: Tensor) -> Tensor:
            alone = self.heads(objective.features(inputs))
            logits = [objective.logits(inputs), *(alone[name] for name in objective.encoders)]
            return torch.stack([objective.loss(each, target).detach() for each in logits])

        return measure

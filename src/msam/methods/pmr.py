"""PMR: the modality whose features cluster worst around their class means is pulled towards them."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from msam.batches import moved
from msam.features import required
from msam.losses import Losses, LossMethod
from msam.method import class_indices, in_range, one_of
from msam.nested import rows_of
from msam.objective import Objective, Pass
from msam.remembering import Remembering
from msam.types import Batches, Inputs


class PMR(Remembering, LossMethod):
    """Prototypical Modal Rebalance (Fan et al. 2023, arXiv 2211.07089).

    A class's prototype `c_mk` is the mean of modality m's features over a part of the training set, a running mean over
    the epochs. Distances to the prototypes classify without parameters, and tell how far each modality has come:

        p_m   = softmax(-|h_m - c_mk|)_k
        s_m   = mean of p_m[y],   r_m = mean of the others' s / s_m
        loss  = l + alpha sum_m w_m mean(-log p_m[y]) - entropy sum_m v_m mean(H(p_m))
        w_m   = clip(r_m - 1, 0, 1)            faithful="paper" (Equation 11): by how much it lags
                [r_m > 1]                      faithful="code": the slower modality, all or nothing
        v_m   = clip(1 / r_m - 1, 0, 1)        while early (Equation 13): the leader is kept from committing itself

    `paper` is the default. The released code has no entropy term; with `faithful="code"` it is off unless given.
    Defined for two modalities; `extension="mean-of-others"` is the form above for any number, which is the same for
    two.

    Paper and code collect prototypes before the first epoch as well; here `next_epoch(train=...)` does it after each,
    so the first epoch is joint training. Guards: a class that no sample of the part has shown yet has no prototype; it
    is left out of `p_m`, and its samples out of the means. The extra terms are in units of the criterion
    (`Objective.unit`), so that the sum is proportional to it. In data-parallel training prototypes and scores are those
    of all ranks.

    Passes a batch: 1 forward, 1 backward; each epoch, the encoders' forward over a `part` of the training set.

    Limits: `alpha=0` and `entropy=0`, or an epoch after `end`, is joint training.

    Args:
        alpha: weight of the prototype loss, at least 0; 1 or 2 in the paper.
        momentum: of the prototypes, in [0, 1]; 0.2 is the default of the authors' code.
        faithful: how the slower modality is weighted, see above.
        extension: how more than two modalities are compared; refused if None.
        part: share of the training set that prototypes are made from, in (0, 1]; a tenth in paper and code.
        end: last epoch, counted from 0, with the extra terms, 70 in runs of the authors; None for no end.
        entropy: weight of the entropy term, at least 0, 0.01 or 0.001 in the paper; if None 0.01, in `code` 0.
        early: number of epochs with the entropy term.

    Raises:
        ValueError: if an argument is out of its range.
    """

    name, family = "pmr", "balance"
    paper = "Fan et al. 2023, arXiv 2211.07089"
    # alpha: 1 to 3 in the authors' commands
    search = {"alpha": [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0]}
    variants = {"pmr-mean-of-others": {"extension": "mean-of-others"}}
    extended_by = "pmr-mean-of-others"
    remedies = {"pmr": "support"}

    remembers = ("epoch", "prototypes", "seen")

    needs = frozenset({"separate_encoders"})
    learns_from = frozenset({"train"})

    def __init__(
        self,
        alpha: float = 1.0,
        momentum: float = 0.5,
        faithful: Literal["paper", "code"] = "paper",
        extension: Literal["mean-of-others"] | None = None,
        part: float = 0.1,
        end: int | None = 70,
        entropy: float | None = None,
        early: int = 10,
    ) -> None:
        super().__init__()
        self.alpha, self.momentum = in_range("alpha", alpha, 0), in_range("momentum", momentum, 0, 1)
        self.faithful = one_of("faithful", faithful, ("paper", "code"))
        self.extension = one_of("extension", extension, (None, "mean-of-others"))
        self.part, self.end = in_range("part", part, 1e-6, 1), end if end is None else in_range("end", end, 0)
        mu = (0.01 if faithful == "paper" else 0.0) if entropy is None else entropy
        self.entropy, self.early = in_range("entropy", mu, 0), in_range("early", early, 0)
        self._epoch = 0
        self._prototypes: list[Tensor] = []
        self._seen = torch.zeros(0, dtype=torch.bool)

    def check(self, objective: Objective) -> None:
        """Refuses a model whose modalities cannot be compared."""
        super().check(objective)
        if len(objective.encoders) != 2 and self.extension is None:
            raise ValueError(
                f"PMR compares two modalities, found {len(objective.encoders)}; extension='mean-of-others' takes any "
                "number."
            )

    def losses(self, objective: Objective, live: Pass, inputs: Inputs, target: Tensor) -> Losses:
        """The loss and the slower modality's prototype term."""
        entropy = self.entropy if self._epoch < self.early else 0.0
        over = self.end is not None and self._epoch > self.end
        if over or not self._prototypes or self.alpha == entropy == 0:
            return Losses(live.loss, record=dict.fromkeys(_lags(objective), 0.0))
        labels = class_indices(self, live.logits, target)
        seen = self._seen.to(target.device)
        pairs = zip(objective.encoders, self._prototypes, strict=True)
        clusters = [prototype_log_probability(required(live.features, m), centres, seen) for m, centres in pairs]
        losses, scores = prototype_losses(clusters, labels, seen)
        lag, lead = self.weights(objective.average(scores, len(target)))
        extra = self.alpha * (lag * losses).sum()
        if entropy:
            spread = torch.stack([-(log_p.exp() * log_p).sum(-1).mean() for log_p in clusters])
            extra = extra - entropy * (lead * spread).sum()
        penalty = objective.unit(live.logits, target) * extra
        return Losses(live.loss, penalty=penalty, record=dict(zip(_lags(objective), lag, strict=True)))

    def weights(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """`w_m` and `v_m` of the modalities' scores, `[modalities]` each."""
        scores = scores.clamp(min=1e-12)
        others = (scores.sum() - scores) / max(len(scores) - 1, 1)
        ratio = others / scores if len(scores) > 1 else torch.ones_like(scores)
        lag, lead = (ratio - 1).clamp(0, 1), (1 / ratio - 1).clamp(0, 1)
        return (lag if self.faithful == "paper" else (ratio > 1).to(lag)), lead

    def next_epoch(self, objective: Objective, train: Batches | None = None, valid: Batches | None = None) -> None:
        """Collects the prototypes of the epoch that has ended."""
        if train is not None and (self.end is None or self._epoch < self.end):
            self._collect(*self._class_means(objective, train))
        self._epoch += 1

    def _collect(self, means: list[Tensor], present: Tensor) -> None:
        """Moves the prototypes of the classes that were found."""
        seen = self._seen.to(present.device) if self._prototypes else torch.zeros_like(present)
        before = [centres.to(mean) for centres, mean in zip(self._prototypes or means, means, strict=True)]
        weight = torch.where(seen & present, self.momentum, (~present).double())[:, None]
        self._prototypes = [torch.lerp(m, c, weight.to(m)) for c, m in zip(before, means, strict=True)]
        self._seen = seen | present

    def _count(self, objective: Objective, inputs: Inputs, target: Tensor) -> int:
        """Number of classes, from a pass of one batch."""
        logits = objective.logits(inputs)
        class_indices(self, logits, target)
        return logits.shape[1]

    def _class_means(self, objective: Objective, train: Batches) -> tuple[list[Tensor], Tensor]:
        """Mean feature of each class, `[classes, width]` a modality, and which classes were found."""
        stride, passed, classes = round(1 / self.part), self._epoch, 0
        totals: list[Tensor] = []
        for inputs, target in moved(objective, train):
            rows = slice(-passed % stride, None, stride)
            passed += len(target)
            if len(target[rows]):
                classes = classes or self._count(objective, inputs, target)
                features = objective.features(
                    {name: rows_of(value, rows, len(target)) for name, value in inputs.items()}
                )
                sums = class_sums(list(features.values()), target[rows], classes)
                totals = [total + each for total, each in zip(totals, sums, strict=True)] if totals else sums
        if not totals:
            raise ValueError("PMR makes prototypes from the training set, found no sample in it; pass a DataLoader.")
        widths = [each.shape[1] for each in totals]
        counts, *means = torch.split(objective.average(torch.cat(totals, 1), 1), widths, 1)
        return [each / counts.clamp(min=1e-12) for each in means], counts[:, 0] > 0


def prototype_log_probability(feature: Tensor, prototypes: Tensor, seen: Tensor) -> Tensor:
    """`log softmax(-|h - c_k|)`, `[batch, classes]`, over the classes that have a prototype."""
    dtype = torch.promote_types(feature.dtype, torch.float32)
    distances = torch.cdist(feature.flatten(1).to(dtype), prototypes.to(feature.device, dtype))
    return (-distances).masked_fill(~seen, torch.finfo(dtype).min / 2).log_softmax(-1)


def prototype_losses(clusters: list[Tensor], target: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of `-log p_m[y]`, with its graph, and of `p_m[y]`, without, over samples whose class has a prototype."""
    labels = target.clamp(min=0)
    known = seen[labels] & (target >= 0)
    count = known.sum().clamp(min=1)
    chosen = torch.stack([log_p.gather(1, labels[:, None])[:, 0] for log_p in clusters])
    return -(chosen * known).sum(1) / count, (chosen.detach().exp() * known).sum(1) / count


def class_sums(features: list[Tensor], target: Tensor, classes: int) -> list[Tensor]:
    """How many samples each class has, `[classes, 1]`, and the sums of their features, `[classes, width]` each."""
    flat = [feature.flatten(1).to(torch.promote_types(feature.dtype, torch.float32)) for feature in features]
    chosen = (F.one_hot(target.long().clamp(min=0), classes) * (target >= 0)[:, None]).T.to(flat[0])
    return [chosen.sum(1, keepdim=True), *(chosen @ each for each in flat)]


def _lags(objective: Objective) -> list[str]:
    return [f"lag/{modality}" for modality in objective.encoders]

"""Adaptive gradient modulation: each modality's Shapley part of the gradient is sped up or slowed down."""

from __future__ import annotations

from math import inf, log
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from msam.attribution import exact
from msam.coalition import ABSENT, Absent
from msam.method import Method, class_indices, in_range, one_of
from msam.objective import Objective
from msam.remembering import Remembering
from msam.types import Gradients, Inputs, Outcome

IGNORED = -100
"""What torch's losses leave out unless they are told another number."""


class AGM(Remembering, Method):
    """Adaptive Gradient Modulation (Li et al. 2023, arXiv 2308.07686).

    A modality's output is its Shapley part of the logits, an absent modality being an all-zero input and the empty
    coalition's logits zero by definition, so that the parts sum to the model's logits:

        phi_m   = sum_S w_mS f(S),   sum_m phi_m = f(all)
        s_m     = mean of -log max(p(phi_m)[y], 1e-8)
        r_m     = exp(M / (M - 1) (mean_k s_k - s_m))            how far m is ahead on this batch
        tau_m   = the same of the running means S_k              how far it has been so far
        kappa_m = exp(alpha min(tau_m - r_m, cap))
        g       = sum_m kappa_m J_{phi_m}^T dl/dz

    tau comes from the means before this batch, which are zero at first; they then take in the batch with weight
    `1 / (t + 1)`. The authors scale the gradient that arrives at each `phi_m` with a hook; here one backward pass of
    `sum_S (kappa w)_S <f(S), dl/dz>` does it.

    `faithful="paper"` (the default), which says nothing of modes, runs all coalitions in the mode of training, with
    features and dropout masks of the same pass and an absent modality's feature held constant; no encoder runs twice.
    `faithful="code"`, what the published numbers come from, runs the coalitions that leave out a modality in evaluation
    mode, but with gradient, while that of all modalities is in training mode: `phi` mixes two regimes of batch
    normalisation.

    `cap` guards against overflow: `tau - r` may reach 1e8, whose exponential is infinite. The authors cap at 10 on
    CREMA-D, at 7 on UR-Funny and not elsewhere; 10 is the default. They also clip: `clip=1` (5 on UR-Funny) is their
    rule, which watches the weight of the head that gives the logits, not its bias and not the rest of the fusion. It is
    off by default, because clipping is the optimizer's business, to be done once a step on unscaled and accumulated
    gradients, and because with it the gradient is no longer proportional to the loss.

    Passes a batch: 1 forward, 1 backward, and `2^M - 2` passes of the fusion; with `faithful="code"` also one forward
    and backward of the encoders in evaluation mode. A model that cannot fuse features: `2^M - 1` of each.

    Limits: `alpha=0`, or one modality, is joint training.

    Args:
        alpha: strength, at least 0; 1 in the code's defaults, the authors use 1.5 to 4.
        faithful: mode of the coalitions that leave out a modality, see above.
        cap: largest `tau - r`, None for none.
        clip: if an element of the gradient of the head's weight exceeds this, the whole gradient is cut to this norm.
            The head is the fusion's part of each modality where there is one, else the last matrix of the model that
            is no encoder's.
        absent: what an absent modality looks like; the authors' all-zero input by default, see `msam.coalition`.

    Raises:
        ValueError: if an argument is out of its range.
    """

    name, family = "agm", "balance"
    paper = "Li et al. 2023, arXiv 2308.07686"
    # alpha: 1 in the code, 1.5 on CREMA-D, 2.5 on AV-MNIST, 4 on UR-Funny, 6 with early fusion, by the authors
    search = {"alpha": [0.5, 1.0, 1.5, 2.0, 2.5, 4.0, 6.0]}
    remedies = {"agm": "restraint"}

    remembers = ("batches", "means")

    def __init__(
        self,
        alpha: float = 1.0,
        faithful: Literal["paper", "code"] = "paper",
        cap: float | None = 10.0,
        clip: float | None = None,
        absent: Absent = "zero-input",
    ) -> None:
        super().__init__()
        self.alpha, self.faithful = in_range("alpha", alpha, 0), one_of("faithful", faithful, ("paper", "code"))
        self.cap = inf if cap is None else in_range("cap", cap, 0)
        self.clip = clip if clip is None else in_range("clip", clip, 0)
        self.absent = one_of("absent", absent, ABSENT)
        self._batches = 0
        self._means: Tensor | None = None

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the modulated gradient."""
        names = objective.modalities(inputs)
        live, design = objective.forward(inputs, target), exact(len(names))
        labels = class_indices(self, live.logits, target)
        in_evaluation = self.faithful == "code"
        logits = objective.coalitions.training_logits(
            live, inputs, design.masks, self.absent, in_evaluation=in_evaluation
        )
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        outputs = torch.tensordot(design.weights.to(logits), logits.detach(), 1)
        kappa = self.coefficients(objective.average(self.scores(outputs, labels), len(target)))
        weights = (kappa - 1) @ design.weights.to(kappa) + design.masks.all(1).to(kappa)
        slope = objective.compute_gradients(live.loss, [live.logits])[live.logits]
        along = (torch.tensordot(weights.to(logits), logits, 1) * slope).sum()
        if self.clip is None:
            objective.backpropagate(along)
        else:
            gradients = objective.compute_gradients(along, objective.parameters())
            objective.add_gradients(self._clipped(objective, gradients, self.clip))
        return live.outcome(**{f"kappa/{name}": value for name, value in zip(names, kappa, strict=True)})

    def scores(self, outputs: Tensor, target: Tensor) -> Tensor:
        """`s_m` of Shapley logits `[modalities, batch, classes]`, `[modalities]`."""
        labels = torch.where(target < 0, IGNORED, target)
        return torch.stack([F.nll_loss(each.log_softmax(-1).clamp(min=log(1e-8)), labels) for each in outputs])

    def coefficients(self, scores: Tensor) -> Tensor:
        """`kappa` of this batch's scores, from the running means so far; then takes them in."""
        means = torch.zeros_like(scores) if self._means is None else self._means.to(scores)
        kappa = torch.exp(self.alpha * (self._lead(means) - self._lead(scores)).clamp(max=self.cap))
        taken = means + (scores - means) / (self._batches + 1)
        self._means = torch.where(taken.isfinite(), taken, means)  # a batch without a score teaches nothing
        self._batches += 1
        return torch.where(scores.isfinite().all(), kappa, 1.0)

    def _lead(self, scores: Tensor) -> Tensor:
        """`exp(M / (M - 1) (mean - s_m))`: above one for a modality that does better than the others."""
        count = len(scores)
        return torch.exp(count / max(count - 1, 1) * (scores.mean() - scores))

    def _clipped(self, objective: Objective, gradients: Gradients, clip: float) -> Gradients:
        """The authors' rule: norm `clip` for all, if any element of the head's weight exceeds it."""
        watched = [gradients[weight] for weight in _head_weights(objective) if weight in gradients]
        if not watched:
            return gradients
        largest = torch.stack(torch._foreach_norm(watched, float("inf"))).max()
        norm = torch.nn.utils.get_total_norm(list(gradients.values()))
        factor = torch.where(largest > clip, (clip / norm).clamp(max=1), 1.0)
        return dict(zip(gradients, torch._foreach_mul(list(gradients.values()), factor), strict=True))


def _head_weights(objective: Objective) -> list[Tensor]:
    """The matrices that give the logits, without biases."""
    encoders = {weight for modality in objective.encoders for weight in objective.parameters(modality)}
    matrices = [weight for weight in objective.parameters() if weight not in encoders and weight.dim() > 1]
    heads = getattr(objective.bare, "heads", None)
    if heads is None:
        return matrices[-1:]
    owned = {weight for head in heads.values() for weight in head.parameters()}
    return [weight for weight in matrices if weight in owned]

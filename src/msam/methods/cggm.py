"""Classifier-guided gradient modulation: encoders whose own classifier gains less are sped up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from msam.attribution import accuracy
from msam.heads import Heads
from msam.method import Method, class_indices, in_range, one_of
from msam.objective import Objective, Pass
from msam.remembering import Remembering
from msam.types import Gradients, Inputs, Outcome


class CGGM(Remembering, Method):
    """Classifier-Guided Gradient Modulation (Guo et al. 2024, arXiv 2411.01409).

    A linear classifier on each encoder's output, from which no gradient returns to the encoder, with accuracy `e_m` on
    the batch and gain `D_m = e_m - e_m of the batch before`:

        B_m  = 1 - D_m / sum_k D_k                              in [0, 1] while all gain; the slower, the larger
        L_gm = 1/M (sum_m |B_m| - sum_m B_m cos_m)              cos_m: how alike fused and unimodal gradient point
        g    = gradient of l + direction L_gm, encoder m's part times rho B_m

    The classifiers follow their own losses. The authors give them a learning rate of their own, 5e-4: make
    `method.parameters()` a parameter group of its own.

    `faithful="paper"` (the default) takes `cos_m` between the gradients of the fused and the unimodal loss at their
    logits, to which any output layer's gradient is proportional sample by sample, so that every fusion will do. Gains
    are guarded: only positive ones count, and where no classifier gains all encoders get the mean `(M - 1) / M`.
    Without the guard two gains that nearly cancel give coefficients of millions, a gain beside a smaller drop makes the
    gaining encoder climb its loss, and drops act like gains; a batch's accuracy moves in steps of one sample, so this
    happens often. `momentum` averages accuracies over batches, against the same noise.

    `faithful="code"` is what the authors' code does, unguarded: `sum_k D_k + 1e-8` in the denominator; the cosine is
    between the output layers' *weights*, not gradients; and it acts one step late, on the output layer alone, whose
    part belonging to m is here the fusion's head of m. The authors clip the model's gradient to norm 0.8 afterwards,
    which hides the size of such coefficients, not their sign.

    `L_gm` is in cross-entropies, whatever the criterion's scale (`Objective.unit`). In data-parallel training
    accuracies are averaged over the ranks.

    Passes a batch: 1 forward, 1 backward; the classifiers see features only.

    Limits: one modality has nothing to be compared with and `B = 1`; `direction=0` leaves the fusion as in joint
    training.

    Args:
        widths: modality -> size of its encoder's output, flattened.
        classes: number of logits.
        rho: factor of the encoders' gradients, at least 0; 1.3 in the code.
        direction: weight of `L_gm` (lambda), at least 0; 0.05 to 0.2 in the code.
        momentum: of the accuracies, in [0, 1].
        faithful: `paper` with guards or `code`, see above.
        seed: of the classifiers' initial values.

    Raises:
        ValueError: if an argument is out of its range.
    """

    name, family = "cggm", "balance"
    paper = "Guo et al. 2024, arXiv 2411.01409"
    # rho: 1 to 1.3; direction (lambda): 0.05, 0.1, 0.2, in the authors' code
    search = {"rho": [1.0, 1.0, 1.0, 1.3, 1.3, 1.3, 1.6], "direction": [0.05, 0.1, 0.2, 0.05, 0.1, 0.2, 0.2]}
    remedies = {"cggm": "restraint"}

    remembers = ("accuracies", "late")

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        rho: float = 1.3,
        direction: float = 0.2,
        momentum: float = 0.0,
        faithful: Literal["paper", "code"] = "paper",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.rho, self.direction = in_range("rho", rho, 0), in_range("direction", direction, 0)
        self.momentum, self.faithful = (
            in_range("momentum", momentum, 0, 1),
            one_of("faithful", faithful, ("paper", "code")),
        )
        self.needs = frozenset({"separate_encoders"} | ({"heads"} if faithful == "code" else set()))
        self.heads = Heads(widths, classes, seed)
        self._accuracies: Tensor | None = None
        self._late: dict[str, Tensor] = {}

    def check(self, objective: Objective) -> None:
        """Refuses a model without the heads that the code's direction needs."""
        super().check(objective)
        if self.faithful == "code" and self.direction and len(objective.encoders) > 1:
            for modality in objective.encoders:
                self._head_of(objective, modality)

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the modulated gradient, and the classifiers' own."""
        live = objective.forward(inputs, target)
        class_indices(self, live.logits, target)
        heads = self.heads(live.detached().features)
        logits = {modality: heads[modality] for modality in objective.encoders}
        losses = {modality: objective.loss(each, target) for modality, each in logits.items()}
        accuracies = objective.average(accuracy(torch.stack(list(logits.values())), target), len(target))
        balance = self.balance(self.gains(accuracies))
        slopes = {m: objective.compute_gradients(losses[m], [each])[each] for m, each in logits.items()}
        gradients = self.directed(
            objective, live, slopes, balance, self.direction * objective.unit(live.logits, target)
        )
        for modality, factor in zip(logits, self.rho * balance, strict=True):
            block = [each for each in objective.parameters(modality) if each in gradients]
            gradients |= {each: gradients[each] * factor.to(each) for each in block}
        of_heads = objective.compute_gradients(torch.stack(list(losses.values())).sum(), self.heads.parameters())
        objective.add_gradients(gradients | of_heads)
        return live.outcome(**{f"balance/{m}": value for m, value in zip(logits, balance, strict=True)})

    def gains(self, accuracies: Tensor) -> Tensor:
        """How far each classifier has come since the batch before, `[modalities]`; the first is compared with zero."""
        before = torch.zeros_like(accuracies) if self._accuracies is None else self._accuracies.to(accuracies)
        self._accuracies = torch.lerp(accuracies, before, self.momentum)
        return self._accuracies - before

    def balance(self, gains: Tensor) -> Tensor:
        """`B_m`, `[modalities]`."""
        if len(gains) == 1:
            return torch.ones_like(gains)
        if self.faithful == "code":
            return 1 - gains / (gains.sum() + 1e-8)
        gains = gains.clamp(min=0)
        total = gains.sum()
        return 1 - torch.where(total > 0, gains / total, 1 / len(gains))

    def directed(
        self, objective: Objective, live: Pass, slopes: Mapping[str, Tensor], balance: Tensor, weight: Tensor
    ) -> Gradients:
        """Gradient of `l + weight L_gm`."""
        if self.direction == 0 or len(balance) == 1:
            return objective.compute_gradients(live.loss, objective.parameters())
        if self.faithful == "code":
            return self._late_direction(objective, live, balance, weight)
        fused = _flat(objective.compute_gradients(live.loss, [live.logits], create_graph=True)[live.logits])
        cosines = torch.stack([F.cosine_similarity(fused, _flat(slope), 0, eps=1e-20) for slope in slopes.values()])
        apart = (balance.abs() - balance * cosines).mean()
        return objective.compute_gradients(live.loss + weight * apart.to(live.loss), objective.parameters())

    def _late_direction(self, objective: Objective, live: Pass, balance: Tensor, weight: Tensor) -> Gradients:
        """The last step's `L_gm` by the output layer, whose cosines are those of weights; prepares the next one's."""
        gradients = objective.compute_gradients(live.loss, objective.parameters())
        for modality, factor in zip(objective.encoders, balance, strict=True):
            head = self._head_of(objective, modality)
            if modality in self._late and head in gradients:
                gradients[head] = gradients[head] + weight.to(head) * self._late[modality].to(head)
            slope = _cosine_slope(head.detach(), self.heads.weight(modality).detach())
            self._late[modality] = -factor.to(head) / len(balance) * slope
        return gradients

    def _head_of(self, objective: Objective, modality: str) -> Tensor:
        """The weight of the fusion's head that has the shape of the classifier's."""
        shape, encoder = self.heads.weight(modality).shape, set(objective.parameters(modality))
        for weight in objective.parameters(modality, head=True):
            if weight.shape == shape and weight not in encoder:
                return weight
        raise ValueError(
            f"CGGM with faithful='code' needs a linear head {list(shape)} of {modality!r} in the fusion, found none; "
            "use faithful='paper'."
        )


def _flat(slope: Tensor) -> Tensor:
    return slope.flatten().to(torch.promote_types(slope.dtype, torch.float32))


def _cosine_slope(weight: Tensor, other: Tensor) -> Tensor:
    """`d cos(weight, other) / d weight`."""
    length = weight.norm()
    here, there = weight / length, other / other.norm()
    slope: Tensor = (there - (here * there).sum() * here) / length
    return slope

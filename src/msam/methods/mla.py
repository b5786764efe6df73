"""MLA: each modality learns alone, through one shared head that is kept from forgetting what the others taught it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from msam.blocks import added
from msam.features import required
from msam.heads import Heads
from msam.method import Method, class_indices, one_of
from msam.objective import Objective
from msam.remembering import Remembering
from msam.types import Features, Inputs, Outcome

SHARED = "shared"


class MLA(Remembering, Method):
    """Multimodal learning with alternating unimodal adaptation (Zhang et al. 2024, arXiv 2311.10707).

    One linear head `z_m = W h_m + b` serves all modalities. For each modality in turn, with `h` its mean feature in the
    batch, the head's gradient is projected away from the directions of features seen so far:

        q    = P h
        P   <- P - q q^T / (a + h.q),   then  P <- P / |P|_F
        g_m  = grad l(z_m)                       for encoder m
        G   += grad_W l(z_m) P^T                 for the head; its bias is not projected

    The first modality of the first batch has nobody before it: there P stays as it was and projects nothing.
    `a = 0.1^(1 + position in the epoch)` falls from 0.1 to 0.01 within an epoch. At test time each sample weighs the
    modalities by how sure they are: `z = sum_m w_m z_m`, `w_m` proportional to `exp(max_k H_k - H_m)` of the entropies
    H of their predictions; `predict` does so, or takes plain means with `dynamic=False`.

    `faithful="paper"` (the default) projects. P has norm one, so that it also shortens the head's gradient, to about
    `1 / sqrt(width)`: 0.31, 0.10 and 0.03 of its length at widths 6, 64 and 512. A learning rate of its own for the
    head makes up for it. `faithful="code"` does what the released code does when it runs, which is not to project: its
    test for the name of the head's weight, `module.weight`, is met by no parameter of the linear head. And it takes
    one entropy a batch, with probabilities along its samples: a prediction depends on the batch that it is in.

    Deviations in both modes. The authors step the optimizer after each modality; what stands in for `loss.backward()`
    steps once, so that all modalities' gradients are taken at the same weights and added. How many batches an epoch has
    is known from its first end (`next_epoch`); until then the position is 0. The update of P divides by the number
    `a + h.q`, as recursive least squares does; the released code, where it would project, by a matrix, element by
    element.
    The model's own fusion has no part in MLA; it follows the fused loss without reaching the encoders, as a probe, so
    that the outcome's loss and whatever asks the model (coalitions, contributions) still mean something. A shared
    fusion would have as little part, so models that have one are refused.

    Passes a batch: 1 forward, 1 backward of the encoders from the head, 1 of the fusion.

    Args:
        widths: modality -> size of its encoder's output, flattened; all equal.
        classes: number of logits.
        dynamic: weigh the modalities by entropy at test time.
        seed: of the head's initial values.
        faithful: `paper` projects the head's gradient, `code` does not; see above.

    Raises:
        ValueError: if the widths differ, or an argument is out of its range.
    """

    name, family = "mla", "balance"
    paper = "Zhang et al. 2024, arXiv 2311.10707"
    # nothing to set: the learning rate
    search = {"lr": [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]}
    remedies = {"mla": "support"}

    remembers = ("batch", "length", "begun")

    needs = frozenset({"separate_encoders", "additive_fusion"})
    head: nn.Linear
    projection: Tensor

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        dynamic: bool = True,
        seed: int = 0,
        faithful: Literal["paper", "code"] = "paper",
    ) -> None:
        super().__init__()
        self.faithful = one_of("faithful", faithful, ("paper", "code"))
        if len(set(widths.values())) != 1:
            raise ValueError(f"MLA has one head for all modalities and needs features of one width, found {widths}.")
        width, self.names, self.dynamic = next(iter(widths.values())), set(widths), dynamic
        (self.head,) = Heads({SHARED: width}, classes, seed).values()  # type: ignore[assignment]  # a Linear
        self.register_buffer("projection", torch.eye(width))
        self._batch = self._length = 0
        self._begun = False

    def check(self, objective: Objective) -> None:
        """Refuses a model of other modalities."""
        super().check(objective)
        if self.names != set(objective.encoders):
            raise ValueError(
                f"MLA was given widths of {sorted(self.names)}, but the model has encoders for "
                f"{list(objective.encoders)}; give `widths` for these."
            )

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds each encoder's gradient of its own loss, the projected ones of the head, and the fusion's."""
        live = objective.forward(inputs, target)
        encoders = dict.fromkeys(weight for modality in objective.encoders for weight in objective.parameters(modality))
        logits = self.logits(objective, live.features)
        if self.dynamic:  # entropies at test time are those of classes
            class_indices(self, next(iter(logits.values())), target)
        losses = {modality: objective.loss(each, target) for modality, each in logits.items()}
        gradients = objective.compute_gradients(live.loss, [w for w in objective.parameters() if w not in encoders])
        gradients |= objective.compute_gradients(torch.stack(list(losses.values())).sum(), encoders)
        weight, projection = self.head.weight, self.projection
        for modality, loss in losses.items():
            of_head = objective.compute_gradients(loss, self.head.parameters())
            if self._begun and self.faithful == "paper":
                mean = live.features[modality].detach().flatten(1).mean(0)
                projection = self.turned(projection, objective.average(mean, len(target)))
                of_head[weight] = of_head[weight] @ projection.T.to(weight)
            gradients, self._begun = added(gradients, of_head), True
        self.projection, self._batch = projection, self._batch + 1
        objective.add_gradients(gradients)
        return live.outcome(**{f"loss/{modality}": loss.detach() for modality, loss in losses.items()})

    def turned(self, projection: Tensor, mean: Tensor) -> Tensor:
        """P after a mean feature `[width]` has been taken in."""
        mean = mean.to(projection)
        position = min(self._batch / self._length, 1.0) if self._length else 0.0
        q = projection @ mean
        turned = projection - torch.outer(q, q) / (0.1 ** (1.0 + position) + mean @ q)
        turned = torch.div(turned, turned.norm().clamp(min=1e-12))
        return torch.where(turned.isfinite().all(), turned, projection)  # a mean that is no number teaches nothing

    def logits(self, objective: Objective, features: Features) -> dict[str, Tensor]:
        """The shared head's logits of each modality, `[batch, classes]`."""
        logits = {}
        for modality in objective.encoders:
            flat = required(features, modality).flatten(1)
            if flat.shape[1] != self.head.in_features:
                raise ValueError(
                    f"MLA's head expects {self.head.in_features} features of {modality!r}, found "
                    f"{flat.shape[1]}; give `widths` that fit."
                )
            logits[modality] = self.head(flat.to(self.head.weight.dtype))
        return logits

    def predict(self, objective: Objective, inputs: Inputs) -> Tensor:
        """Logits of the modalities, each sample's weighted by their certainty, in evaluation mode."""
        with torch.no_grad():
            logits = torch.stack(list(self.logits(objective, objective.features(inputs)).values()))
        return blended(logits, together=self.faithful == "code") if self.dynamic else logits.mean(0)

    def next_epoch(self, objective: Objective, train: Any = None, valid: Any = None) -> None:
        """Learns how many batches an epoch has."""
        self._batch, self._length = 0, self._batch


def blended(logits: Tensor, *, together: bool = False) -> Tensor:
    """`sum_m w_m z_m` of `[modalities, batch, classes]`, `w_m` proportional to `exp(-H_m)`.

    With `together`, one `H_m` a batch: the entropies of the classes' distributions over the samples, summed.
    """
    log_p = logits.log_softmax(1 if together else -1)
    entropy = -(log_p.exp() * log_p).sum((1, 2) if together else -1, keepdim=True)
    return (torch.softmax(-entropy, 0) * logits).sum(0)

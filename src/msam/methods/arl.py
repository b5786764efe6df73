"""ARL: the encoder whose predictions vary least is trained hardest, as the best mixture of two estimates would ask."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from msam.additive import alone_logits
from msam.method import Method, class_indices, in_range, one_of
from msam.objective import Objective
from msam.types import Inputs, Outcome


class ARL(Method):
    """Asymmetric Representation Learning (Wei et al. 2025, ICCV, arXiv 2507.10203), for two modalities.

    With `z_m` the logits that the model's fusion gives to modality m alone, the other feature being zeros, `H_m` the
    mean entropy of `softmax(z_m)` and `D_m` the mean of `|z_m|`, both as shares of their sum:

        w_m   = (1 / max(H_m, 0.3)) / sum_k (1 / max(H_k, 0.3))
        s     = softmax(T (D_2 w_1, D_1 w_2))
        loss  = l + gamma (l_1 + l_2)
        g_m  <- (1 + s_m) g_m        the encoder of m; the fusion keeps its gradient

    `faithful="code"` is what the released code trains: its weights `s` are computed and never assigned, so that both
    stay at one half and only the unimodal losses act, with encoders at 1.5 times their gradient. That form takes any
    number of modalities. `paper` is the default.

    Passes a batch: 1 forward, 1 backward, and M passes of the fusion.

    Limits: `faithful="code"` with `gamma=0` is joint training with encoders at 1.5 times their gradient.

    Args:
        gamma: weight of the unimodal losses, at least 0; 4 on CREMA-D, 1 in the first five epochs there.
        temperature: T, at least 0; 8 in the code.
        faithful: see above.

    Raises:
        ValueError: if an argument is out of its range, or the model has other than two modalities (`paper`).
    """

    name, family = "arl", "balance"
    variants = {"arl-code": {"faithful": "code"}}
    extended_by = "arl-code"
    paper = "Wei et al. 2025, ICCV, arXiv 2507.10203"
    # gamma: 1 and 4 in the code
    search = {"gamma": [0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0]}

    needs = frozenset({"separate_encoders", "fuse"})

    def __init__(
        self, gamma: float = 4.0, temperature: float = 8.0, faithful: Literal["paper", "code"] = "paper"
    ) -> None:
        super().__init__()
        self.gamma, self.temperature = in_range("gamma", gamma, 0), in_range("temperature", temperature, 0)
        self.faithful = one_of("faithful", faithful, ("paper", "code"))

    def check(self, objective: Objective) -> None:
        """Refuses a model whose modalities cannot be compared."""
        super().check(objective)
        if self.faithful == "paper" and len(objective.encoders) != 2:
            raise ValueError(
                f"ARL compares two modalities, found {len(objective.encoders)}; faithful='code' takes any number."
            )

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient of all losses, each encoder's times `1 + s_m`."""
        live = objective.forward(inputs, target)
        class_indices(self, live.logits, target)
        logits = alone_logits(objective, live, inputs)
        losses = torch.stack([objective.loss(each, target) for each in logits])
        shares = self.shares(objective.average(spreads(logits.detach()), len(target)))
        gradients = objective.compute_gradients(live.loss + self.gamma * losses.sum(), objective.parameters())
        for modality, share in zip(objective.encoders, shares, strict=True):
            for weight in objective.parameters(modality):
                if weight in gradients:
                    gradients[weight] = gradients[weight] * (1 + share).to(gradients[weight])
        objective.add_gradients(gradients)
        return live.outcome(**{f"share/{m}": share for m, share in zip(objective.encoders, shares, strict=True)})

    def shares(self, spreads: Tensor) -> Tensor:
        """`s_m` of entropies and mean absolute logits `[2, modalities]`, `[modalities]`."""
        if self.faithful == "code":
            return torch.full_like(spreads[0], 0.5)
        entropy, size = spreads / spreads.sum(1, keepdim=True).clamp(min=1e-12)
        inverse = 1 / entropy.clamp(min=0.3)
        return torch.softmax(self.temperature * size.flip(0) * inverse / inverse.sum(), 0)


def spreads(logits: Tensor) -> Tensor:
    """Mean entropy and mean absolute logit of each modality's `[modalities, batch, classes]`, `[2, modalities]`."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    log_p = logits.log_softmax(-1)
    return torch.stack([-(log_p.exp() * log_p).sum(-1).mean(1), logits.abs().mean((1, 2))])

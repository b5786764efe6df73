"""InfoReg: while information is still being acquired, the modality that has enough of it is held near its weights."""

from __future__ import annotations

import torch
from torch import Tensor

from msam.additive import alone_logits
from msam.attribution import probability
from msam.blocks import real
from msam.memory import recall, remember
from msam.method import Method, class_indices, in_range
from msam.objective import Objective
from msam.remembering import Remembering
from msam.types import Batches, Gradients, Inputs, Outcome

SPAN = 10
"""Epochs that the growth of the Fisher information is taken over, as in the authors' code."""


class InfoReg(Remembering, Method):
    """Adaptive unimodal regulation (Huang et al. 2025, CVPR, arXiv 2503.18595), for any number of modalities.

    With `z_m` the logits that the model's fusion gives to modality m alone, the other features being zeros, `s_m` the
    mean probability that they give the true class, and
    `F_m(t) = mean over batches of sum over encoder m's tensors of mean g^2` in epoch t, g the gradient:

        loss  = l + sum_m l(z_m)
        k_m   = (mean of the last 10 F_m - mean of the 10 before) / mean of the last 10
        g_d  <- g_d + beta exp(tanh(s_d - mean of the others' s)) (theta_d - theta_d at the start of the epoch)
                for d = argmax s, while k_d > threshold

    The released code looks at the audio modality's k only, sums s over the batch, so that tanh saturates, and has two
    betas by modality; this is the form that the paper describes: the leading modality's k, means, one beta. Averages
    over fewer than ten epochs are over those there are; before the second epoch k is infinite, so that regulation acts
    from the first batch after which weights have moved. The proximal term is in units of the criterion
    (`Objective.unit`), so that the sum is proportional to it.

    Passes a batch: 1 forward, 1 backward, and M passes of the fusion. It keeps one copy of the encoders.

    Limits: `beta=0`, or one modality, is the gradient of `l + sum_m l(z_m)`.

    Args:
        beta: strength of the proximal term, at least 0; 0.95 for audio in the code.
        threshold: growth of the Fisher information above which information is still acquired; 0.05 in the code.

    Raises:
        ValueError: if an argument is out of its range, or targets are no class indices.
    """

    stands_alone = "it holds an encoder near the weights that an epoch starts from, which are not those of a climb"
    name, family = "inforeg", "balance"
    paper = "Huang et al. 2025, CVPR, arXiv 2503.18595"
    # beta: 0.95 for audio, 0.1 for vision in the code
    search = {"beta": [0.03, 0.1, 0.3, 0.95, 1.5, 3.0, 10.0]}

    needs = frozenset({"separate_encoders", "fuse"})

    remembers = ("batches", "sums", "history", "start")

    def __init__(self, beta: float = 0.95, threshold: float = 0.05) -> None:
        super().__init__()
        self.beta, self.threshold = in_range("beta", beta, 0), in_range("threshold", threshold, -1)
        self._start: dict[str, Tensor] = {}
        self._batches = 0
        self._sums = torch.zeros(0)
        self._history = torch.zeros(0)  # [epochs, modalities]

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient of all losses, with the leading encoder held near its weights."""
        live, names = objective.forward(inputs, target), list(objective.encoders)
        class_indices(self, live.logits, target)
        logits = alone_logits(objective, live, inputs)
        losses = torch.stack([objective.loss(each, target) for each in logits])
        gradients = objective.compute_gradients(live.loss + losses.sum(), objective.parameters())
        self._begin(objective)
        scores = objective.average(probability(logits.detach(), target), len(target))
        fisher = objective.average(self.fisher(objective, gradients), len(target))
        self._sums = fisher if self._batches == 0 else self._sums.to(fisher) + fisher
        self._batches += 1
        leader = int(scores.argmax())
        if self.beta > 0 and len(names) > 1 and self.growth(leader) > self.threshold:
            gap = scores[leader] - (scores.sum() - scores[leader]) / (len(names) - 1)
            strength = self.beta * torch.exp(torch.tanh(gap)) * objective.unit(live.logits, target)
            gradients |= self._held(objective, gradients, names[leader], strength)
        objective.add_gradients(gradients)
        return live.outcome(dominant=names[leader])

    def fisher(self, objective: Objective, gradients: Gradients) -> Tensor:
        """`F_m` of one batch: the sum over an encoder's tensors of their mean squared gradient, `[modalities]`."""
        reached = {m: [gradients[w] for w in objective.parameters(m) if w in gradients] for m in objective.encoders}
        means = {m: [real(g).double().square().mean() for g in each] for m, each in reached.items()}
        zero = torch.zeros((), dtype=torch.float64, device=objective.device)
        return torch.stack([sum(each, zero) for each in means.values()])

    def growth(self, modality: int) -> float:
        """`k_m` by the epochs that have ended; infinite before there are two."""
        if len(self._history) < 2:
            return float("inf")
        last = self._history[-SPAN:, modality]
        before = self._history[: max(1, len(self._history) - SPAN)][-SPAN:, modality]
        return float((last.mean() - before.mean()) / last.mean().clamp(min=1e-30))

    def next_epoch(self, objective: Objective, train: Batches | None = None, valid: Batches | None = None) -> None:
        """Keeps the epoch's Fisher information and the weights that the next one starts from."""
        if self._batches:
            mean = (self._sums / self._batches).cpu()[None]
            self._history = torch.cat([self._history.reshape(-1, mean.shape[1]), mean])
        self._batches, self._start = 0, {}

    def _begin(self, objective: Objective) -> None:
        """Keeps the encoders' weights before the first step of an epoch."""
        if not self._start and self.beta > 0:
            weights = [weight for modality in objective.encoders for weight in objective.parameters(modality)]
            self._start = remember(objective, {}, weights, [weight.detach().clone() for weight in weights])

    def _held(self, objective: Objective, gradients: Gradients, leader: str, strength: Tensor) -> Gradients:
        """The leading encoder's gradient with the pull towards its weights at the start of the epoch."""
        weights = [weight for weight in objective.parameters(leader) if weight in gradients]
        starts = recall(objective, self._start, weights)
        return {w: gradients[w] + strength.to(w) * (w.detach() - s) for w, s in zip(weights, starts, strict=True)}

"""On-the-fly gradient modulation: the encoder that leads is slowed down, with noise (OGM-GE) or without (OGM)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from msam.attribution import probability
from msam.method import Method, class_indices, in_range, one_of
from msam.objective import Objective, Pass
from msam.remembering import Remembering
from msam.types import Batches, Inputs, Outcome


class OGM(Remembering, Method):
    """The leading encoder's gradient is shrunk (Peng et al. 2022, arXiv 2203.15332).

    With `z_m` the additive part of the logits that comes from modality m (bias shared equally) and `s_m` the mean
    probability that it alone gives the true class:

        r_m = s_m / s_other
        k_m = 1 - tanh(alpha r_m)  if r_m > 1,  else 1
        g_m <- k_m g_m             the encoder of m; the fusion keeps its gradient

    As in paper and code, alpha multiplies the ratio and not its excess over one: k falls at once to `1 - tanh(alpha)`
    when a modality takes the lead.

    Passes a batch: 1 forward, 1 backward, and one pass of the fusion for the parts.

    The paper scales the encoder's whole gradient; the authors' code only tensors of four dimensions, the weights of 2-D
    convolutions, so that normalisation and biases go unscaled and nothing at all happens to encoders of other kinds.
    `faithful="paper"` is the default, because it does what it says for every encoder; `"code"` refuses models in which
    it would do nothing. Defined for two modalities; `extension="pairwise-mean"` takes for `r_m` the mean of the ratios
    to all others, which is the same for two. In data-parallel training all ranks use the same coefficients.

    Limits: `alpha=0`, or an epoch outside the window, is joint training.

    Args:
        alpha: strength, at least 0; the authors use 0.8 on CREMA-D and 0.1 on VGGSound.
        faithful: which tensors of an encoder are modulated, see above.
        extension: how more than two modalities are compared; refused if None.
        start: first epoch of the modulation, counted from 0 by `next_epoch`.
        end: last epoch of the modulation, 50 as in the code; None for no end.

    Raises:
        ValueError: if an argument is out of its range.
    """

    name, family = "ogm", "balance"
    paper = "Peng et al. 2022, arXiv 2203.15332"
    # alpha: 0.1 on VGGSound, 0.3 gated, 0.8 on CREMA-D, in the authors' code
    search = {"alpha": [0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0]}
    variants = {"ogm-pairwise": {"extension": "pairwise-mean"}}
    extended_by = "ogm-pairwise"

    remembers = ("epoch", "batches")

    needs = frozenset({"separate_encoders", "additive_fusion"})

    def __init__(
        self,
        alpha: float = 0.8,
        faithful: Literal["paper", "code"] = "paper",
        extension: Literal["pairwise-mean"] | None = None,
        start: int = 0,
        end: int | None = 50,
    ) -> None:
        super().__init__()
        self.alpha, self.faithful = in_range("alpha", alpha, 0), one_of("faithful", faithful, ("paper", "code"))
        self.extension = one_of("extension", extension, (None, "pairwise-mean"))
        self.start, self.end = int(in_range("start", start, 0)), end if end is None else int(in_range("end", end, 0))
        self._epoch = self._batches = 0

    def check(self, objective: Objective) -> None:
        """Refuses a model whose modalities cannot be compared, or in which nothing would be modulated."""
        super().check(objective)
        name, count = type(self).__name__, len(objective.encoders)
        if count != 2 and self.extension is None:
            raise ValueError(
                f"{name} compares two modalities, found {count}; extension='pairwise-mean' takes any number."
            )
        bare = [m for m in objective.encoders if not any(map(self._modulates, objective.parameters(m)))]
        if self.faithful == "code" and bare:
            raise ValueError(
                f"{name} with faithful='code' modulates weights of four dimensions only, of which the encoders {bare} "
                "have none; use faithful='paper'."
            )

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient with its encoders modulated."""
        self._batches += 1
        if self._epoch < self.start or (self.end is not None and self._epoch > self.end):
            return objective.accumulate_gradient(inputs, target).outcome()
        live = objective.forward(inputs, target)
        ratios = self.ratios(self.scores(objective, live, target))
        factors = torch.where(ratios > 1, 1 - torch.tanh(self.alpha * ratios), torch.ones_like(ratios))
        gradients = objective.compute_gradients(live.loss, objective.parameters())
        for modality, factor in zip(objective.encoders, factors, strict=True):
            for weight in filter(self._modulates, objective.parameters(modality)):
                if weight in gradients:
                    gradients[weight] = self.modulated(gradients[weight], factor)
        objective.add_gradients(gradients)
        return live.outcome(**{f"factor/{m}": factor for m, factor in zip(objective.encoders, factors, strict=True)})

    def scores(self, objective: Objective, live: Pass, target: Tensor) -> Tensor:
        """Mean probability of the true class by each modality's part of the logits, `[modalities]`."""
        class_indices(self, live.logits, target)
        return objective.average(probability(objective.evaluation.parts(live), target), len(target))

    def ratios(self, scores: Tensor) -> Tensor:
        """`r_m`, the mean over the other modalities of `s_m / s_other`, `[modalities]`."""
        scores = scores.clamp(min=1e-12)
        others = max(len(scores) - 1, 1)
        return (scores[:, None] / scores[None, :]).fill_diagonal_(0).sum(1) / others

    def modulated(self, gradient: Tensor, factor: Tensor) -> Tensor:
        """What becomes of the gradient of one tensor."""
        return gradient * factor.to(gradient)

    def _modulates(self, weight: Tensor) -> bool:
        return self.faithful == "paper" or weight.dim() == 4

    def next_epoch(self, objective: Objective, train: Batches | None = None, valid: Batches | None = None) -> None:
        """Moves on in the window of epochs."""
        self._epoch += 1


class OGMGE(OGM):
    """OGM with generalisation enhancement: Gaussian noise on what it modulates (arXiv 2203.15332).

        g_m <- k_m g_m + xi,   xi ~ N(0, std(g_m)^2)   elementwise, tensor by tensor

    for all encoders at every step inside the window, also where `k_m = 1`, as in the authors' code. The standard
    deviation is that of the tensor's own gradient before it is scaled. The paper speaks of noise with the covariance of
    the stochastic gradient; the code, and this class, of the isotropic one above (without the code's 1e-8).

    Draws come from a stream of the method's own, made from `seed` and the number of the batch: the model's random
    stream is not advanced, a resumed run draws the same, and ranks add the same noise, so that averaging over them does
    not thin it out.

    Passes a batch: those of OGM.

    Limits: an epoch outside the window is joint training.

    Args:
        alpha: strength, at least 0; 0.8 on CREMA-D, 0.1 on VGGSound.
        faithful: `paper` modulates whole encoders, `code` their weights of four dimensions; see `OGM`.
        extension: how more than two modalities are compared; refused if None.
        start: first epoch of the modulation, counted from 0 by `next_epoch`.
        end: last epoch of the modulation, 50 as in the code; None for no end.
        seed: of the noise.
    """

    name, family = "ogm-ge", "balance"
    paper = "Peng et al. 2022, arXiv 2203.15332"
    # alpha: as OGM
    search = {"alpha": [0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0]}
    variants = {"ogm-ge-pairwise": {"extension": "pairwise-mean"}}
    extended_by = "ogm-ge-pairwise"
    remedies = {"ogm-ge": "restraint"}

    def __init__(
        self,
        alpha: float = 0.8,
        faithful: Literal["paper", "code"] = "paper",
        extension: Literal["pairwise-mean"] | None = None,
        start: int = 0,
        end: int | None = 50,
        seed: int = 0,
    ) -> None:
        super().__init__(alpha, faithful, extension, start, end)
        self.seed = seed
        self._generator: torch.Generator | None = None

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient with its encoders modulated, and noise."""
        stream = self.seed * 1_000_003 + self._batches
        self._generator = torch.Generator(objective.device).manual_seed(stream)
        return super().backward(objective, inputs, target)

    def modulated(self, gradient: Tensor, factor: Tensor) -> Tensor:
        """The scaled gradient and noise of its former size."""
        noise = torch.empty_like(gradient, memory_format=torch.contiguous_format).normal_(generator=self._generator)
        return super().modulated(gradient, factor) + noise * gradient.std(correction=min(1, gradient.numel() - 1))

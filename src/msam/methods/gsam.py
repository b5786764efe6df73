"""GSAM: SAM that also shrinks the gap between the perturbed and the plain loss."""

from __future__ import annotations

from torch import Tensor

from msam.blocks import orthogonal
from msam.method import Method, in_range
from msam.model_state import perturbed
from msam.objective import Objective
from msam.perturbation import sam_perturbation
from msam.types import Inputs, Outcome


class GSAM(Method):
    """Surrogate Gap Guided SAM (Zhuang et al. 2022, arXiv 2203.08065, Algorithm 1).

        s      = grad l(theta + rho g / |g|)
        g_perp = g - (g.s / |s|^2) s               what of the plain gradient is orthogonal to SAM's
        u      = s - alpha g_perp

    Along `g_perp` the perturbed loss does not change to first order, so a step against it lowers the surrogate gap
    `l(theta + epsilon) - l(theta)` by raising the plain loss. The paper lets rho follow the learning rate; a constant
    rho is used here.

    Passes a batch: 2 forwards, 2 backwards. It keeps one copy of the gradient.

    Limits: `alpha=0` is SAM; `rho=0` is joint training.

    Args:
        rho: radius of the ball, at least 0.
        alpha: weight of the orthogonal part, at least 0; 0.1 to 0.7 in the paper.

    Raises:
        ValueError: if an argument is out of its range.
    """

    kind = "ascent"
    name, family = "gsam", "sharpness"
    paper = "Zhuang et al. 2022, arXiv 2203.08065"
    # rho: as SAM; alpha keeps its default
    search = {"rho": [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]}

    def __init__(self, rho: float = 0.05, alpha: float = 0.4) -> None:
        super().__init__()
        self.rho, self.alpha = in_range("rho", rho, 0), in_range("alpha", alpha, 0)

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds SAM's gradient less a part of what is orthogonal to it."""
        if self.rho == 0:
            return objective.accumulate_gradient(inputs, target).outcome()
        live = objective.forward(inputs, target)
        plain = objective.compute_gradients(live.loss, objective.parameters())
        weights, slopes = list(plain), list(plain.values())
        with perturbed(weights, *sam_perturbation(slopes, self.rho)):
            second = objective.second.forward_like(live.detached(), inputs, target)
            sharp = objective.compute_gradients(second.loss, weights)
        across = orthogonal(slopes, [sharp[weight] for weight in weights])
        objective.add_gradients({w: sharp[w] - self.alpha * part for w, part in zip(weights, across, strict=True)})
        return live.outcome(sharpness=second.loss.detach() - live.loss.detach())

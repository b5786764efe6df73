"""Sharpness-aware minimisation: the gradient at the worst point of a ball, in two geometries."""

from __future__ import annotations

from torch import Tensor

from msam.composition import AscentMethod, RhoSchedule
from msam.method import Method, in_range
from msam.objective import Objective
from msam.perturbation import Perturbation, asam_perturbation, first_pass, sam_perturbation
from msam.types import Inputs, Outcome


class SAM(AscentMethod):
    """`epsilon = rho g / |g|`, `u = grad l(theta + epsilon)` (Foret et al. 2021, arXiv 2010.01412, Algorithm 1).

    The second pass repeats the first one's dropout masks and leaves running statistics alone. In data-parallel
    training each rank climbs by its own gradient (m-sharpness, as in the paper) and the descent gradients are averaged;
    with `sync_perturbation` all ranks climb by the same one, as one process with the whole batch would.

    Passes a batch: 2 forwards, 2 backwards; with `of`, its passes twice.

    Limits: `rho=0` is joint training, or the method `of`.

    Args:
        rho: radius of the ball, at least 0.
        sync_perturbation: climb by the gradient of all ranks' samples; one more reduction of gradients a batch.
        of: the method whose gradient is taken, such as `MBSD(...)`; the plain one if None.
        start: share of the training before which it does not climb; see `Backward.progress`.
        rho_schedule: `constant`, or `lr`: the radius follows the learning rate, see `Backward.progress`.
    """

    name, family = "sam", "sharpness"
    paper = "Foret et al. 2021, arXiv 2010.01412"
    # rho: 0.01 to 0.5, arXiv 2010.01412; larger ones are for the small networks of the embedded data
    search = {"rho": [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]}
    remedies = {"sam": "flatness"}

    def __init__(
        self,
        rho: float = 0.05,
        sync_perturbation: bool = False,
        of: Method | None = None,
        start: float = 0.0,
        rho_schedule: RhoSchedule = "constant",
    ) -> None:
        super().__init__(of, start, rho_schedule)
        self.rho, self.sync_perturbation = in_range("rho", rho, 0), sync_perturbation

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient at theta + epsilon."""
        if self.rho == 0 or (self.scheduled and self.waits()):
            return self.plain_gradient(objective, inputs, target)
        with first_pass(objective, inputs, target, self.sync_perturbation, observed=False, of=self.of) as step:
            second = step.second_pass(self.ascend, weight=1.0)
        return step.first.outcome(sharpness=second.loss - step.first.loss)

    def ascend(self, weights: list[Tensor], gradients: list[Tensor]) -> Perturbation:
        """The perturbation of the weights that have a gradient."""
        return sam_perturbation(gradients, self.rho * self._rate)


class ASAM(SAM):
    """SAM in a scale-invariant ball: `epsilon = rho T^2 g / |T g|`, `T = |w| + eta`.

    Kwon et al. 2021, arXiv 2102.11600, Equation 4. The authors' code scales weight matrices only and moves biases as
    SAM does; the paper, and this class, scale every parameter. Useful radii are about ten times those of SAM.

    Passes a batch: 2 forwards, 2 backwards; with `of`, its passes twice.

    Limits: `rho=0` is joint training, or the method `of`.

    Args:
        rho: radius in the scaled space, at least 0.
        eta: added to every |w|, at least 0; 0.01 in the paper.
        sync_perturbation: climb by the gradient of all ranks' samples; one more reduction of gradients a batch.
        of: the method whose gradient is taken, such as `MBSD(...)`; the plain one if None.
        start: share of the training before which it does not climb; see `Backward.progress`.
        rho_schedule: `constant`, or `lr`: the radius follows the learning rate, see `Backward.progress`.
    """

    name, family = "asam", "sharpness"
    paper = "Kwon et al. 2021, arXiv 2102.11600"
    # rho: up to 2, ten times SAM's, arXiv 2102.11600
    search = {"rho": [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]}
    remedies = {"asam": "flatness"}

    def __init__(
        self,
        rho: float = 0.5,
        eta: float = 0.01,
        sync_perturbation: bool = False,
        of: Method | None = None,
        start: float = 0.0,
        rho_schedule: RhoSchedule = "constant",
    ) -> None:
        super().__init__(rho, sync_perturbation, of, start, rho_schedule)
        self.eta = in_range("eta", eta, 0)

    def ascend(self, weights: list[Tensor], gradients: list[Tensor]) -> Perturbation:
        """The perturbation of the weights that have a gradient."""
        return asam_perturbation(weights, gradients, self.rho * self._rate, self.eta)

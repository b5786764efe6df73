"""Second passes: like an earlier pass at other weights, with the same random draws and no trace in running statistics.

    step = objective.accumulate_gradient(inputs, target)
    with perturbed(weights, epsilon):
        objective.second_pass(step, inputs, target)                 # adds the gradient there

Where the model allows it, a second pass of one encoder runs that encoder and the fusion alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from msam.model_state import replayed, requires_grad_only, unrecorded
from msam.objective.assumptions import Assumptions
from msam.objective.passes import Pass, Passes
from msam.types import Inputs


class SecondPasses:
    """Passes like an earlier one.

    Args:
        passes: how passes are made.
        assumptions: what running one encoder alone takes for granted.
    """

    def __init__(self, passes: Passes, assumptions: Assumptions) -> None:
        self.passes, self.view, self.runtime = passes, passes.view, passes.runtime
        self.assumptions = assumptions

    def second_pass(self, first: Pass, inputs: Inputs, target: Tensor, weight: float | Tensor = 1.0) -> Pass:
        """Adds `weight` times the gradient at the present weights, in a pass like `first`; ranks share it."""
        return self.passes.accumulate_gradient(inputs, target, weight, like=first)

    def second_pass_of_encoder(
        self,
        modality: str,
        block: Sequence[Tensor],
        first: Pass,
        inputs: Inputs,
        target: Tensor,
        weight: float | Tensor,
    ) -> Pass:
        """Like `second_pass`, but gradients flow into `block` only, and stay on this rank.

        Where the model allows it, only the encoder of `modality` and the fusion are run; the other features are those
        of the first pass, dropout masks included, so the gradients are identical to those of a full pass.
        """
        with requires_grad_only(block, among=self.view.parameters()):
            if not self._reruns(first, inputs):
                return self.passes.accumulate_gradient(inputs, target, weight, local=True, like=first)
            with unrecorded(self.view.bare, save=self.runtime.save):
                second = self._forward_encoder_like(modality, first, inputs, target)
                with self.passes.distributed.on_this_rank():
                    scale = weight.to(second.loss) if isinstance(weight, Tensor) else weight
                    self.passes.backpropagate(second.loss * scale)
        return second.detached()

    def _reruns(self, first: Pass, inputs: Inputs) -> bool:
        """Whether one encoder and the fusion are enough."""
        return bool(self.view.separable and first.features and self.assumptions.composition(inputs))

    def forward_like(self, first: Pass, inputs: Inputs, target: Tensor) -> Pass:
        """A forward pass like `first` at other weights, or on a part of its samples, on this rank.

        For `compute_gradients`. Same random state, no trace in running statistics.
        """
        with unrecorded(self.view.bare, replay=first.start, save=self.runtime.save):
            return self.passes.forward(inputs, target, local=True, like=first)

    def forward_encoder_like(self, modality: str, first: Pass, inputs: Inputs, target: Tensor) -> Pass:
        """A forward pass like `first` at other weights of one encoder, which alone is run where the model allows it.

        Same random draws, no trace in running statistics; for `compute_gradients` with respect to that encoder.
        """
        if not self._reruns(first, inputs):
            return self.forward_like(first, inputs, target)
        with unrecorded(self.view.bare, save=self.runtime.save):
            return self._forward_encoder_like(modality, first, inputs, target)

    def _forward_encoder_like(self, modality: str, first: Pass, inputs: Inputs, target: Tensor) -> Pass:
        self.runtime.counts.encoder_forwards[modality] += 1
        self.runtime.counts.fusions += 1
        features = {name: feature.detach() for name, feature in first.features.items()}
        with self.runtime.context():
            with replayed(first.before[modality]):
                features[modality] = self.passes.encode_one(modality, inputs[modality])
            with replayed(first.between):
                logits = self.view.bare.fuse(features)
            return replace(first, loss=self.passes.batch_loss(logits, target), logits=logits, features=features)

"""Second derivatives: the loss in evaluation mode as a function of some weights alone.

with objective.curvature.loss_at(inputs, target, weights) as loss:
    slope = objective.curvature.gradient(loss, weights)
    bent = objective.curvature.hessian_product(loss, weights, slope)        # H g
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from msam.coalition import Absent, absent_features, absent_inputs
from msam.model_state import requires_grad_only, seeded_state, unrecorded
from msam.objective.differentiation import REENTRANT, node_names
from msam.objective.evaluation import Evaluation, expand_rows
from msam.types import Coalition, Inputs

_ONCE = (
    "A part of the model has no second derivative ({}); use a measure that needs no Hessian, or another "
    "implementation of that part."
)


class Curvature:
    """Derivatives of a loss that are nobody's training gradient.

    Args:
        evaluation: coalitions in evaluation mode, and how passes are made.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation, self.passes = evaluation, evaluation.passes
        self.view, self.runtime = evaluation.view, evaluation.runtime

    @contextmanager
    def loss_at(
        self,
        inputs: Inputs,
        target: Tensor,
        weights: Sequence[Tensor] = (),
        coalition: Coalition | None = None,
        absent: Absent = "zero-input",
        seed: int = 0,
    ) -> Iterator[Tensor]:
        """The loss in evaluation mode as a function of `weights` alone, for `gradient` and `hessian_product` inside.

        The model is the same afterwards. What an absent modality looks like moves with the weights it is made from, so
        that the loss of a coalition is one function of the weights. Attention is computed by the formula, and recurrent
        layers without cuDNN, because the fused kernels have no second derivative.

        Args:
            inputs: modality -> `[batch, ...]`.
            target: `[batch, ...]`.
            weights: parameters to differentiate by; without any, nothing is kept for derivatives.
            coalition: modalities that are present, None for all.
            absent: what the others look like.
            seed: of the partners of `absent="shuffle"`, and of a model that draws even in evaluation mode.

        Raises:
            ValueError: if the coalition is empty or has an unknown modality.
        """
        draws = seeded_state(seed, [self.view.device])
        with (
            unrecorded(self.view.bare, replay=draws, in_evaluation=True, save=self.runtime.save),
            requires_grad_only(weights, among=self.view.parameters()),
            _twice_differentiable(self.view.bare) if weights else torch.no_grad(),
        ):
            with self.runtime.context():
                logits = self._coalition_logits(self.passes.prepared(inputs), len(target), coalition, absent, seed)
                loss = self.passes.batch_loss(logits, target)
            yield loss

    def gradient(self, loss: Tensor, weights: Sequence[Tensor], *, create_graph: bool = False) -> list[Tensor]:
        """`d loss / d weights`, one tensor a weight; `.grad` is not touched.

        Args:
            loss: what `loss_at` gives.
            weights: those that it was given.
            create_graph: keep what differentiating the result needs.

        Raises:
            ValueError: if the loss depends on none of the weights.
        """
        parts: Sequence[Tensor | None] = [None]
        if REENTRANT in node_names([loss]):
            raise ValueError(_ONCE.format("a reentrant checkpoint; pass use_reentrant=False"))
        if loss.requires_grad:
            parts = torch.autograd.grad(loss, list(weights), create_graph=create_graph, allow_unused=True)
        if all(part is None for part in parts):
            raise ValueError("The loss does not depend on these weights; choose others, or a coalition that uses them.")
        return [torch.zeros_like(w) if part is None else part for w, part in zip(weights, parts, strict=True)]

    def hessian_product(self, loss: Tensor, weights: Sequence[Tensor], vectors: Sequence[Tensor]) -> list[Tensor]:
        """`H v` by differentiating twice (Pearlmutter 1994), `H` the Hessian of the loss by the weights.

        Args:
            loss: what `loss_at` gives.
            weights: those that it was given.
            vectors: one tensor a weight.

        Raises:
            ValueError: if the gradient is, to automatic differentiation, no function of the weights, or only in part.
        """
        slopes = self.gradient(loss, weights, create_graph=True)
        moving = [(slope, vector) for slope, vector in zip(slopes, vectors, strict=True) if slope.requires_grad]
        if not moving:
            raise ValueError(
                "The gradient does not depend on the weights: the loss is linear in them, or a part of the model or of "
                "the criterion cannot be differentiated twice; use a measure that needs no Hessian."
            )
        outputs, along = zip(*moving, strict=True)
        if "torch::autograd::Error" in node_names(outputs):  # left by once_differentiable; torch would pass over it
            raise ValueError(_ONCE.format("a custom function marked once_differentiable"))
        try:
            return list(torch.autograd.grad(outputs, list(weights), along, materialize_grads=True))
        except RuntimeError as error:
            if "not implemented" not in str(error):
                raise
            raise ValueError(_ONCE.format(str(error).splitlines()[0])) from error

    def _coalition_logits(
        self, inputs: Inputs, batch: int, coalition: Coalition | None, absent: Absent, seed: int
    ) -> Tensor:
        """Logits of one coalition, differentiable; encoders of absent modalities run on no more than they have to."""
        names = self.view.modalities(inputs)
        gone = [] if coalition is None else [name for name in names if name not in coalition]
        if coalition is not None and not 0 < len(coalition) == len(names) - len(gone):
            raise ValueError(f"A coalition is some of the modalities {list(names)}, found {sorted(coalition)}.")
        generator = torch.Generator().manual_seed(seed)
        if gone and self.evaluation.fuses(inputs, absent):
            replaced = self._replaced_features(inputs, gone, absent, generator)
            features = {name: self.passes.encode_one(name, inputs[name]) for name in names if name not in gone}
            features |= expand_rows(replaced, len(next(iter(features.values()))))
            logits: Tensor = self.view.bare.fuse({name: features[name] for name in names})
            return logits
        chosen = {name: inputs[name] for name in gone}
        return self.runtime.call(self.view.bare, {**inputs, **absent_inputs(absent, chosen, generator, batch)})

    def _replaced_features(
        self, inputs: Inputs, gone: Sequence[str], absent: Absent, generator: torch.Generator
    ) -> dict[str, Tensor]:
        shown = inputs if absent in ("mean-feature", "shuffle") else self.evaluation.first_rows(inputs)
        seen = {name: self.passes.encode_one(name, shown[name]) for name in gone}
        return absent_features(absent, seen, partial(self.evaluation.encode_zeros, inputs), generator)


@contextmanager
def _twice_differentiable(model: nn.Module) -> Iterator[None]:
    """Derivatives on, and kernels that have second ones."""
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    plain = torch.backends.cudnn.flags(enabled=False) if recurrent else nullcontext()
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), plain:
        yield

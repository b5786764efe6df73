"""Coalitions with their graph: losses of some of the modalities that can be trained on.

live = objective.forward(inputs, target)
logits = objective.coalitions.training_logits(live, inputs, masks)      # [coalitions, batch, classes]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from msam.coalition import Absent, absent_features
from msam.deprecation import Renamed
from msam.model_state import on_gradient, random_state, replayed, requires_grad_only, trainable, unrecorded
from msam.objective.differentiation import differentiate, nested_backward
from msam.objective.evaluation import Evaluation, expand_rows
from msam.objective.isolated import isolated
from msam.objective.passes import Pass
from msam.types import Features, Inputs


@dataclass(frozen=True)
class Part:
    """A linear combination of coalitions' logits, such as one modality's Shapley logits.

    Args:
        masks: coalitions, booleans `[coalitions, modalities]`.
        coefficients: `[coalitions]`.
        absent: what an absent modality looks like.
    """

    masks: Tensor
    coefficients: Tensor
    absent: Absent


class Coalitions:
    """Training passes of some of the modalities.

    Args:
        evaluation: coalitions in evaluation mode, and how passes are made.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation, self.passes = evaluation, evaluation.passes
        self.view, self.runtime = evaluation.view, evaluation.runtime

    def training_logits(
        self, live: Pass, inputs: Inputs, masks: Tensor, absent: Absent = "zero-input", *, in_evaluation: bool = False
    ) -> Tensor:
        """Logits of coalitions with their graph, `[coalitions, batch, classes]`; all modalities' are those of `live`.

        In the mode of training they are made from the features and random draws of `live`; in evaluation mode inputs
        are encoded again. An all-zero input is encoded in evaluation mode, with gradient, in both. A model that cannot
        fuse features is run once a coalition. There is no trace in running statistics or the random stream.

        Args:
            live: the training pass at the same inputs.
            inputs: modality -> `[batch, ...]`.
            masks: booleans `[coalitions, modalities]`.
            absent: what an absent modality looks like.
            in_evaluation: run the coalitions that leave out a modality in evaluation mode.
        """
        compute = self._fusion_coalitions if self.evaluation.fuses(inputs, absent) else self._masked_coalitions
        some = masks[~masks.all(1)]
        if not len(some):
            return torch.stack([live.logits] * len(masks))
        state = partial(
            unrecorded, self.view.bare, replay=live.start, in_evaluation=in_evaluation, save=self.runtime.save
        )
        logits = self._isolated(
            lambda features: torch.stack(
                compute(replace(live, features=features), inputs, some, absent, in_evaluation)
            ),
            {} if in_evaluation else live.features,
            state,
        )
        others = iter(logits)
        logits = torch.stack([live.logits if full else next(others) for full in masks.all(1).tolist()])
        return self.evaluation.check_numbers(logits, masks, absent, inputs)

    __call__ = Renamed("training_logits")

    def fused(self, live: Pass, features: Features) -> Tensor:
        """What the fusion makes of other features, with the random draws of a pass and the graph, `[batch, classes]`.

        There is no trace in running statistics or the random stream.
        """
        return self._isolated(
            partial(self._fuse, live), features, partial(unrecorded, self.view.bare, save=self.runtime.save)
        )

    def accumulate_part_gradient(
        self,
        first: Pass,
        inputs: Inputs,
        target: Tensor,
        part: Part,
        weight: float = 1.0,
        *,
        local: bool = False,
    ) -> Pass:
        """Adds `weight` times the gradient of one part of the logits: `J_Phi^T dl/dz` with `Phi = sum_S c_S z_S`.

        The loss's derivative `dl/dz` is held constant; the parts of all modalities sum to the plain gradient
        (AGM, Li et al. 2023). Absent features are constants. Coalitions are run one by one (an additive fusion in
        closed form) in the model's own mode with the random draws of `first`, so that batch statistics and dropout
        masks are those of its pass; no trace is left in running statistics.

        Args:
            first: the pass at the same inputs whose random draws are repeated.
            inputs: modality -> `[batch, ...]`.
            target: `[batch, ...]`.
            part: the coalitions and their coefficients.
            weight: of the gradient.
            local: in data-parallel training, leave this gradient on its own rank.
        """
        ranks = self.passes.distributed.on_this_rank() if local else nullcontext()
        with unrecorded(self.view.bare, replay=first.start, save=self.runtime.save), ranks:
            live = self.passes.run(inputs, target, like=first)
            with self.runtime.context():
                (slope,) = torch.autograd.grad(live.loss, live.logits)
                along = self._along(part, live, inputs)
            self.passes.backpropagate((along * slope).sum() * weight)
        return live.detached()

    def accumulate_coalition_gradient(self, inputs: Inputs, target: Tensor, modality: str, absent: Absent) -> Pass:
        """Adds the gradient of the loss of one modality alone; only its encoder and the fusion are trained."""
        block = {*self.view.encoders[modality].parameters(), *self.view.fusion_parameters()}
        distributed, start = self.passes.distributed, random_state([self.view.device])
        with requires_grad_only(list(block), among=self.view.parameters()):
            with self.runtime.context():
                logits = self._alone(inputs, modality, absent)
                loss = self.passes.batch_loss(logits, target)
            with distributed.on_this_rank():
                self.passes.backpropagate(loss)
        distributed.share_gradients()
        return Pass(loss, logits, {}, start, {}, start).detached()

    def _isolated(
        self,
        compute: Callable[[Features], Tensor],
        features: Features,
        state: Callable[[], AbstractContextManager[Any]],
    ) -> Tensor:
        """Computes within a state of the model that is entered again when the result is back-propagated."""

        def within(features: Features) -> Tensor:
            with self.runtime.context():
                return compute(features)

        return isolated(within, features, trainable(self.view.bare), state, self._differentiate)

    def _differentiate(
        self, outputs: Sequence[Tensor], weights: Sequence[Tensor], along: Sequence[Tensor]
    ) -> Sequence[Tensor | None]:
        ranks = self.passes.distributed.active
        nested = nested_backward(outputs)
        return differentiate(outputs, weights, self.view.parameters, along=along, ranks=ranks, nested=nested)

    def _encode_zeros(self, inputs: Inputs, name: str) -> Tensor:
        """What a modality's encoder makes of an all-zero input, in evaluation mode, with its graph, `[1, ...]`."""
        encoder = self.view.encoders[name]
        state = partial(unrecorded, encoder, in_evaluation=True, save=self.runtime.save)
        encode = partial(self.evaluation.encode_zeros, inputs, name)
        return isolated(lambda _: encode(), {}, trainable(encoder), state, self._differentiate)

    def _along(self, part: Part, live: Pass, inputs: Inputs) -> Tensor:
        full = part.masks.all(1)
        along = float(part.coefficients[full].sum()) * live.logits
        rest = ~full & (part.coefficients != 0)
        each = self._part_logits(part, live, inputs, part.masks[rest])
        for logits, coefficient in zip(each, part.coefficients[rest].tolist(), strict=True):
            along = along + coefficient * logits
        return along

    def _part_logits(self, part: Part, live: Pass, inputs: Inputs, masks: Tensor) -> list[Tensor]:
        """Logits of some coalitions of a part, with the draws of a pass and their graph."""
        if not self.evaluation.fuses(inputs, part.absent):
            return self._masked_coalitions(live, inputs, masks, part.absent, False)
        present = live.features or self._encoded_again(inputs, live)
        absent = self.evaluation.absent_features(inputs, present, part.absent)
        return self._fuse_coalitions_like(live, present, absent, masks)

    def _fuse_coalitions_like(self, live: Pass, present: Features, absent: Features, masks: Tensor) -> list[Tensor]:
        """Coalitions' logits with the random draws that the fusion had in a pass, with their graph."""
        if "additive_fusion" not in self.view.capabilities:
            return [self._fuse_coalition_like(live, present, absent, mask) for mask in masks.tolist()]
        with replayed(live.between):
            return list(self.evaluation.summed_logits(present, absent, masks))

    def _fuse_coalition_like(self, live: Pass, present: Features, absent: Features, mask: Sequence[bool]) -> Tensor:
        """One coalition's logits with the random draws that the fusion had in a pass, with their graph."""
        members = zip(self.view.encoders, mask, strict=True)
        features = {name: present[name] if chosen else absent[name] for name, chosen in members}
        return self._fuse(live, expand_rows(features, len(live.logits)))

    def _fuse(self, live: Pass, features: Features) -> Tensor:
        self.runtime.counts.fusions += 1
        with replayed(live.between):
            logits: Tensor = self.view.bare.fuse(features)
        return logits

    def _fusion_coalitions(
        self, live: Pass, inputs: Inputs, masks: Tensor, absent: Absent, in_evaluation: bool
    ) -> list[Tensor]:
        if in_evaluation or not live.features:
            present = self._encoded_again(inputs, live)
            for name, feature in present.items():
                on_gradient(feature, partial(self.runtime.count_encoder_backward, name))
        else:
            present = dict(live.features)
        replacements = absent_features(absent, present, partial(self._encode_zeros, inputs))
        if in_evaluation and len(masks):
            return list(self.evaluation.fuse_coalitions(present, replacements, masks))
        return self._fuse_coalitions_like(live, present, replacements, masks)

    def _masked_coalitions(
        self, live: Pass, inputs: Inputs, masks: Tensor, absent: Absent, in_evaluation: bool
    ) -> list[Tensor]:
        seen, logits = {name: inputs[name] for name in self.view.modalities(inputs)}, []
        for mask in masks:
            with replayed(live.start):
                logits += list(self.evaluation.masked_logits(seen, inputs, mask[None], absent, None))
        return logits

    def _encoded_again(self, inputs: Inputs, first: Pass) -> dict[str, Tensor]:
        """Features of a pass in which they could not be observed."""
        self.runtime.counts.encoder_forwards.update(self.view.encoders.keys())
        with replayed(first.start):
            return self.passes.encode(inputs)

    def _alone(self, inputs: Inputs, modality: str, absent: Absent) -> Tensor:
        with self.evaluation.evaluating():
            self.evaluation.assumptions.require_composition(inputs, "A modality is trained alone through `fuse`")
            shown = self.evaluation.first_rows({name: inputs[name] for name in self.view.encoders})
            one = self.passes.encode(inputs if absent in ("mean-feature", "shuffle") else shown)
        self.runtime.counts.encoder_forwards[modality] += 1
        self.runtime.counts.fusions += 1
        feature = self.passes.encode_one(modality, inputs[modality])
        replacements = self.evaluation.absent_features(inputs, one, absent)
        logits: Tensor = self.view.bare.fuse(expand_rows({**replacements, modality: feature}, len(feature)))
        return logits

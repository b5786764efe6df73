"""Coalitions with their graph: losses of some of the modalities that can be trained on.

live = objective.forward(inputs, target)
logits = objective.coalitions(live, inputs, masks)      # [coalitions, batch, classes], of the draws of `live`
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from msam.coalition import Absent, absent_features
from msam.model_state import evaluation, only, replayed, told, unrecorded
from msam.objective.evaluation import expand_rows
from msam.objective.forward import Part, Pass
from msam.objective.gradients import TrainingGradients
from msam.types import Features, Inputs


class Coalitions(TrainingGradients):
    """Training passes of some of the modalities."""

    def coalitions(
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
        make = self._fusion_coalitions if self.can_fuse else self._masked_coalitions
        mode = evaluation(self.bare) if in_evaluation else unrecorded(self.bare)
        with self._context(), mode, replayed(live.start):
            found = iter(make(live, inputs, masks[~masks.all(1)], absent, in_evaluation))
        return torch.stack([live.logits if full else next(found) for full in masks.all(1).tolist()])

    def fused(self, live: Pass, features: Features) -> Tensor:
        """What the fusion makes of other features, with the random draws of a pass and the graph, `[batch, classes]`.

        There is no trace in running statistics or the random stream.
        """
        with self._context(), unrecorded(self.bare):
            return self._fuse(live, features)

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
        with replayed(first.start), unrecorded(self.bare), self._on_this_rank(local):
            live = self._pass(inputs, target)
            with self._context():
                (slope,) = torch.autograd.grad(live.loss, live.logits)
                along = self._along(part, live, inputs)
            self.backpropagate((along * slope).sum() * weight)
        return live.detached()

    def accumulate_coalition_gradient(self, inputs: Inputs, target: Tensor, modality: str, absent: Absent) -> Pass:
        """Adds the gradient of the loss of one modality alone; only its encoder and the fusion are trained."""
        block = set(self.encoders[modality].parameters()) | set(self._fusion_parameters())
        start = self._random_state()
        with only(list(block), among=self.parameters()):
            with self._context():
                logits = self._alone(inputs, modality, absent)
                loss = self.loss(logits, target)
            with self._on_this_rank(True):
                self.backpropagate(loss)
        self.share_gradients()
        return Pass(loss, logits, {}, start, {}, start).detached()

    def _along(self, part: Part, live: Pass, inputs: Inputs) -> Tensor:
        present = live.features or self._encoded_again(inputs, live)
        absent = self._absent_features(inputs, present, part.absent)
        full = part.masks.all(1)
        along = float(part.coefficients[full].sum()) * live.logits
        rest = ~full & (part.coefficients != 0)
        masks, coefficients = part.masks[rest], part.coefficients[rest]
        for logits, coefficient in zip(
            self._fuse_coalitions_like(live, present, absent, masks), coefficients.tolist(), strict=True
        ):
            along = along + coefficient * logits
        return along

    def _fuse_coalitions_like(self, live: Pass, present: Features, absent: Features, masks: Tensor) -> list[Tensor]:
        """Coalitions' logits with the random draws that the fusion had in a pass, with their graph."""
        if "additive_fusion" not in self.capabilities:
            return [self._fuse_coalition_like(live, present, absent, mask) for mask in masks.tolist()]
        self.counts.fusions += 2
        with replayed(live.between):
            return list(self._summed_logits(present, absent, masks))

    def _fuse_coalition_like(self, live: Pass, present: Features, absent: Features, mask: Sequence[bool]) -> Tensor:
        """One coalition's logits with the random draws that the fusion had in a pass, with their graph."""
        members = zip(self.encoders, mask, strict=True)
        features = {name: present[name] if chosen else absent[name] for name, chosen in members}
        return self._fuse(live, expand_rows(features, len(live.logits)))

    def _fuse(self, live: Pass, features: Features) -> Tensor:
        self.counts.fusions += 1
        with replayed(live.between):
            logits: Tensor = self.bare.fuse(features)
        return logits

    def _fusion_coalitions(
        self, live: Pass, inputs: Inputs, masks: Tensor, absent: Absent, in_evaluation: bool
    ) -> list[Tensor]:
        if in_evaluation or not live.features:
            present = self._encoded_again(inputs, live)
            for name, feature in present.items():
                told(feature, partial(self._count_encoder_backward, name))
        else:
            present = dict(live.features)
        replacements = absent_features(absent, present, partial(self._encode_zeros, inputs))
        if in_evaluation and len(masks):
            self.counts.fusions += len(masks)
            return list(self._fuse_stacked(present, replacements, masks.to(self.device)))
        return self._fuse_coalitions_like(live, present, replacements, masks)

    def _masked_coalitions(
        self, live: Pass, inputs: Inputs, masks: Tensor, absent: Absent, in_evaluation: bool
    ) -> list[Tensor]:
        seen, logits = {name: inputs[name] for name in self.modalities(inputs)}, []
        for mask in masks:
            with replayed(live.start):
                logits += list(self._masked_logits(seen, inputs, mask[None], absent, None))
        return logits

    def _encoded_again(self, inputs: Inputs, first: Pass) -> dict[str, Tensor]:
        """Features of a pass in which they could not be observed."""
        self.counts.encoder_forwards.update(self.encoders.keys())
        with replayed(first.start):
            return self._encode(inputs)

    def _alone(self, inputs: Inputs, modality: str, absent: Absent) -> Tensor:
        with self.evaluating():
            one = self._encode({name: inputs[name][:1] for name in self.encoders})
        self.counts.encoder_forwards[modality] += 1
        self.counts.fusions += 1
        feature = self.encoders[modality](inputs[modality])
        replacements = self._absent_features(inputs, one, absent)
        logits: Tensor = self.bare.fuse(expand_rows({**replacements, modality: feature}, len(feature)))
        return logits

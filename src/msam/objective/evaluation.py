"""Evaluation mode: logits, features and coalitions, without gradients; nothing is changed.

    logits = objective.coalition_logits(inputs, masks, "zero-input")     # [coalitions, batch, classes]

Encoders run once for all coalitions of a model that can fuse; an additive fusion is summed in closed form.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from msam.coalition import Absent, absent_features, absent_inputs, mixed
from msam.model_state import device_of, evaluation, random_state, set_random_state, unrecorded
from msam.objective.passes import Pass, Passes
from msam.presence import absent_masks, completed, is_mask
from msam.types import Features, Inputs

_ROWS = 8192
"""Rows of stacked coalitions that one fusion call takes at most; bounds memory, not results."""


class Evaluation:
    """What a model computes in evaluation mode; it and the random stream are the same afterwards.

    Args:
        passes: how passes are made.
    """

    def __init__(self, passes: Passes) -> None:
        self.passes, self.view, self.runtime = passes, passes.view, passes.runtime

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode, no gradients: model and random stream are the same afterwards."""
        bare = self.view.bare
        present = random_state([device_of(bare)])
        try:
            with torch.no_grad(), unrecorded(bare, in_evaluation=True, save=self.runtime.save), self.runtime.context():
                yield
        finally:
            set_random_state(present)

    def logits(self, inputs: Inputs) -> Tensor:
        """The model's output in evaluation mode, `[batch, classes]`."""
        with self.evaluating():
            self.passes.count_forward()
            return self.runtime.call(self.view.bare, self.passes.prepared(inputs))

    def features(self, inputs: Inputs) -> dict[str, Tensor]:
        """Encoder outputs in evaluation mode, `[batch, ...]` each."""
        with self.evaluating():
            return self._encoded(self.passes.prepared(inputs))

    def coalition_logits(
        self,
        inputs: Inputs,
        masks: Tensor,
        absent: Absent,
        features: Features | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Logits of several coalitions, in evaluation mode, `[coalitions, batch, classes]`.

        Encoders run once (never, with `features` given) if the model can fuse, else the model runs once a coalition.

        Args:
            inputs: modality -> `[batch, ...]`.
            masks: booleans `[coalitions, modalities]`.
            absent: what an absent modality looks like.
            features: encoder outputs to use instead of encoding, `[batch, ...]` each.
            generator: for `absent="shuffle"`.
        """
        inputs = self.passes.prepared(inputs)
        with self.evaluating():
            if not self.view.can_fuse:
                seen = {name: inputs[name] for name in self.view.modalities(inputs)}
                return self.masked_logits(seen, inputs, masks, absent, generator)
            present = features or self._encoded(inputs)
            if absent == "zero-input":
                encoders = self.view.encoders.items()
                replacements = {name: encoder(torch.zeros_like(inputs[name][:1])) for name, encoder in encoders}
            else:
                replacements = absent_features(absent, present, partial(self.encode_zeros, inputs), generator)
            if any(map(is_mask, inputs)):
                present = completed(present, replacements, inputs)
            if "additive_fusion" in self.view.capabilities:
                return self.summed_logits(present, replacements, masks)
            rows = torch.split(masks.to(self.view.device), max(1, _ROWS // len(next(iter(present.values())))))
            return torch.cat([self.fuse_stacked(present, replacements, some) for some in rows])

    def parts(self, live: Pass) -> Tensor:
        """Each modality's additive part of a pass's logits, without gradients, `[modalities, batch, classes]`."""
        self.runtime.counts.fusions += 1
        live.require_features()
        with torch.no_grad(), self.runtime.context():
            parts = self.view.bare.partial(live.features)
            return torch.stack([parts[name] for name in self.view.encoders])

    def absent_features(
        self, inputs: Inputs, present: Features, absent: Absent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """What each modality's feature is when it is absent, without gradient."""
        with self.evaluating() if absent == "zero-input" else torch.no_grad():
            return absent_features(absent, present, partial(self.encode_zeros, inputs), generator)

    def encode_zeros(self, inputs: Inputs, name: str) -> Tensor:
        """What a modality's encoder makes of an all-zero input, in evaluation mode, `[1, ...]`."""
        with evaluation(self.view.encoders[name]):
            feature: Tensor = self.view.encoders[name](torch.zeros_like(inputs[name][:1]))
            return feature

    def summed_logits(self, present: Features, absent: Features, masks: Tensor) -> Tensor:
        """Additive fusion in closed form: `z_S = sum_m A_m + sum_{m in S} (P_m - A_m)`, one small matrix product."""
        self.runtime.counts.fusions += 2
        names, partial_logits = self.view.encoders, self.view.bare.partial
        with_all, with_none = (
            partial_logits(present),
            partial_logits(expand_rows(absent, len(next(iter(present.values()))))),
        )
        parts = torch.stack(list(map(with_all.__getitem__, names)))
        without = torch.stack(list(map(with_none.__getitem__, names)))
        chosen = masks.to(parts.device, parts.dtype)
        return without.sum(0) + torch.einsum("sm,mbc->sbc", chosen, parts - without)

    def fuse_stacked(self, present: Features, absent: Features, masks: Tensor) -> Tensor:
        """Several coalitions in one call of the fusion, `[coalitions, batch, classes]`."""
        self.runtime.counts.fusions += len(masks)
        logits: Tensor = self.view.bare.fuse(mixed(present, absent, masks))
        return logits.reshape(len(masks), -1, *logits.shape[1:])

    def masked_logits(
        self, seen: Inputs, inputs: Inputs, masks: Tensor, absent: Absent, generator: torch.Generator | None
    ) -> Tensor:
        """One run of the model for each coalition, with absent inputs replaced, `[coalitions, batch, classes]`."""
        replacements = absent_inputs(absent, seen, generator)
        seen, logits = completed(seen, replacements, inputs), []
        for mask in masks.tolist():
            chosen = {m: seen[m] if present else replacements[m] for m, present in zip(seen, mask, strict=True)}
            without = absent_masks((m for m, present in zip(seen, mask, strict=True) if not present), inputs)
            self.passes.count_forward()
            logits.append(self.runtime.call(self.view.bare, {**inputs, **chosen, **without}))
        return torch.stack(logits)

    def _encoded(self, inputs: Inputs) -> dict[str, Tensor]:
        self.runtime.counts.encoder_forwards.update(self.view.encoders.keys())
        return self.passes.encode(inputs)


def expand_rows(features: Features, batch: int) -> dict[str, Tensor]:
    """Features with as many rows as the batch; single rows are repeated without being copied."""
    return {name: feature.expand(batch, *feature.shape[1:]) for name, feature in features.items()}

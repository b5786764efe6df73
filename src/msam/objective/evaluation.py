"""Looking without touching: logits, features and coalitions in evaluation mode, without gradients.

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
from msam.model_state import evaluation, replayed, unrecorded
from msam.objective.forward import Forward, Pass
from msam.presence import absent_masks, completed, zero_absent_rows
from msam.types import Features, Inputs

_ROWS = 8192
"""Rows of stacked coalitions that one fusion call takes at most; bounds memory, not results."""


class Evaluation(Forward):
    """What a model says in evaluation mode; it and the random stream are the same afterwards."""

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode, no gradients: model and random stream are the same afterwards."""
        present = self._random_state()
        with torch.no_grad(), evaluation(self.bare), unrecorded(self.bare), replayed(present), self._context():
            yield

    def logits(self, inputs: Inputs) -> Tensor:
        """The model's output in evaluation mode, `[batch, classes]`."""
        with self.evaluating():
            self._count_forward()
            return self._call(self.bare, zero_absent_rows(inputs))

    def features(self, inputs: Inputs) -> dict[str, Tensor]:
        """Encoder outputs in evaluation mode, `[batch, ...]` each."""
        with self.evaluating():
            return self._encoded(zero_absent_rows(inputs))

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
        inputs, names = zero_absent_rows(inputs), self.modalities(inputs)
        with self.evaluating():
            if not self.can_fuse:
                return self._masked_logits({name: inputs[name] for name in names}, inputs, masks, absent, generator)
            present = features or self._encoded(inputs)
            replacements = absent_features(absent, present, partial(self._encode_zeros, inputs), generator)
            present = completed(present, replacements, inputs)
            if "additive_fusion" in self.capabilities:
                self.counts.fusions += 2
                return self._summed_logits(present, replacements, masks)
            self.counts.fusions += len(masks)
            rows = torch.split(masks.to(self.device), max(1, _ROWS // len(next(iter(present.values())))))
            return torch.cat([self._fuse_stacked(present, replacements, some) for some in rows])

    def parts(self, live: Pass) -> Tensor:
        """Each modality's additive part of a pass's logits, without gradients, `[modalities, batch, classes]`."""
        self.counts.fusions += 1
        with torch.no_grad(), self._context():
            parts = self.bare.partial(live.features)
            return torch.stack([parts[name] for name in self.encoders])

    def _encoded(self, inputs: Inputs) -> dict[str, Tensor]:
        self.counts.encoder_forwards.update(self.encoders.keys())
        return self._encode(inputs)

    def _absent_features(
        self, inputs: Inputs, present: Features, absent: Absent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        with self.evaluating() if absent == "zero-input" else torch.no_grad():
            return absent_features(absent, present, partial(self._encode_zeros, inputs), generator)

    def _encode_zeros(self, inputs: Inputs, name: str) -> Tensor:
        """What a modality's encoder makes of an all-zero input, in evaluation mode, `[1, ...]`."""
        with evaluation(self.encoders[name]):
            feature: Tensor = self.encoders[name](torch.zeros_like(inputs[name][:1]))
            return feature

    def _summed_logits(self, present: Features, absent: Features, masks: Tensor) -> Tensor:
        """Additive fusion in closed form: `z_S = sum_m A_m + sum_{m in S} (P_m - A_m)`, one small matrix product."""
        batch = len(next(iter(present.values())))
        parts, without = (self.bare.partial(features) for features in (present, expand_rows(absent, batch)))
        parts, without = (torch.stack([each[name] for name in self.encoders]) for each in (parts, without))
        chosen = masks.to(parts.device, parts.dtype)
        return without.sum(0) + torch.einsum("sm,mbc->sbc", chosen, parts - without)

    def _fuse_stacked(self, present: Features, absent: Features, masks: Tensor) -> Tensor:
        logits: Tensor = self.bare.fuse(mixed(present, absent, masks))
        return logits.reshape(len(masks), -1, *logits.shape[1:])

    def _masked_logits(
        self, seen: Inputs, inputs: Inputs, masks: Tensor, absent: Absent, generator: torch.Generator | None
    ) -> Tensor:
        replacements = absent_inputs(absent, seen, generator)
        seen, logits = completed(seen, replacements, inputs), []
        for mask in masks.tolist():
            chosen = {m: seen[m] if present else replacements[m] for m, present in zip(seen, mask, strict=True)}
            said = absent_masks((m for m, present in zip(seen, mask, strict=True) if not present), inputs)
            self._count_forward()
            logits.append(self._call(self.bare, {**inputs, **chosen, **said}))
        return torch.stack(logits)


def expand_rows(features: Features, batch: int) -> dict[str, Tensor]:
    """Features with as many rows as the batch; single rows are repeated without being copied."""
    return {name: feature.expand(batch, *feature.shape[1:]) for name, feature in features.items()}

"""Evaluation mode: logits, features and coalitions, without gradients; nothing is changed.

    logits = objective.coalition_logits(inputs, masks, "zero-input")     # [coalitions, batch, classes]

Encoders run once for all coalitions of a model that can fuse; an additive fusion is summed in closed form.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from msam.coalition import Absent, absent_features, absent_inputs, mixed
from msam.features import required
from msam.model_state import Capture, device_of, evaluation, random_state, set_random_state, unrecorded
from msam.nested import zeros_of
from msam.objective.assumptions import Assumptions
from msam.objective.passes import Pass, Passes
from msam.presence import absent_masks, completed, is_mask, without_missing
from msam.types import Features, Inputs

_ROWS = 8192
"""Rows of stacked coalitions that one fusion call takes at most; bounds memory, not results."""

_REFUSALS = (RuntimeError, ValueError, IndexError, TypeError)
"""What a module raises on an input that it cannot take."""

_FAILS = (
    "An all-zero input is no input of modality {!r}: {}; say otherwise what an absent modality looks like, such as "
    "absent='zero-feature', or absent='shuffle' for a model without `fuse`."
)


class Evaluation:
    """What a model computes in evaluation mode; it and the random stream are the same afterwards.

    Args:
        passes: how passes are made.
    """

    def __init__(self, passes: Passes) -> None:
        self.passes, self.view, self.runtime = passes, passes.view, passes.runtime
        self.assumptions = Assumptions(passes)
        self._sound: set[str] = set()
        self._numbers = False  # whether coalitions were looked at for numbers
        self._settled = False  # an encoder's output for one row of zeros is its feature when absent

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
        """Features of the encoders' outputs in evaluation mode, `[batch, ...]` each."""
        inputs = self.passes.prepared(inputs)
        with self.evaluating():
            return self._encoded(inputs) if self.assumptions.composition(inputs) else self._observed(inputs)

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
            tensors = set(map(type, inputs.values())) == {Tensor}
            if absent == "zero-input" and tensors and self._settled:
                present = features or self._encoded(inputs)
                encoders = self.view.encoders.items()
                replacements = {name: encoder(torch.zeros_like(inputs[name][:1])) for name, encoder in encoders}
            elif self.fuses(inputs, absent):
                present = features or self._encoded(inputs)
                replacements = absent_features(absent, present, partial(self.encode_zeros, inputs), generator)
                self._settled = self.assumptions.hold and self.view.feature.plain
            else:
                seen = {name: inputs[name] for name in self.view.modalities(inputs)}
                logits = self.masked_logits(seen, inputs, masks, absent, generator)
                return self.check_numbers(logits, masks, absent, inputs)
            if any(map(is_mask, inputs)):
                present = completed(present, replacements, inputs)
            if not tensors:
                present = without_missing(present, replacements, inputs)
            if "additive_fusion" in self.view.capabilities:
                logits = self.summed_logits(present, replacements, masks)
            else:
                logits = self.fuse_coalitions(present, replacements, masks)
            if not self._numbers or (logits.device.type == "cpu" and bool(logits.isnan().any())):
                self.check_numbers(logits, masks, absent, inputs)
            return logits

    def parts(self, live: Pass) -> Tensor:
        """Each modality's additive part of a pass's logits, without gradients, `[modalities, batch, classes]`."""
        self.runtime.counts.fusions += 1
        with torch.no_grad(), self.runtime.context():
            parts = self.view.bare.partial({name: required(live.features, name) for name in self.view.encoders})
            return torch.stack([parts[name] for name in self.view.encoders])

    def absent_features(
        self, inputs: Inputs, present: Features, absent: Absent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """What each modality's feature is when it is absent, without gradient."""
        with self.evaluating() if absent == "zero-input" else torch.no_grad():
            return absent_features(absent, present, partial(self.encode_zeros, inputs), generator)

    def encode_zeros(self, inputs: Inputs, name: str) -> Tensor:
        """What a modality's encoder makes of an all-zero input, in evaluation mode, `[1, ...]`."""
        value = self.first_rows({name: inputs[name]})[name]
        with evaluation(self.view.encoders[name]):
            try:
                feature = self.passes.encode_one(name, zeros_of(value))
            except _REFUSALS as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                raise ValueError(_FAILS.format(name, str(error).splitlines()[0])) from error
            if name not in self._sound or feature.device.type == "cpu":
                self._check_zeros(name, feature, inputs[name])
            return feature

    def fuses(self, inputs: Inputs, absent: Absent) -> bool:
        """Whether coalitions are fused of features; else the model is run as a whole, with absent inputs replaced.

        Raises:
            ValueError: if `absent` speaks of features, and those of a model with `fuse` are not what it fuses.
        """
        if self.view.can_fuse and absent in ("zero-feature", "mean-feature"):
            self.assumptions.require_composition(inputs, f"absent={absent!r} replaces features")
        return self.assumptions.composition(inputs)

    def first_rows(self, inputs: Inputs) -> dict[str, Any]:
        """Each modality's input of one sample, or the whole where samples are not apart."""
        apart = self.assumptions.encodes_rows_apart
        return {name: inputs[name][:1] if apart(name, inputs[name]) else inputs[name] for name in inputs}

    def _check_zeros(self, name: str, feature: Tensor, value: Any) -> None:
        """Refuses an encoder to which zeros are no input: no numbers come out of them, though of this batch they do.

        Raises:
            ValueError: saying what else an absent modality may be.
        """
        if not bool(feature.detach().isfinite().all()):
            with torch.no_grad():
                present = self.passes.encode_one(name, value)
            if bool(present.isfinite().all()):
                raise ValueError(_FAILS.format(name, "it gives values that are no numbers"))
        self._sound.add(name)

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

    def fuse_coalitions(self, present: Features, absent: Features, masks: Tensor) -> Tensor:
        """Coalitions stacked into batches where rows are apart, else one by one, `[coalitions, batch, classes]`."""
        masks = masks.to(self.view.device)
        fuse = partial(self.fuse_stacked, present, absent)
        size = 1
        if self.assumptions.fuses_rows_apart(fuse, masks):
            size = max(1, _ROWS // len(next(iter(present.values()))))
        return torch.cat([fuse(some) for some in torch.split(masks, size)])

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
            try:
                logits.append(self.runtime.call(self.view.bare, {**inputs, **chosen, **without}))
            except _REFUSALS as error:
                gone = [name for name, present in zip(seen, mask, strict=True) if not present]
                if not gone or absent != "zero-input" or isinstance(error, torch.OutOfMemoryError):
                    raise
                raise ValueError(_FAILS.format(gone[0], str(error).splitlines()[0])) from error
        return torch.stack(logits)

    def check_numbers(self, logits: Tensor, masks: Tensor, absent: Absent, inputs: Inputs) -> Tensor:
        """The logits of coalitions, unless some are no numbers though those of all modalities are.

        Args:
            logits: `[coalitions, batch, classes]`.
            masks: booleans `[coalitions, modalities]`.
            absent: what an absent modality looks like.
            inputs: the batch.

        Raises:
            ValueError: naming a modality that they lack.
        """
        if self._numbers and logits.device.type != "cpu":
            return logits
        if bool(logits.detach().isnan().any()):
            self._refuse_without_numbers(logits.detach(), masks, absent, inputs)
        self._numbers = True
        return logits

    def _refuse_without_numbers(self, logits: Tensor, masks: Tensor, absent: Absent, inputs: Inputs) -> None:
        wrong = logits.isnan().flatten(1).any(1).cpu() & ~masks.cpu().all(1)
        if not bool(wrong.any()) or bool(self.logits(inputs).isnan().any()):
            return
        lacking = (~masks.cpu()[wrong][0]).nonzero()[0].item()
        name = self.view.modalities(inputs)[int(lacking)]
        if absent == "zero-input":
            raise ValueError(_FAILS.format(name, "the model gives values that are no numbers"))
        raise ValueError(
            f"The model makes no numbers without modality {name!r} when absent={absent!r}, though it does with all; "
            "say otherwise what an absent modality looks like, such as absent='mean-feature' or 'shuffle'."
        )

    def _observed(self, inputs: Inputs) -> dict[str, Tensor]:
        """Features of a pass of the whole model, which may give its encoders more than inputs[modality]."""
        with Capture(self.view.observable, [device_of(self.view.bare)]) as capture:
            self.runtime.call(self.view.bare, inputs)
        if len(capture.outputs) < len(self.view.encoders):
            return self._encoded(inputs)
        self.passes.count_forward()
        return {name: self.view.feature(name, capture.outputs[name]) for name in self.view.encoders}

    def _encoded(self, inputs: Inputs) -> dict[str, Tensor]:
        self.runtime.counts.encoder_forwards.update(self.view.encoders.keys())
        return self.passes.encode(inputs)


def expand_rows(features: Features, batch: int) -> dict[str, Tensor]:
    """Features with as many rows as the batch; single rows are repeated without being copied."""
    return {name: feature.expand(batch, *feature.shape[1:]) for name, feature in features.items()}

"""What coalitions assume of a model, tested once on the first batch: nothing is counted, drawn or changed.

    assumptions.composition(inputs)              # forward is fuse of features, else the model is run as a whole
    assumptions.encodes_rows_apart("audio", audio)     # else an all-zero input is encoded as a whole batch
    assumptions.fuses_rows_apart(fuse, masks)          # else coalitions are fused one at a time

Rows are apart where a sample's result does not depend on the others in its batch, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from msam.model_state import device_of, random_state, unrecorded
from msam.nested import rows_of
from msam.objective.passes import Passes
from msam.presence import is_mask
from msam.types import Inputs

_REFUSALS = (RuntimeError, ValueError, IndexError, TypeError)
"""What a module raises on a batch of a size that it cannot take."""


class Assumptions:
    """Tests of a model's parts in evaluation mode, each made once.

    Args:
        passes: how passes are made.

    Attributes:
        reason: why the forward pass is not `fuse` of features.
    """

    def __init__(self, passes: Passes) -> None:
        self.passes, self.view, self.runtime = passes, passes.view, passes.runtime
        self._composed: bool | None = None
        self.reason = "it shows none"
        self._apart: dict[str, bool] = {}
        self._stacks: bool | None = None
        self._samples_apart: bool | None = None

    @property
    def hold(self) -> bool:
        """Whether the forward pass is known to be `fuse` of features, and all encoders to take rows apart."""
        return bool(self._composed) and all(map(self._apart.get, self.view.encoders))

    def composition(self, inputs: Inputs) -> bool:
        """Whether the forward pass is what `fuse` makes of the features of the encoders' outputs.

        A batch in which samples lack modalities tells nothing, because a model may read its masks.
        """
        if self._composed is None and self.view.can_fuse and not any(map(is_mask, inputs)):
            try:
                self.reason = self._difference(inputs)
            except _REFUSALS as error:
                self.reason = str(error).splitlines()[0]
            self._composed = not self.reason
        return self.view.can_fuse and self._composed is not False

    def require_composition(self, inputs: Inputs, purpose: str) -> None:
        """Refuses a model whose forward pass is another function than `fuse` of features.

        Raises:
            ValueError: with what differs and the ways out.
        """
        if not self.composition(inputs):
            raise ValueError(
                f"{purpose}, but the model's forward pass is not `fuse` of what each encoder makes of "
                f"inputs[modality] alone ({self.reason}); put masks and lengths inside inputs[modality] as a mapping, "
                "or say what `fuse` takes of an output by features=."
            )

    def _difference(self, inputs: Inputs) -> str:
        """What the two differ in, nothing if they are the same."""
        whole = self._tried(lambda: self.runtime.call(self.view.bare, inputs))
        features = self._tried(lambda: self.passes.encode(inputs))
        batch = len(whole)
        wrong = {name: list(f.shape) for name, f in features.items() if not f.dim() or len(f) not in (1, batch)}
        if wrong:
            return f"features must be [batch={batch}, ...], found {wrong}"
        fused = self._tried(lambda: self.view.bare.fuse(features))
        return "" if alike(whole, fused) else "their logits differ at the first batch"

    def encodes_rows_apart(self, modality: str, value: Any) -> bool:
        """Whether an encoder makes the same of a sample alone and in a batch; not so with statistics of the batch.

        Args:
            modality: of the encoder.
            value: its input; one that is no tensor is not taken apart.
        """
        if not isinstance(value, Tensor) or value.is_nested or value.layout != torch.strided or not value.dim():
            return False
        if modality not in self._apart:
            if len(value) < 2:
                return False
            whole = self._tried(lambda: self.passes.encode_one(modality, value))
            try:
                single = self._tried(lambda: self.passes.encode_one(modality, value[:1]))
            except _REFUSALS:
                single = whole[:0]
            self._apart[modality] = alike(whole[:1], single)
        return self._apart[modality]

    def fuses_rows_apart(self, fuse: Callable[[Tensor], Tensor], masks: Tensor) -> bool:
        """Whether coalitions can be fused as one batch; not so for logits among samples or the batch's statistics.

        Args:
            fuse: masks -> logits of those coalitions, stacked into one batch.
            masks: booleans `[coalitions, modalities]`.
        """
        if self._stacks is None:
            if len(masks) < 2:
                return False
            two = masks[[0, -1]]
            apart = torch.cat([self._tried(lambda mask=mask: fuse(mask[None])) for mask in two])  # type: ignore[misc]
            try:
                together = self._tried(lambda: fuse(two))
            except _REFUSALS:
                together = apart[:1]
            self._stacks = alike(apart, together)
        return self._stacks

    def require_rows_apart(self, inputs: Inputs, batch: int, purpose: str) -> None:
        """Refuses a model in which what comes out for a sample depends on the others in its batch.

        Args:
            inputs: modality -> `[batch, ...]`.
            batch: number of samples.
            purpose: what takes samples one by one, for the error.

        Raises:
            ValueError: if some of the samples alone come out otherwise.
        """
        if self._samples_apart is None and batch > 2:
            some = {name: rows_of(value, slice(2), batch) for name, value in inputs.items()}
            whole = self._tried(lambda: self.runtime.call(self.view.bare, inputs))
            try:
                self._samples_apart = alike(whole[:2], self._tried(lambda: self.runtime.call(self.view.bare, some)))
            except _REFUSALS:
                self._samples_apart = False
        if self._samples_apart is False:
            raise ValueError(
                f"{purpose} takes samples as independent, but what the model makes of one depends on the others in its "
                "batch (logits among samples, or statistics of the batch); use the whole batch."
            )

    def _tried(self, run: Callable[[], Any]) -> Any:
        """What a part of the model returns in evaluation mode, without gradient and without a trace."""
        draws = random_state([device_of(self.view.bare)])
        quiet = unrecorded(self.view.bare, replay=draws, in_evaluation=True, save=self.runtime.save)
        with torch.no_grad(), self.runtime.uncounted(), quiet, self.runtime.context():
            return run()


def alike(left: Tensor, right: Tensor) -> bool:
    """Whether two results are the same up to rounding: within the root of the precision, of the largest."""
    if not isinstance(right, Tensor) or left.shape != right.shape:
        return False
    if not left.numel():
        return True
    precision = max(torch.finfo(t.dtype).eps if t.is_floating_point() or t.is_complex() else 0.0 for t in (left, right))
    wide = torch.promote_types(left.dtype, torch.float32)
    left, right = left.to(wide), right.to(wide)
    finite = left.isfinite()
    largest = left[finite].abs().max().item() if bool(finite.any()) else 0.0
    return torch.allclose(left, right, rtol=0, atol=precision**0.5 * largest, equal_nan=True)
